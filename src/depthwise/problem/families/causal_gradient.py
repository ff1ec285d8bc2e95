"""Gradients of causal convolutions: how their lines are read, what they cost, their random data."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import sqrt

from depthwise.errors import ParseError
from depthwise.problem.causal import CausalSpec
from depthwise.problem.causal_gradient import CausalGradientSpec
from depthwise.problem.counting import Cost, counted, parameters
from depthwise.problem.families import causal
from depthwise.problem.families.family import Family, normal, scale_of_weights
from depthwise.problem.oracle import causal_gradient as oracle


def _read(kind: str, tokens: Sequence[str], text: str) -> CausalGradientSpec:
    if tokens[:1] != [CausalSpec.kind]:
        raise ParseError(f"{kind} is followed by {CausalSpec.kind}: {text}")
    return CausalGradientSpec(conv=causal.read(CausalSpec.kind, tokens[1:], text))


def _cost(spec: CausalGradientSpec) -> Cost:
    """Return the cost of both gradients; the sums again, where the activation needs them."""
    conv = spec.conv
    once = conv.batch * conv.channels * conv.length * conv.kernel
    return counted(spec, once * (3 if conv.activation else 2), params=parameters(conv))


def _products(spec: CausalGradientSpec) -> list[float]:
    """Return those of the longest sum; of times, `reference.tolerance` says why their root."""
    return [spec.conv.kernel, max(spec.conv.kernel, 2 * sqrt(spec.summands))]


def _scale(spec: CausalGradientSpec, name: str) -> float:
    return float(spec.summands**-0.5) if name == "grad" else scale_of_weights(spec, name)


FAMILY = Family(
    specification=CausalGradientSpec,
    kinds=(CausalGradientSpec.kind,),
    read=_read,
    compute=oracle.compute,
    products=_products,
    cost=_cost,
    random=partial(normal, scale=_scale),
)
