"""`export`: a problem or a network as C or objects, for devices without Python; read it first.

source -> Model (importing) -> Plan (planning, memory) -> Kernels (kernels) -> files (writing)
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args

import numpy as np

from depthwise import compiler
from depthwise.errors import DepthwiseError, ModelError, SpecError
from depthwise.exporting import building, writing
from depthwise.exporting.building import Library
from depthwise.exporting.importing import model_of_network, model_of_problem
from depthwise.exporting.kernels import Kernels
from depthwise.exporting.memory.planner import layer_by_layer, smallest, within
from depthwise.exporting.model import Model
from depthwise.exporting.names import checked, named_after
from depthwise.exporting.planning import Planned, planned
from depthwise.exporting.report import Report
from depthwise.exporting.vectors import vectors
from depthwise.loading import read
from depthwise.machine.emitted import PLACE_BYTES, Form
from depthwise.machine.target import Target, named
from depthwise.network.prepare import Told
from depthwise.problem.arrays import Array, fit
from depthwise.problem.causal import CausalSpec
from depthwise.problem.data import random_problem
from depthwise.problem.parse import specification
from depthwise.problem.problem import Layer
from depthwise.problem.training import PassSpec
from depthwise.problem.values import shown, whole, word
from depthwise.schedule import legal_plans
from depthwise.schedule.plan import AnyPlan, Plan, parse_plan

if TYPE_CHECKING:
    from depthwise.loading import Shapes, Source

Format = Literal["c", "object", "static-library", "shared-library"]
Aim = Literal["speed", "size", "memory"]
Exported = Union["str", "os.PathLike[str]", "bytes", Layer, "Source"]
_NETWORKS = (".onnx", ".tflite", ".dw")
_LIBRARIES: dict[str, Library] = {each: each for each in get_args(Library)}
_WORK_BYTES = 2048
"""What a kernel may work in where memory is short."""
_TEMPORARY = ".depthwise-export-"


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """How something is exported; see `export`."""

    name: str | None
    target: Target
    form: Form
    aim: Aim
    memory: int | None
    workers: int
    blob: bool
    plan: str | None

    @property
    def is_short(self) -> bool:
        """Whether memory is short."""
        return self.aim == "memory" or self.memory is not None

    @property
    def code_target(self) -> Target:
        """The target that programs are written for: of C, one of plain numbers."""
        device = named("c") if self.form == "c" else self.target
        return replace(device, work_bytes=_WORK_BYTES) if self.is_short else device


def export(
    source: Exported,
    output: str | os.PathLike[str],
    *,
    target: str = "c",
    format: Format | None = None,  # noqa: A002
    name: str | None = None,
    optimize: Aim = "speed",
    memory: int | None = None,
    workers: int = 0,
    blob: bool = False,
    plan: str | None = None,
    operands: Mapping[str, Any] | None = None,
    inputs: Shapes | None = None,
    force: bool = False,
    step: Told = lambda _: None,
) -> Report:
    """Write a problem or a network as a library in C that needs neither Python nor a heap.

    Args:
        source: a problem or its text form; or a file of a network (ONNX, TFLite, or what
            `Network.save` wrote), its content, or a `ModelProto`.
        output: the folder that is made.
        target: the device, e.g. "cortex-m4f" or "cortex-a76"; "c" is any.
        format: "c", portable C99; "object", machine code of the kernels beside a small file of C;
            "static-library" or "shared-library", these linked.  None is "c" for the target "c", and
            "object" for others.
        name: of the function in C; None is that of the file.
        optimize: "speed"; "size": the least code, in which convolutions of a shape are one function
            and have small tiles; or "memory": parts of a network are computed row by row, so that
            the arena becomes as small as can be.
        memory: the most bytes that the arena may have; what is row by row is chosen for it.
        workers: on how many threads of the caller's a call may run; 0: it takes no threads.
        blob: write the weights as a file of bytes, which the caller hands over.
        plan: of a problem, how to compute it.
        operands: of a problem, its weights by name; None is random ones.
        inputs: the shape of each input of a network whose sizes are open; see `load`.
        force: replace a folder that is there.
        step: called before each piece of work with words that name it.

    Raises:
        ModelError: the network is no file of one, or has parts that no kernel computes.
        SpecError: the problem cannot exist, or a name is none in C.
        TargetError: no such device, or it has no machine code.
        MemoryBudgetError: no plan fits into `memory`.
        DepthwiseError: the folder is there, or cannot be written; what was there is left.
    """
    word("optimize", optimize, get_args(Aim))
    if format is not None:
        word("format", format, get_args(Format))
    device = named(target)
    form: Form = "object" if (device.triple and format != "c") or format == "object" else "c"
    library = _LIBRARIES.get(format or "")
    if library:
        building.check(device, library)
    for what, value, least in (("threads", workers, 0), ("bytes of memory", memory, 1)):
        if value is not None and whole(what, value) < least:
            raise SpecError(f"{what} are at least {least}; got {value}")
    wishes = Wishes(
        name=None if name is None else checked(name), target=device, form=form, aim=optimize,
        memory=memory, workers=workers, blob=blob, plan=plan,
    )  # fmt: skip
    folder = Path(output)
    _check_folder(folder, force=force)
    step("read")
    title, model = _model(source, wishes, operands, inputs)
    _check_types(model)
    step(f"plan {len(model.operations)} operations")
    own = wishes.name or named_after(title, "network")
    kernels = Kernels(own, wishes.code_target, form, _plans(wishes), step)
    made = planned(model, kernels, max(workers, 1), _planned(wishes))
    exported = writing.Export(own, device, model, made, kernels, workers, blob)
    step("compute the test by the oracle")
    files, built = writing.files(exported, vectors(model), library, step)
    step("write")
    _write(folder, files)
    return Report.of(exported, files, built, folder)


def _model(
    source: Exported, wishes: Wishes, operands: Mapping[str, Any] | None, inputs: Shapes | None
) -> tuple[str, Model]:
    """Return what a source is called, and its model."""
    if not _is_network(source):
        problem: Any = specification(source)  # type: ignore[arg-type]
        if problem.kernels != (problem,):
            raise SpecError(f"one kernel is exported at a time: {problem}")
        if isinstance(problem, CausalSpec):
            raise SpecError(
                "what takes a table of its sequences is not exported; depthwise1d with the padding "
                f"p{problem.before},0 computes whole ones: {problem}"
            )
        model = model_of_problem(problem, _weights(problem, operands))
        has_weights = set(problem.operands) > set(problem.computed)
        if operands is None and has_weights:
            model = replace(model, title=f"{model.title}, with random weights")
        return str(problem.kind), model
    if operands is not None or wishes.plan is not None:
        raise SpecError("operands and a plan are those of a problem; a network has its own")
    is_path = isinstance(source, (str, os.PathLike))
    if is_path and not os.path.exists(source):  # type: ignore[arg-type]
        raise ModelError(f"there is no such file: {source!s}")
    program = read(source, inputs).program
    name = Path(source).name.partition(".")[0] if is_path else "network"  # type: ignore[arg-type]
    apart = wishes.aim != "speed" or wishes.memory is not None
    return name, model_of_network(program, name, asked=inputs is not None, apart=apart)


def _is_network(source: Exported) -> bool:
    if isinstance(source, str):
        return source.endswith(_NETWORKS) or os.path.isfile(source)
    return isinstance(source, (os.PathLike, bytes)) or hasattr(source, "SerializeToString")


def _weights(problem: Any, operands: Mapping[str, Any] | None) -> dict[str, Array]:
    """Return the weights of a problem: those given, or random ones.

    Raises:
        SpecError: there are others than it has.
        ArrayError: one does not fit.
    """
    images = {*problem.computed, *(["x"] if isinstance(problem, PassSpec) else [])}
    shapes = {n: shape for n, shape in problem.operands.items() if n not in images}
    if operands is None:
        drawn = dict(zip(problem.array_names, random_problem(problem), strict=False))
        return {name: drawn[name] for name in shapes}
    if set(operands) != set(shapes):
        wanted, got = ", ".join(shapes) or "none", ", ".join(operands) or "none"
        raise SpecError(f"operands are {wanted}; got {got}: {problem}")
    return {n: np.array(fit(operands[n], n, shape, problem)) for n, shape in shapes.items()}


def _plans(wishes: Wishes) -> Callable[[Layer], Any]:
    """Return what chooses the plan of a kernel."""
    if wishes.plan is not None:
        own = parse_plan(wishes.plan)
        return lambda _: own
    target, threads = wishes.code_target, max(wishes.workers, 1)
    if wishes.aim == "size":
        return cache(partial(_least_code, target=target, form=wishes.form))
    return lambda problem: compiler.plan_of(problem, target, threads)


def _least_code(problem: Layer, target: Target, form: Form) -> AnyPlan:
    """Return the plan with less code: the usual one, or the one of the smallest tiles."""
    usual = compiler.plan_of(problem, target, 1)
    plans = [usual]
    if isinstance(usual, Plan):
        plans.append(min(legal_plans(problem, target), key=lambda plan: prod(plan.tiles.values())))

    def size(plan: AnyPlan) -> int:
        steps = compiler.steps_of(problem, plan, target)
        made = (compiler.emitted(step, target, form) for step in steps)
        return sum(len(each.object) + len(each.text) for each in made)

    return min(plans, key=size)


def _planned(wishes: Wishes) -> Planned:
    """Return what plans the memory."""
    if wishes.memory is not None:
        return partial(within, budget=wishes.memory, spare=PLACE_BYTES - 1)
    return smallest if wishes.aim == "memory" else layer_by_layer


def _check_types(model: Model) -> None:
    for operation in model.operations:
        problem = getattr(operation, "problem", None)
        if problem is not None and problem.element.storage:
            raise ModelError(f"what is exported lies in memory as it is computed; got {problem}")


def _check_folder(folder: Path, *, force: bool) -> None:
    """Refuse a folder that is there, or that cannot be made.

    Raises:
        DepthwiseError: see above.
    """
    try:
        if folder.exists() and not _may_replace(folder, force=force):
            is_one = folder.is_dir() and _is_export(folder)
            remedy = "--force (force=True) replaces it" if is_one else "it holds other files"
            raise DepthwiseError(f"an export makes a folder anew; {remedy}: {shown(str(folder))}")
        there = next(each for each in folder.absolute().parents if each.exists())
        with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=there):
            pass
    except OSError as error:
        raise _unwritable(folder, error) from error


def _may_replace(folder: Path, *, force: bool) -> bool:
    """Whether a folder is empty, or an export that is to be replaced."""
    return folder.is_dir() and (not any(folder.iterdir()) or (force and _is_export(folder)))


def _is_export(folder: Path) -> bool:
    """Whether a folder is what an export wrote, which its README says."""
    try:
        return writing.MADE_BY in (folder / "README.md").read_text(errors="replace")
    except OSError:
        return False


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put a folder with files into place whole.

    Raises:
        DepthwiseError: that is not possible; what was there is left.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=folder.parent) as beside:
            made = Path(beside) / "new"
            for name, content in files.items():
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                (made / name).write_bytes(content)
            _replace(folder, made, Path(beside) / "old")
    except OSError as error:
        raise _unwritable(folder, error) from error


def _replace(folder: Path, made: Path, old: Path) -> None:
    """Put a folder in the place of one that may be there, which becomes `old`."""
    if folder.exists():
        folder.rename(old)
    try:
        made.rename(folder)
    except BaseException:
        if old.exists():
            old.rename(folder)
        raise


def _unwritable(folder: Path, error: OSError) -> DepthwiseError:
    why = error.strerror or error
    return DepthwiseError(f"an export goes to a folder that can be made; got {folder}: {why}")
