"""Attention: how its lines are read, and what it costs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from depthwise.errors import ParseError
from depthwise.problem.attention import AttentionSpec, usual_scale
from depthwise.problem.counting import Cost, counted, parameters
from depthwise.problem.families.family import Family
from depthwise.problem.oracle import attention as oracle
from depthwise.problem.tokens import Line

_COUNT = re.compile(r"(keys|heads|biases)(-?\d+)", re.ASCII)
_SCALE = re.compile(r"(scale)(\d+(?:\.\d*)?(?:e[+-]?\d+)?)", re.ASCII)


def _read(kind: str, tokens: Sequence[str], text: str) -> AttentionSpec:
    own: dict[str, Any] = {}
    others = []
    for token in tokens:
        found = _COUNT.fullmatch(token) or _SCALE.fullmatch(token)
        if found is None:
            others.append(token)
        elif found[1] in own:
            raise ParseError(f"{found[1]} is given once; got {token!r} as a second one: {text}")
        else:
            own[found[1]] = float(found[2]) if found[1] == "scale" else int(found[2])
    line = Line(kind, others, text)
    if "keys" not in own:
        raise ParseError(f"{kind} needs keys: {text}")
    if line.fields.pop("layout", None) != AttentionSpec.layout:
        raise ParseError(f"{kind} is of nhwc images: {text}")
    channels, size = line.take("channels"), line.take_size()
    height, width = size if isinstance(size, tuple) else (size, size)
    given = {"out_channels": channels, "heads": 1, **own}
    given |= line.take_any("out_channels", "batch", "dtype")
    if line.take_any("bias") and given.setdefault("biases", 1) != 1:
        raise ParseError(f"bias is one, biases are several; got both: {text}")
    line.finish()
    given.setdefault("scale", usual_scale(channels, given["heads"]))
    return AttentionSpec(channels=channels, height=height, width=width, **given)


def _cost(spec: AttentionSpec) -> Cost:
    """Return the cost of both products."""
    pairs = spec.batch * spec.pixels * spec.keys
    return counted(spec, pairs * (spec.channels + spec.out_channels), params=parameters(spec))


def _products(spec: AttentionSpec) -> list[float]:
    return [spec.depth, spec.keys, spec.keys]


FAMILY = Family(
    specification=AttentionSpec,
    kinds=(AttentionSpec.kind,),
    read=_read,
    compute=oracle.compute,
    products=_products,
    cost=_cost,
)
