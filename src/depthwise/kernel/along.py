"""Machine code that comes along with a file: used for the rest of the process, not the disk's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from depthwise.kernel import code
from depthwise.kernel.code import Code
from depthwise.kernel.kernel import Kernel
from depthwise.machine import trust
from depthwise.machine.target import Target
from depthwise.problem.problem import Problem
from depthwise.schedule.plan import AnyPlan


@dataclass(frozen=True, eq=False)
class Object:
    """The machine code of one step as a file holds it.

    Attributes:
        content: a shared object.
        tasks: how many tasks a call has.
        scratch_bytes: memory that each thread works in.
    """

    content: bytes | memoryview
    tasks: int
    scratch_bytes: int


@dataclass(frozen=True, eq=False)
class Along:
    """A kernel's machine code.

    Attributes:
        problem: what it computes.
        plan: how.
        objects: the code of each step.
    """

    problem: Problem
    plan: AnyPlan
    objects: tuple[Object, ...]


_along: dict[tuple[Problem, Target], tuple[Along, tuple[Code, ...]]] = {}


def adopt(kernels: Iterable[Along], target: Target) -> None:
    """Load machine code for a CPU, which is then that of its problems.

    Whoever wrote it can do all that this process can.

    Raises:
        OSError: a temporary file cannot be written, or not be loaded.
        DepthwiseError: temporary files might be others'.
    """
    with trust.temporary_folder() as folder:
        for number, kernel in enumerate(kernels):
            codes = [
                _loaded(each, folder / f"{number}.{step}.so")
                for step, each in enumerate(kernel.objects)
            ]
            _along[kernel.problem, target] = kernel, tuple(codes)


def _loaded(each: Object, path: Path) -> Code:
    path.write_bytes(each.content)
    return code.load(path, each.tasks, each.scratch_bytes)


def plan_of(problem: Problem, target: Target) -> AnyPlan | None:
    """Return how the code that came along computes a problem; None where none did."""
    found = _along.get((problem, target))
    return found and found[0].plan


def codes_of(problem: Problem, plan: AnyPlan, target: Target) -> tuple[Code, ...] | None:
    """Return the code that came along for a problem, step by step; None where none did."""
    found = _along.get((problem, target))
    return found[1] if found and found[0].plan == plan else None


def of(kernel: Kernel) -> Along | None:
    """Return the machine code of a kernel where it came along; None where it did not."""
    found = _along.get((kernel.spec, kernel.target))
    return found[0] if found and found[1] == kernel.codes else None
