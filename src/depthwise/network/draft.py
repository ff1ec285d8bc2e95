"""A problem with its weights, for one of our kernels; passes may still change both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from depthwise.network.operators import Convolution, Operator
from depthwise.problem.arrays import Array
from depthwise.problem.block import BlockSpec, SqueezeExcite
from depthwise.problem.links import Chain
from depthwise.problem.problem import Layer
from depthwise.problem.spec import ConvSpec
from depthwise.problem.vocabulary import Activation, Kind

_NO_PADDING = (0, 0), (0, 0)
POINT = Convolution(stride=(1, 1), padding=_NO_PADDING, dilation=(1, 1), groups=1)
"""A convolution that takes each pixel by itself."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Draft(Operator):
    """What a kernel computes of x (N, C, H, W), or (N, C), and of the operands `spec.computed`.

    Attributes:
        spec: the problem at the size of the example.
        operands: its arrays that are the same in each call.
    """

    spec: Layer
    operands: Mapping[str, Array]

    @property
    def name(self) -> str:
        """The kind of problem."""
        return self.spec.kind

    @property
    def conv(self) -> ConvSpec | None:
        """The problem where it is a single convolution."""
        return self.spec if isinstance(self.spec, ConvSpec) else None

    def followed_by(self, scale: Array, shift: Array) -> Draft:
        """Return the convolution with `y * scale + shift` for each output channel in it.

        Computed in float64, rounded once.
        """
        weight = self.operands["weight"]
        before = self.operands.get("bias", np.zeros(len(weight)))
        factors = scale.astype(np.float64)
        wide = weight.astype(np.float64) * factors.reshape(-1, *(1,) * (weight.ndim - 1))
        bias = before.astype(np.float64) * factors + shift.astype(np.float64)
        operands = {"weight": wide.astype(weight.dtype), "bias": bias.astype(weight.dtype)}
        return Draft(spec=replace(_conv(self), bias=True), operands=operands)

    def activated(self, name: Activation) -> Draft:
        """Return the convolution with an activation behind it."""
        return Draft(spec=replace(_conv(self), activation=name), operands=self.operands)

    def with_residual(self) -> Draft:
        """Return the pointwise convolution with a second input that is added."""
        return Draft(spec=replace(_conv(self), residual=True), operands=self.operands)

    def chained(self, chain: Chain, operands: Mapping[str, Array]) -> Draft:
        """Return the convolution with functions of each element behind it.

        Args:
            chain: the functions.
            operands: those of them that are the same in each call, by name.
        """
        return Draft(spec=replace(_conv(self), chain=chain), operands={**self.operands, **operands})


def convolution(
    shape: tuple[int, ...], weight: Array, bias: Array | None, how: Convolution,
    dtype: str | None = None,
) -> Draft:  # fmt: skip
    """Return the problem of a convolution of (N, C, H, W), computed channels-last.

    The type of the images is that of the weight unless it is said.

    Raises:
        SpecError: it cannot exist.
    """
    batch, channels, height, width = shape
    out_channels, _, *kernel = weight.shape
    several = channels == 1 < out_channels  # of one channel: a product, whose rows are windows
    kind: Kind = "depthwise" if how.groups == channels and not several else "conv"
    if how == POINT and kernel == [1, 1]:
        kind, weight = "pointwise", weight.reshape(out_channels, -1)
    window: dict[str, Any] = {
        "kernel": tuple(kernel), "stride": how.stride, "padding": how.padding,
        "dilation": how.dilation,
    }  # fmt: skip
    spec = ConvSpec(
        kind=kind, channels=channels, height=height, width=width, out_channels=out_channels,
        groups=how.groups, bias=bias is not None, batch=batch, layout="NHWC",
        dtype=dtype or weight.dtype.name, **window,
    )  # fmt: skip
    given = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    return Draft(spec=spec, operands=given)


def product(rows: int, weight: Array, bias: Array | None) -> Draft:
    """Return the problem of `Linear` of (N, C): images of one pixel."""
    return convolution((rows, weight.shape[1], 1, 1), weight[:, :, None, None], bias, POINT)


def separable(depthwise: Draft, project: Draft) -> Draft:
    """Return two convolutions, the second pointwise, as one problem.

    Raises:
        SpecError: they do not follow one another.
    """
    spec = BlockSpec(
        kind="separable", expand=None, depthwise=_conv(depthwise), project=_conv(project)
    )
    return Draft(spec=spec, operands=_named(depthwise=depthwise, pointwise=project))


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
    parts = given if expand is None else {**given, "expand": expand}
    return Draft(spec=spec, operands=_named(**parts) | operands)


def _biased(draft: Draft) -> Draft:
    """Return a convolution with a bias, be it of zeros."""
    if "bias" in draft.operands:
        return draft
    ones = np.ones(_conv(draft).out_channels)
    return draft.followed_by(ones, 0 * ones)


def _conv(draft: Draft) -> ConvSpec:
    assert draft.conv is not None
    return draft.conv


def _named(**drafts: Draft) -> dict[str, Array]:
    return {
        f"{part}_{name}": array
        for part, draft in drafts.items()
        for name, array in draft.operands.items()
    }
