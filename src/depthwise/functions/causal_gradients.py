"""The gradients of a causal convolution as a function of arrays."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

import numpy as np

from depthwise.compiler import compile as compile_kernel
from depthwise.errors import ArrayError
from depthwise.functions.causal_posed import Arrays, Asked, Numbers, Posed, posed, seen
from depthwise.functions.causal_ready import Launch
from depthwise.functions.sequences import are_whole, copied, in_order, lies, pieces
from depthwise.machine import team
from depthwise.machine.target import named
from depthwise.problem.arrays import Array, aligned, as_numpy, like
from depthwise.problem.causal import CausalSpec
from depthwise.problem.causal_gradient import CausalGradientSpec
from depthwise.schedule import causal_gradient as rule
from depthwise.schedule.steps import worth_waking


class Gradients(NamedTuple):
    """The gradients of a causal convolution, by what they are with respect to."""

    x: Any
    """Of its shape."""
    weight: Any
    """(C, 1, K)."""
    bias: Any
    """(C,); None where there is no bias."""
    state: Any
    """Of its shape; None where there is none."""


def causal_conv1d_gradients(
    grad: Any,
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    activation: str | None = None,
    initial_state: Any = None,
    layout: str = "NCL",
    dilation: int = 1,
    seq_idx: Any = None,
    cu_seqlens: Any = None,
    threads: int | None = None,
) -> Gradients:
    """Return the gradients of a causal convolution with respect to all that it takes.

    Equivalent to `torch.autograd.grad(y, (x, weight, bias, initial_state), grad)`, where y is
    `causal_conv1d(x, weight, bias, ...)`.  What the final state has for a gradient is to be added
    to the last elements of those of x, and of the initial state where x is shorter.

    Args:
        grad: the gradient with respect to y, of its shape, (N, C, L) or (N, L, C).
        x: see `causal_conv1d`; so are all arguments that are not told of here.
        weight: (C, K) or (C, 1, K).
        bias: (C,) or None.
        activation: None, or one of `causal_gradient.DIFFERENTIATED`.
        initial_state: (N, C, S) or (N, S, C), or None.
        layout: "NCL" or "NLC".
        dilation: the distance between taps.
        seq_idx: (N, L) or None.
        cu_seqlens: (sequences + 1,) or None.
        threads: how many threads to use; None is `team.size()`.

    Raises:
        SpecError: the problem cannot exist.
        ArrayError: an array does not fit the problem.
        DTypeError: an array is of another element type, or not an array.
    """
    asked = Asked(activation, dilation, layout, returns_state=False, updates=False)
    numbers = Numbers(seq_idx, cu_seqlens)
    found = posed(asked, Arrays(x, weight, bias, initial_state, None, None), numbers)
    wrap, count = like(x), team.thread_count(threads, found.spec)
    of_y = seen(as_numpy(grad, "grad"), layout)
    if of_y.shape != found.x.shape or of_y.dtype != found.x.dtype:
        raise ArrayError(
            f"grad has the shape and type of x, (N, C, L) = {found.x.shape} {found.x.dtype}; got "
            f"{of_y.shape} {of_y.dtype}: {found.spec}"
        )
    parts = _Call(found, of_y, numbers).run(count)
    of_x, of_state = (None if part is None else wrap(seen(part, layout)) for part in parts[::3])
    return Gradients(of_x, wrap(parts[1]), None if parts[2] is None else wrap(parts[2]), of_state)


class _Call:
    """One call: its arrays, in the order in memory that machine code takes."""

    def __init__(self, found: Posed, grad: Array, numbers: Numbers) -> None:
        self._found, self._spec = found, found.spec
        self._of = pieces(found, numbers)
        self._last = lies(found.x, channels_last=False) is None
        if self._last and lies(found.x, channels_last=True) is None:
            self._last = found.spec.channels_last
        self._x, self._grad = self._lying(found.x), self._lying(grad)
        self._state = found.initial if self._spec.state else None
        if self._state is not None and not are_whole(self._state, channels_last=self._last):
            self._state = copied(self._state, channels_last=self._last)
        layout = "NLC" if self._last else "NCL"
        conv: CausalSpec = replace(self._spec, layout=layout)  # type: ignore[arg-type]
        self._code = rule.code_of(CausalGradientSpec(conv=conv))

    def _in_order(self, view: Array) -> Array:
        return in_order(view, channels_last=self._last)

    def _lying(self, view: Array) -> Array:
        """Return an array where it lies as the code takes it, or else a copy that does."""
        lie = lies(view, channels_last=self._last)
        return view if lie else copied(view, channels_last=self._last)

    def run(self, threads: int) -> tuple[Array, Array, Array | None, Array | None]:
        """Return the gradients of x and of the state as (N, C, L), those of weights between."""
        spec, found = self._spec, self._found
        states = found.count if self._state is not None else 0
        shapes = {
            "x": self._in_order(self._x).shape, "weight": (spec.channels, 1, spec.kernel),
            "bias": (spec.channels * spec.bias,),
            "state": self._sizes(states, spec.state),
        }  # fmt: skip
        ends = np.cumsum([prod(shape) for shape in shapes.values()])
        flat = aligned((int(ends[-1]),), self._x.dtype)
        starts = [0, *ends[:-1].tolist()]
        parts = [
            flat[start:end].reshape(shape)
            for start, end, shape in zip(starts, ends, shapes.values(), strict=True)
        ]
        if self._x.size:
            self._compute(flat, self._in_order(parts[0]), starts, threads)
        else:
            flat[...] = 0
        of_state = self._in_order(parts[3]) if states else None
        return self._in_order(parts[0]), parts[1], parts[2] if spec.bias else None, of_state

    def _sizes(self, count: int, length: int) -> tuple[int, int, int]:
        """Return the shape in memory of so many sequences."""
        channels = self._spec.channels
        return (count, length, channels) if self._last else (count, channels, length)

    def _compute(self, flat: Array, of_x: Array, starts: list[int], threads: int) -> None:
        """Compute all gradients into one array, in which each starts somewhere."""
        found, target = self._found, named(None)
        problem = CausalGradientSpec(conv=self._spec)
        states = [] if self._state is None else [self._state]
        operands = [self._x, np.ascontiguousarray(found.weight)]
        operands += [] if found.bias is None else [np.ascontiguousarray(found.bias)]
        table = self._table(of_x, starts)
        arrays = [self._grad, *operands, *states, table, flat]
        machine, most = compile_kernel(self._code).codes[0], worth_waking(problem)
        launch = Launch(machine, table, rule.runs(self._code, target), most)
        launch.on(threads, *[array.ctypes.data for array in arrays])

    def _table(self, of_x: Array, starts: list[int]) -> Array:
        """Return the table of the sequences."""
        sequence, first, length = self._of.T
        x, grad, y = (lies(each, channels_last=self._last) for each in (self._x, self._grad, of_x))
        assert x is not None
        assert grad is not None
        assert y is not None
        in_x, in_grad, in_y = (
            sequence * lying.sequence + first * (lying.step if self._last else 1)
            for lying in (x, grad, y)
        )
        count, size = np.arange(len(self._of)), self._spec.channels * self._spec.state
        state = count * 0
        if self._state is not None:
            state = count * (self._state.strides[0] // self._state.itemsize)
        rows = rule.Row(in_x, in_grad, in_y, length, state, starts[3] + count * size)
        return rule.table_of(rows, x, grad, y, starts[1])
