"""Causal depthwise convolution of sequences, with the state that the next ones go on from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import ClassVar

from depthwise.errors import SpecError
from depthwise.problem.dtypes import DEFAULT, DTYPES
from depthwise.problem.problem import Specification
from depthwise.problem.text import errors_with
from depthwise.problem.values import MAX_ELEMENTS, check_sizes, flag, whole, word
from depthwise.problem.vocabulary import ACTIVATIONS, LAYOUTS_1D, Activation, Layout

_SIZES = {"batch": "n", "channels": "c", "length": "l", "kernel": "k", "dilation": "d"}


@dataclass(frozen=True, kw_only=True)
class CausalSpec(Specification):
    """A causal depthwise convolution of sequences x (N, C, L), or (N, L, C), into y of that shape.

    Computes, for sequence n, channel c and time t, with d the dilation and K the taps::

        y[n, c, t] = activation(bias[c] + sum over k of
                     x[n, c, t - d * (K - 1 - k)] * weight[c, 0, k])

    What lies before a sequence is zero, or its state: the last elements of what came before it,
    (N, C, state), or (N, state, C).  A call puts the last elements of state and x in its place, so
    that the next call goes on where it ended.  (`Kernel.bind` copies the state as it does weights:
    a bound kernel goes on from its own.  `dw.causal_conv1d_update` changes the one it is given.)

    Equivalent to `activation(F.conv1d(torch.cat([state, x], 2), weight, bias, dilation=d,
    groups=C))[..., -L:]`, then `state.copy_(torch.cat([state, x], 2)[..., -state.shape[2]:])`.

    Attributes:
        kernel: K, the taps.
        dilation: the distance between taps.
        state: how many elements of each channel a state has, d * (K - 1) or more; 0 is no state.

    Raises:
        SpecError: the problem cannot exist.
        DTypeError: the element type is not supported.
    """

    channels: int
    length: int
    kernel: int
    dilation: int = 1
    batch: int = 1
    layout: Layout = "NCL"
    dtype: str = DEFAULT
    bias: bool = False
    activation: Activation | None = None
    state: int = 0

    kind: ClassVar[str] = "causal"

    def __post_init__(self) -> None:
        with errors_with(self.kind, vars(self), defaults=vars(CausalSpec)):
            word("dtype", self.dtype, DTYPES)
            word("layout", self.layout, LAYOUTS_1D)
            if self.activation is not None:
                word("activation", self.activation, ACTIVATIONS)
            flag("bias", self.bias)
            for name in (*_SIZES, "state"):
                object.__setattr__(self, name, whole(name, getattr(self, name)))
        check_sizes({token: getattr(self, name) for name, token in _SIZES.items()}, self)
        if self.state and self.state < self.before:
            raise SpecError(
                f"a state has as many elements as the taps reach back, d * (k - 1) = "
                f"{self.before}, or more; got {self.state}: {self}"
            )
        shapes = self.input_shape, *self.operands.values()
        if max(map(prod, shapes)) > MAX_ELEMENTS or self.before + self.length > MAX_ELEMENTS:
            raise SpecError(f"no array has more than {MAX_ELEMENTS} elements: {self}")

    @property
    def before(self) -> int:
        """How many elements before its own an output depends on: d * (K - 1)."""
        return self.dilation * (self.kernel - 1)

    @property
    def channels_last(self) -> bool:
        """Whether neighbouring elements in memory are neighbouring channels."""
        return self.layout == "NLC"

    def shape_of(self, length: int) -> tuple[int, int, int]:
        """Return the shape of as many sequences of another length."""
        sizes = (length, self.channels) if self.channels_last else (self.channels, length)
        return self.batch, *sizes

    @cached_property
    def input_shape(self) -> tuple[int, ...]:
        """(N, C, L), or (N, L, C)."""
        return self.shape_of(self.length)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """That of the input."""
        return self.input_shape

    @cached_property
    def operands(self) -> dict[str, tuple[int, ...]]:
        """The weight (C, 1, K), then the bias (C,) and the state where there are such."""
        shapes: dict[str, tuple[int, ...]] = {"weight": (self.channels, 1, self.kernel)}
        if self.bias:
            shapes["bias"] = (self.channels,)
        if self.state:
            shapes["state"] = self.shape_of(self.state)
        return shapes

    @property
    def computed(self) -> tuple[str, ...]:
        """The state, which a call also writes."""
        return ("state",) * bool(self.state)

    def __str__(self) -> str:
        tokens = [self.kind, *[f"n{self.batch}"] * (self.batch != 1), f"c{self.channels}"]
        tokens += [f"l{self.length}", f"k{self.kernel}"]
        tokens += [f"d{self.dilation}"] * (self.dilation != 1)
        tokens += ["nlc"] * (self.layout == "NLC") + [self.dtype] * (self.dtype != DEFAULT)
        tokens += ["bias"] * self.bias + [self.activation or ""] * bool(self.activation)
        return " ".join([*tokens, *[f"state{self.state}"] * bool(self.state)])
