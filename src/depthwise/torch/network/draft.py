"""A problem on its way into a stage: its weights may still change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from depthwise.problem.block import BlockSpec, SqueezeExcite
from depthwise.problem.problem import Layer
from depthwise.problem.spec import ConvSpec
from depthwise.problem.vocabulary import Activation, Kind
from depthwise.torch.dtypes import DTYPES, torch_type

_NO_PADDING = (0, 0), (0, 0)


@dataclass(frozen=True)
class Draft:
    """A problem at the size of the example, with its weights."""

    spec: Layer
    operands: dict[str, Tensor]

    @property
    def conv(self) -> ConvSpec | None:
        """The problem where it is a single convolution."""
        return self.spec if isinstance(self.spec, ConvSpec) else None

    @property
    def dtype(self) -> torch.dtype:
        """The type of the result, and of everything else."""
        return torch_type(self.spec.element)

    def followed_by(self, scale: Tensor, shift: Tensor) -> Draft:
        """Return the convolution with `y * scale + shift` for each output channel in it.

        Computed in float64, rounded once.
        """
        conv = self.conv
        assert conv is not None
        weight = self.operands["weight"]
        before = self.operands.get("bias", torch.zeros(len(weight)))
        factors = scale.double()
        wide = weight.double() * factors.reshape(-1, *(1,) * (weight.dim() - 1))
        bias = before.double() * factors + shift.double()
        operands = {"weight": wide.to(weight.dtype), "bias": bias.to(weight.dtype)}
        return Draft(replace(conv, bias=True), operands)

    def activated(self, name: Activation) -> Draft:
        """Return the convolution with an activation behind it."""
        assert self.conv is not None
        return Draft(replace(self.conv, activation=name), self.operands)

    def with_residual(self) -> Draft:
        """Return the pointwise convolution with a second input that is added."""
        assert self.conv is not None
        return Draft(replace(self.conv, residual=True), self.operands)


def convolution(
    shape: tuple[int, ...],
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Draft:
    """Return the problem of torch's convolution of (N, C, H, W), computed channels-last.

    Raises:
        SpecError: it cannot exist.
    """
    batch, channels, height, width = shape
    out_channels, _, *kernel = weight.shape
    window: dict[str, Any] = {
        "kernel": tuple(kernel), "stride": stride, "padding": padding, "dilation": dilation,
    }  # fmt: skip
    rest: dict[str, Any] = {"batch": batch, "layout": "NHWC", "dtype": DTYPES[weight.dtype]}
    plain = (window["kernel"], stride, padding, dilation) == ((1, 1), (1, 1), _NO_PADDING, (1, 1))
    kind: Kind = "depthwise" if groups == channels else "conv"
    if plain and groups == 1:
        kind, weight = "pointwise", weight.flatten(1)
    spec = ConvSpec(
        kind=kind, channels=channels, height=height, width=width, out_channels=out_channels,
        groups=groups, bias=bias is not None, **window, **rest,
    )  # fmt: skip
    return Draft(spec, {"weight": weight} if bias is None else {"weight": weight, "bias": bias})


def product(rows: int, weight: Tensor, bias: Tensor | None) -> Draft:
    """Return the problem of torch's linear layer of (N, C): images of one pixel."""
    image, taps = (rows, weight.shape[1], 1, 1), weight[:, :, None, None]
    return convolution(image, taps, bias, (1, 1), _NO_PADDING, (1, 1), 1)


def separable(depthwise: Draft, project: Draft) -> Draft:
    """Return two convolutions, the second pointwise, as one problem."""
    spec = BlockSpec(
        kind="separable", expand=None, depthwise=_conv(depthwise), project=_conv(project)
    )
    return Draft(spec, _named(depthwise=depthwise, pointwise=project))


def inverted(
    expand: Draft | None, depthwise: Draft, project: Draft, gate: tuple[Draft, Draft] | None
) -> Draft:
    """Return an inverted residual as one problem.

    Raises:
        SpecError: the convolutions are none.
    """
    excite, operands = None, {}
    if gate is not None:
        reduce, restore = map(_conv, gate)
        excite = SqueezeExcite(
            channels=reduce.out_channels,
            activation=reduce.activation,  # type: ignore[arg-type]
            gate=restore.activation,  # type: ignore[arg-type]
        )
        operands = _named(se_reduce=_biased(gate[0]), se_expand=_biased(gate[1]))
    spec = BlockSpec(
        kind="inverted", expand=None if expand is None else _conv(expand),
        depthwise=_conv(depthwise), project=_conv(project), squeeze_excite=excite,
    )  # fmt: skip
    given = {"depthwise": depthwise, "project": project}
    return Draft(spec, _named(**given, **({} if expand is None else {"expand": expand})) | operands)


def _biased(draft: Draft) -> Draft:
    """Return a convolution with a bias, be it of zeros."""
    if "bias" in draft.operands:
        return draft
    ones = torch.ones(_conv(draft).out_channels)
    return draft.followed_by(ones, 0 * ones)


def _conv(draft: Draft) -> ConvSpec:
    assert draft.conv is not None
    return draft.conv


def _named(**drafts: Draft) -> dict[str, Tensor]:
    return {
        f"{part}_{name}": array
        for part, draft in drafts.items()
        for name, array in draft.operands.items()
    }
