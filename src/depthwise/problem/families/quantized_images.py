"""What is computed of quantized images: how lines are read, what it costs, and random data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

from depthwise.errors import ParseError
from depthwise.problem.counting import moved
from depthwise.problem.families.family import Family
from depthwise.problem.oracle import quantized_images as oracle
from depthwise.problem.oracle.planes import Array
from depthwise.problem.quantized_images import QUANTIZED_KINDS, QuantizedSpec
from depthwise.problem.tokens import Line

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


def _random(spec: QuantizedSpec, rng: Generator) -> dict[str, Array]:
    """Return random data, whose results fill most of their range."""
    least, most = spec.element.range

    def images(shape: tuple[int, ...]) -> Array:
        return rng.integers(least, most + 1, shape).astype(float)

    found: dict[str, Array] = {
        "x": images(spec.input_shape),
        "scale": rng.uniform(0.015, 0.025, 1),
        "factors": rng.uniform(0.3, 0.7, 2),
        "factor": rng.uniform(0.01, 0.02, 1),
        "zeros": rng.integers(least // 4 + 32, most // 4 + 96, 3).astype(float),
        "zero": rng.integers(least // 4 + 32, most // 4 + 96, 1).astype(float),
        "bounds": np.array((least, most), float),
        "table": images((256,)),
    }
    if spec.kind == "quantize":
        found["x"] = rng.standard_normal(spec.input_shape)
    if spec.kind == "qmean":
        found["zeros"], found["scale"] = found["zeros"][:2], rng.uniform(0.5, 1, 1)
    if spec.computed:
        found["other"] = images(spec.operands["other"])
    return {name: found[name] for name in spec.array_names}


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
