"""Passes of training: how their lines are read, what they cost, and their random data."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod, sqrt
from typing import Any, get_args

from depthwise.errors import ParseError
from depthwise.problem.counting import Cost, counted, parameters
from depthwise.problem.families import convolutions
from depthwise.problem.families.family import Family, normal, scale_of_weights
from depthwise.problem.oracle import gradients as oracle
from depthwise.problem.training import PassKind, PassSpec
from depthwise.problem.vocabulary import DEPTHWISE_KINDS


def _read(kind: Any, tokens: Sequence[str], text: str) -> PassSpec:
    convolution, *rest = tokens or [""]
    if convolution not in DEPTHWISE_KINDS:
        raise ParseError(f"{kind} is followed by {' or '.join(DEPTHWISE_KINDS)}: {text}")
    return PassSpec(kind=kind, conv=convolutions.read(convolution, rest, text))


def _products(spec: PassSpec) -> list[float]:
    """Return those of the longest sum; of pixels, `reference.tolerance` says why their root."""
    taps = spec.conv.multiplier * prod(spec.conv.kernel)
    pixels = 0 if spec.kind == "input_gradient" else 2 * sqrt(spec.summands)
    return [max(taps, pixels)]


def _cost(spec: PassSpec) -> Cost:
    forward = convolutions.cost(spec.conv)
    parts: dict[str, Cost] = {}
    if len(spec.kernels) > 1:
        parts = {"forward": forward} if spec.kind == "training" else {}
        parts |= {gradient.kind: _cost(gradient) for gradient in spec.gradients}
    macs = sum(part.macs for part in parts.values()) or forward.macs
    return counted(spec, macs, params=parameters(spec.conv), parts=parts)


def _scale(spec: PassSpec, name: str) -> float:
    if name == "grad" and spec.kind != "input_gradient":
        return float(spec.summands**-0.5)
    return scale_of_weights(spec, name)


FAMILY = Family(
    specification=PassSpec,
    kinds=get_args(PassKind),
    read=_read,
    compute=oracle.compute,
    products=_products,
    cost=_cost,
    random=partial(normal, scale=_scale),
)
