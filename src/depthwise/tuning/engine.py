"""Our own kernels by plan: each variant is a plan in its text form.  `tuning.trials` asks it."""

from __future__ import annotations

from functools import partial

from depthwise.compiler import compile as compile_kernel
from depthwise.measure.engine import Array, Clock, Prepared
from depthwise.problem.problem import Problem
from depthwise.programs import build, define  # noqa: F401 (loads TVM before a plan is timed)
from depthwise.version import __version__


class Engine:
    """Raw kernels on the arrays given."""

    name = "plans"
    variants = ()

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def version(self) -> str:
        """Return this package's version."""
        return __version__

    def threads(self) -> int:
        """Return what every call is given."""
        return self._threads

    def rejects(self, spec: Problem, variant: str, clock: Clock) -> str | None:  # noqa: ARG002
        """Take every problem: what a plan cannot do is an error."""
        return None

    def prepare(
        self,
        spec: Problem,
        variant: str,
        clock: Clock,  # noqa: ARG002
        arrays: tuple[Array, ...],
    ) -> Prepared:
        """Compile the problem with the plan `variant` and pack its weights."""
        x, *operands, y = arrays
        bound = compile_kernel(spec, variant).bind(*operands)
        run = partial(bound.run, x, y, self._threads)
        return Prepared(run, lambda: y, spec.layout, "compiling, weight packing, allocation")
