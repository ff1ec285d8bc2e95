"""A module that convolves sequences causally, whole or chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, device, dtype, nn

from depthwise.errors import ArrayError, SpecError
from depthwise.problem.values import word
from depthwise.problem.vocabulary import ACTIVATIONS
from depthwise.torch import causal_ops
from depthwise.torch.causal import causal_conv1d_update
from depthwise.torch.causal_types import as_it_is, as_one_type
from depthwise.torch.conversion import refuse, with_parameters
from depthwise.torch.modules import check_input

if TYPE_CHECKING:
    from typing_extensions import Self


class CausalConv1d(nn.Conv1d):
    """A filter for each channel of a sequence that reads nothing ahead, and an activation.

    Its parameters are those of `nn.Conv1d(channels, channels, kernel_size, groups=channels)`, with
    the same names and initial values.

    Args:
        channels: C.
        kernel_size: K, the taps.
        dilation: the distance between taps.
        bias: whether a (C,) bias is added.
        activation: None or one of `depthwise.problem.vocabulary.ACTIVATIONS`.
        device: as of `DepthwiseConv2d`.
        dtype: as of `DepthwiseConv2d`.

    Shape:
        input (N, C, L) or (C, L) -> output of that shape; weight (C, 1, K).  A transposed (N, L, C)
        is computed as it lies.

    Raises:
        SpecError: the activation is another one.
        ArrayError: the input's shape does not fit.
        DTypeError: the input is not of floating point.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        dilation: int = 1,
        bias: bool = True,
        activation: str | None = None,
        device: device | str | None = None,
        dtype: dtype | None = None,
    ) -> None:
        if activation is not None:
            word("activation", activation, ACTIVATIONS)
        made: Any = {"dilation": dilation, "bias": bias, "device": device, "dtype": dtype}
        super().__init__(channels, channels, kernel_size, groups=channels, **made)
        self.activation = activation
        self._streamed: Stream | None = None

    @classmethod
    def from_conv(cls, conv: nn.Conv1d, activation: str | None = None) -> Self:
        """Return the module with the parameters of `conv`, causal whatever that pads.

        Raises:
            SpecError: `conv` is no depthwise `nn.Conv1d` with stride 1 and one filter for each
                channel, or it is parametrized.
        """
        if not isinstance(conv, nn.Conv1d) or not _filters(conv):
            rule = "an nn.Conv1d with groups=in_channels=out_channels, stride 1 and zeros"
            raise refuse(conv, cls, rule)
        made: Any = {"bias": conv.bias is not None, "dtype": conv.weight.dtype}
        module = cls(
            conv.in_channels, conv.kernel_size[0], conv.dilation[0], activation=activation,
            device="meta", **made,
        )  # fmt: skip
        return with_parameters(module, conv)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name that nn.Conv1d gives it)
        """Return the convolution of (N, C, L) or (C, L); within `streaming`, of the next chunk."""
        if self._streamed is not None:
            return self._streamed(input)
        check_input(self, input)
        sequences = input if input.dim() == 3 else input.unsqueeze(0)
        y, _ = self.convolved(sequences, None)
        return y if input.dim() == 3 else y.squeeze(0)

    def stream(self) -> Stream:
        """Return a new stream: called with chunk after chunk, it goes on where the last ended."""
        return Stream(self)

    @contextmanager
    def streaming(self) -> Iterator[Stream]:
        """Have the module's calls within a `with` block be those of one new stream."""
        before, self._streamed = self._streamed, Stream(self)
        try:
            yield self._streamed
        finally:
            self._streamed = before

    def reset(self) -> None:
        """Begin anew within `streaming`.

        Raises:
            SpecError: the module is not streaming.
        """
        if self._streamed is None:
            raise SpecError(f"what is reset is within streaming(); got no stream of {self}")
        self._streamed.reset()

    @property
    def before(self) -> int:
        """How many elements before its own an output depends on: dilation * (K - 1)."""
        return int(self.dilation[0] * (self.kernel_size[0] - 1))

    def convolved(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the convolution of (N, C, L) behind a state, and the state after it, if any."""
        dilation = self.dilation[0]
        kind, tensors = as_one_type(x, self.weight.squeeze(1), self.bias, state)
        wants = state is not None
        arguments = *tensors, None, self.activation, dilation, wants
        y, final = as_it_is(x.device.type, causal_ops.causal_conv1d, *arguments)
        return y.to(kind), final

    def extra_repr(self) -> str:
        """Return what is printed between the parentheses."""
        said = f"{self.in_channels}, {self.kernel_size[0]}"
        said += f", dilation={self.dilation[0]}" * (self.dilation[0] != 1)
        said += ", bias=False" * (self.bias is None)
        return said + f", activation={self.activation!r}" * (self.activation is not None)


class Stream:
    """One sequence, or a batch of them, that a module convolves chunk by chunk.

    Chunks may have any length.  No gradient goes from one to the one before.

    Attributes:
        state: the last elements before the next chunk, (N, C, dilation * (K - 1)); None before the
            first, when there are zeros.
    """

    def __init__(self, conv: CausalConv1d) -> None:
        self._conv = conv
        self.state: Tensor | None = None

    def __call__(self, chunk: Tensor) -> Tensor:
        """Return the convolution of the next chunk, (N, C, L) or (C, L).

        Raises:
            ArrayError: it has other channels, or another batch than those before.
        """
        conv = self._conv
        check_input(conv, chunk)
        x = chunk if chunk.dim() == 3 else chunk.unsqueeze(0)
        if self.state is None:
            self.state = x.detach().new_zeros((len(x), conv.in_channels, conv.before))
        if len(x) != len(self.state):
            raise ArrayError(
                f"chunks of a stream have one batch (reset() begins anew); got {len(x)} after "
                f"{len(self.state)}: {conv}"
            )
        y = self._next(x, self.state)
        return y if chunk.dim() == 3 else y.squeeze(0)

    def _next(self, x: Tensor, state: Tensor) -> Tensor:
        conv = self._conv
        if not torch.is_grad_enabled() and conv.dilation[0] == 1 and conv.activation in _STEPPED:
            weight = conv.weight.squeeze(1)
            return causal_conv1d_update(x, state, weight, conv.bias, conv.activation)
        y, final = conv.convolved(x, state)
        self.state = final.detach().to(state.dtype)
        return y

    def reset(self) -> None:
        """Begin anew: with zeros, and chunks of any batch."""
        self.state = None


_STEPPED = (None, "silu")
"""The activations with which states are updated in place."""


def _filters(conv: nn.Conv1d) -> bool:
    alone = conv.groups == conv.in_channels == conv.out_channels
    return alone and conv.stride == (1,) and conv.padding_mode == "zeros"
