"""Blocks: how their lines are read, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import get_args

from depthwise.problem.block import BlockKind, BlockSpec, SqueezeExcite
from depthwise.problem.counting import Cost, counted, parameters
from depthwise.problem.families import convolutions
from depthwise.problem.families.family import Family
from depthwise.problem.oracle import blocks as oracle
from depthwise.problem.spec import ConvSpec
from depthwise.problem.tokens import Line

_SHARED = (
    "stride", "padding", "dilation", "padding_mode", "batch", "layout", "dtype", "multiplier",
    "residual",
)  # fmt: skip


def _read(kind: str, tokens: Sequence[str], text: str) -> BlockSpec:
    line = Line(kind, tokens, text)
    pitches = line.take_any("pitches")
    spec = _separable(line) if kind == "separable" else _inverted(line)
    line.finish()
    return spec.pitched(dict(pitches["pitches"])) if pitches else spec


def _separable(line: Line) -> BlockSpec:
    rest = line.take_any(*_SHARED)
    activations = line.take_any("activations").get("activations", (None, None))
    rest["depthwise_activation"], rest["activation"] = activations
    rest |= _biases(line, dbias="depthwise_bias", pbias="pointwise_bias")
    channels, out_channels = line.take("channels"), line.take("out_channels")
    return BlockSpec.separable(
        channels, out_channels, line.take_size(), line.take("kernel"), **rest
    )


def _inverted(line: Line) -> BlockSpec:
    rest = line.take_any(*_SHARED, "expanded", "activation", "squeeze_excite")
    expand_bias = {"ebias": "expand_bias"} if "expanded" in rest else {}
    rest |= _biases(line, **expand_bias, dbias="depthwise_bias", pbias="project_bias")
    channels, out_channels = line.take("channels"), line.take("out_channels")
    return BlockSpec.inverted(channels, out_channels, line.take_size(), line.take("kernel"), **rest)


def _biases(line: Line, **names: str) -> dict[str, bool]:
    """Take which parts have a bias: all of them with the token `bias`, or one with its own."""
    if line.take_any("bias"):
        return dict.fromkeys(names.values(), True)
    return {names[token]: flag for token, flag in line.take_any(*names).items()}


def _products(spec: BlockSpec) -> list[float]:
    products: list[float] = [part.depth for part in spec.parts]
    if spec.squeeze_excite:
        products += [spec.depthwise.out_channels, spec.squeeze_excite.channels]
    return products


def _cost(spec: BlockSpec) -> Cost:
    parts: dict[str, Cost] = {}
    for name, part in spec.named_parts.items():
        parts[name] = convolutions.cost(part)
        if name == "depthwise" and spec.squeeze_excite:
            parts["squeeze_excite"] = _gate_cost(spec.depthwise, spec.squeeze_excite)
    macs = sum(part.macs for part in parts.values())
    return counted(spec, macs, params=parameters(spec), parts=parts)


def _gate_cost(gated: ConvSpec, gate: SqueezeExcite) -> Cost:
    wide, narrow = gated.out_channels, gate.channels
    params = 2 * wide * narrow + wide + narrow
    return Cost(
        params=params,
        macs=gated.batch * 2 * wide * narrow,
        bytes=(params + 2 * prod(gated.output_shape)) * gated.element.bytes,
    )


FAMILY = Family(
    specification=BlockSpec,
    kinds=get_args(BlockKind),
    read=_read,
    compute=oracle.compute,
    products=_products,
    cost=_cost,
)
