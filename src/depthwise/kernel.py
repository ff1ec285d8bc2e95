"""A compiled problem: call it, bind its weights, or look at what was generated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np

from depthwise.arrays import Array, as_numpy, check_output, fit, like, writable
from depthwise.block import BlockSpec, Spec
from depthwise.build import Binary, lowered, set_threads
from depthwise.errors import ArrayError, SpecError, TargetError
from depthwise.packing import pack_weight
from depthwise.plan import Plan
from depthwise.schedule.rule import Form
from depthwise.spec import ConvSpec
from depthwise.target import Target, cores
from depthwise.values import whole

Stage = Literal["definition", "schedule", "llvm", "asm"]
STAGES: tuple[Stage, ...] = get_args(Stage)


class Bound(Protocol):
    """A kernel with its weights: computes from one contiguous NumPy array into another."""

    def run(self, x: Array, out: Array) -> None:
        """Compute; both arrays have the specification's shapes and layout."""


class Kernel:
    """A compiled problem.  Shapes, layout and types are those of `spec`.

    Attributes:
        spec: the problem.
        target: the CPU that the code is for.
    """

    spec: Spec
    target: Target

    def __call__(self, x: Any, *operands: Any, out: Any = None, threads: int | None = None) -> Any:
        """Compute the problem.

        Args:
            x: the input, of `spec.input_shape`; NumPy or a DLPack tensor on the CPU.
            operands: the arrays of `spec.operands`, in that order.
            out: where to write the result; None makes a new array of the kind of `x`.
            threads: how many threads to use; None is OMP_NUM_THREADS or all cores.

        Raises:
            ArrayError: an array's shape does not fit, or `out` cannot be written to.
            DTypeError: an array's element type is not `spec.dtype`.
            TargetError: the code is for another CPU.
        """
        return self.bind(*operands)(x, out=out, threads=threads)

    def bind(self, *operands: Any) -> BoundKernel:
        """Check and pack the weights once, for many calls with new inputs.

        The weights are copied; later changes to the arrays given do not show.
        """
        shapes = self.spec.operands
        if len(operands) != len(shapes):
            wanted = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "none"
            raise ArrayError(f"operands are {wanted}; got {len(operands)}: {self.spec}")
        arrays = {
            name: fit(array, name, shapes[name], self.spec)
            for name, array in zip(shapes, operands, strict=True)
        }
        return BoundKernel(self.spec, self.target, self._bind(arrays), arrays)

    def show(self, stage: str) -> str:
        """Return one stage of the generated program as text: definition, schedule, llvm or asm."""
        if stage not in STAGES:
            raise SpecError(f"stage is one of {', '.join(STAGES)}; got {stage!r}: {self.spec}")
        return self._show(stage)

    def _bind(self, arrays: dict[str, Array]) -> Bound:
        raise NotImplementedError

    def _show(self, stage: str) -> str:
        raise NotImplementedError


class BoundKernel:
    """A kernel whose weights are packed: `bound(x)` computes."""

    def __init__(
        self, spec: Spec, target: Target, bound: Bound, operands: dict[str, Array]
    ) -> None:
        self._spec, self._target = spec, target
        self._operands = list(operands.values())
        self.run = bound.run
        """`run(x, out)` computes unchecked: contiguous NumPy arrays of the right shapes."""

    def __call__(self, x: Any, *, out: Any = None, threads: int | None = None) -> Any:
        """Compute the problem for one input; see `Kernel.__call__`."""
        spec = self._spec
        if self._target.missing:
            raise TargetError(
                f"code runs on a CPU with its features; {self._target.cpu} needs "
                f"{', '.join(self._target.missing)}, which this machine lacks: {spec}"
            )
        count = cores() if threads is None else whole("threads", threads)
        if count < 1:
            raise SpecError(f"threads are at least 1; got {count}: {spec}")
        source = fit(x, "x", spec.input_shape, spec)
        given = None if out is None else as_numpy(out, "out")
        if given is not None:
            check_output(given, spec, [source, *self._operands])
        direct = given is not None and given.flags.c_contiguous
        result = np.empty(spec.output_shape, spec.dtype) if given is None or not direct else given
        set_threads(count)
        self.run(source, result)
        if given is None:
            return like(x)(result)
        if not direct:
            given[...] = result
        return out


@dataclass(frozen=True)
class ConvKernel(Kernel):
    """One convolution with its epilogue."""

    spec: ConvSpec
    plan: Plan
    target: Target
    form: Form
    definition: Any
    """The unscheduled TensorIR program."""
    schedule: Any
    """The scheduled TensorIR program."""
    binary: Binary

    def _bind(self, arrays: dict[str, Array]) -> Bound:
        return _BoundConv(self, [self._packed(name, array) for name, array in arrays.items()])

    def _packed(self, name: str, array: Array) -> Array:
        """Copy what is a weight; a residual is data, and only viewed."""
        if name == "residual":
            return writable(self._plane(array))
        return pack_weight(self.spec, self.form, array) if name == "weight" else array.copy()

    def _plane(self, array: Array) -> Array:
        """View 1-D data as a plane of height 1, which is what programs compute on."""
        if self.spec.kind != "depthwise1d" or array.ndim == 1:
            return array
        return array.reshape(array.shape[0], *_with_height(self.spec, array.shape[1:]))

    def _show(self, stage: str) -> str:
        if stage == "definition":
            return str(self.definition.script())
        if stage == "schedule":
            return str(lowered(self.schedule).script())
        return self.binary.llvm if stage == "llvm" else self.binary.assembly


class _BoundConv:
    def __init__(self, kernel: ConvKernel, packed: list[Array]) -> None:
        self._plane, self._packed = kernel._plane, packed
        self._function = kernel.binary.function

    def run(self, x: Array, out: Array) -> None:
        self._function(writable(self._plane(x)), *self._packed, self._plane(out))


@dataclass(frozen=True)
class ChainKernel(Kernel):
    """A block computed part by part, the tensors between them in memory."""

    spec: BlockSpec
    target: Target
    parts: tuple[ConvKernel, ...]

    def _bind(self, arrays: dict[str, Array]) -> Bound:
        names = ["expand", "depthwise", "pointwise" if self.spec.kind == "separable" else "project"]
        bounds = []
        for part, name in zip(self.parts, names[-len(self.parts) :], strict=True):
            own = {
                operand: arrays["residual" if operand == "residual" else f"{name}_{operand}"]
                for operand in part.spec.operands
            }
            bounds.append(part._bind(own))
        return _BoundChain([part.spec for part in self.parts], bounds)

    def _show(self, stage: str) -> str:
        return "\n".join(f"# {part.spec}\n{part.show(stage)}" for part in self.parts)


class _BoundChain:
    def __init__(self, specs: list[ConvSpec], bounds: list[Bound]) -> None:
        self._steps = list(zip(specs, bounds, strict=True))

    def run(self, x: Array, out: Array) -> None:
        for spec, bound in self._steps[:-1]:
            between = np.empty(spec.output_shape, spec.dtype)
            bound.run(x, between)
            x = between
        self._steps[-1][1].run(x, out)


def _with_height(spec: ConvSpec, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (1, *shape) if spec.channels_last else (shape[0], 1, shape[1])
