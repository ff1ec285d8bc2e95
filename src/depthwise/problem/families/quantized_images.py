"""What is computed of quantized images: how lines are read, what it costs, and random data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from depthwise.errors import ParseError
from depthwise.problem.counting import moved
from depthwise.problem.families.family import Family, normal
from depthwise.problem.oracle import quantized_images as oracle
from depthwise.problem.quantized_images import QUANTIZED_KINDS, QuantizedSpec
from depthwise.problem.tokens import Line

if TYPE_CHECKING:
    from numpy.random import Generator

_GATE = "gate"


def _read(kind: Any, tokens: Sequence[str], text: str) -> QuantizedSpec:
    given = [token for token in tokens if token != _GATE]
    if len(tokens) - len(given) > 1:
        raise ParseError(f"{_GATE} is given once: {text}")
    line = Line(kind, given, text)
    if line.take_any("layout") != {"layout": QuantizedSpec.layout}:
        raise ParseError(f"{kind} is of nhwc images: {text}")
    size: Any = line.take_size()
    height, width = size if isinstance(size, tuple) else (size, size)
    fields = line.take_any("batch", "pitches")
    spec = QuantizedSpec(
        kind=kind, channels=line.take("channels"), height=height, width=width,
        dtype=line.take("dtype"), gate=_GATE in tokens, **fields,
    )  # fmt: skip
    line.finish()
    return spec


def _random(spec: QuantizedSpec, rng: Generator) -> dict[str, Any]:
    """Return random data, whose results fill most of their range."""
    low, high = spec.element.range
    zeros = rng.integers(low // 4 + 32, high // 4 + 96, 3)
    mean = spec.kind == "qmean"
    numbers = {
        "scale": rng.uniform(0.5, 1, 1) if mean else rng.uniform(0.015, 0.025, 1),
        "factors": rng.uniform(0.3, 0.7, 2),
        "factor": rng.uniform(0.01, 0.02, 1),
        "zeros": zeros[:2] if mean else zeros,
        "zero": zeros[:1],
        "bounds": np.array((low, high)),
    }
    drawn = normal(spec, rng)
    return {name: numbers.get(name, array) for name, array in drawn.items()}


def _products(spec: QuantizedSpec) -> list[float]:
    """Return none: whole numbers are exact, and reals are rounded once."""
    del spec
    return []


FAMILY = Family(
    specification=QuantizedSpec,
    kinds=QUANTIZED_KINDS,
    read=_read,
    compute=oracle.compute,
    products=_products,
    cost=moved,
    random=_random,
)
