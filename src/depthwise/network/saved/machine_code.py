"""The machine code of a network's kernels in its file, for a start without a compiler."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from depthwise.compiler import compile as compile_kernel
from depthwise.errors import CacheWarning, DepthwiseError, ModelError
from depthwise.kernel import along, code
from depthwise.kernel.along import Along, Object
from depthwise.kernel.kernel import Kernel
from depthwise.machine import trust
from depthwise.machine.target import Target, host
from depthwise.network.binding import interleaving
from depthwise.network.prepare import prepare
from depthwise.network.runs import Runs
from depthwise.network.steps import Program
from depthwise.problem.arrays import Array
from depthwise.problem.parse import parse
from depthwise.problem.problem import Problem
from depthwise.schedule.plan import parse_plan
from depthwise.store import cache
from depthwise.store.cache import fingerprint


def collected(program: Program) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the machine code of the kernels for the example: a description, and its tensors.

    Raises:
        ModelError: this machine has no linker.
    """
    problems = list(dict.fromkeys(_problems(program)))
    prepare(problems)
    kernels, tensors = [], {}
    for number, problem in enumerate(problems):
        kernel = _along(compile_kernel(problem))
        objects = []
        for step, each in enumerate(kernel.objects):
            name = f"code{number}.{step}"
            tensors[name] = np.frombuffer(each.content, np.uint8)
            objects.append({"object": name, "tasks": each.tasks, "scratch": each.scratch_bytes})
        kernels.append({"kernel": str(problem), "plan": str(kernel.plan), "steps": objects})
    made_by = {"cpu": repr(host()), "version": fingerprint()}
    return {"made_by": made_by, "kernels": kernels}, tensors


def _problems(program: Program) -> Iterator[Problem]:
    """Yield what kernels compute for the example."""
    runs = Runs.of(program, program.shapes)
    for step in program.steps:
        yield from (work.problem for work in runs.works(step, program.shapes))
    for number in program.images:
        if number < len(program.inputs):
            brought = interleaving(program.shapes[number], program.dtypes[number])
            if brought is not None:
                yield brought


def use(described: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
    """Use machine code that `collected` described; where it does not fit, say why it is not used.

    Raises:
        LookupError, TypeError, ValueError: it is described otherwise.
    """
    here = host()
    why = _obstacle(described["made_by"], here)
    if why is None:
        kernels = [_kernel(each, tensors) for each in described["kernels"]]
        try:
            along.adopt(kernels, here)
        except (OSError, DepthwiseError) as error:
            why = f"it does not load: {error}"
    if why:
        warnings.warn(
            f"the machine code in a network's file is not used, and kernels are compiled: {why}",
            CacheWarning,
            stacklevel=2,
        )


def _obstacle(made_by: Mapping[str, str], here: Target) -> str | None:
    """Return why machine code does not run here, or None."""
    if made_by["cpu"] != repr(here):
        return f"it is for {made_by['cpu']}, and this machine is {here!r}"
    if made_by["version"] != fingerprint():
        return "another version of depthwise or of TVM made it (save it again with this one)"
    return None


def _kernel(described: Mapping[str, Any], tensors: Mapping[str, Array]) -> Along:
    steps = described["steps"]
    objects = (Object(tensors[s["object"]].data, s["tasks"], s["scratch"]) for s in steps)
    return Along(parse(described["kernel"]), parse_plan(described["plan"]), tuple(objects))


def _along(kernel: Kernel) -> Along:
    """Return the machine code of a kernel for a file: that of a file, of the disk, or made anew.

    Raises:
        ModelError: there is no linker, so that machine code is no object.
    """
    if found := along.of(kernel):
        return found
    contents = [_content(kernel, number) for number in range(len(kernel.steps))]
    objects = (
        Object(content, each.tasks, each.scratch_bytes)
        for content, each in zip(contents, kernel.codes, strict=True)
    )
    return Along(kernel.spec, kernel.plan, tuple(objects))


def _content(kernel: Kernel, number: int) -> bytes:
    """Return the shared object of a step."""
    if code.linker() is None:
        raise ModelError(
            f"machine code is saved where one of {', '.join(code.LINKERS)} makes objects of it; "
            f"got none on this machine: {kernel.spec}"
        )
    step = kernel.steps[number]
    entry = cache.load(step.problem, step.plan, kernel.target, step.number)
    if entry is not None and entry.path.suffix == ".so":
        return entry.object()
    with trust.temporary_folder() as folder:
        path = folder / "kernel.so"
        code.write(kernel.programs()[number].built, path)
        return path.read_bytes()
