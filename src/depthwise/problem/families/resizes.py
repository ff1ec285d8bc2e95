"""Images in another size: how their lines are read, and what they cost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, get_args

from depthwise.errors import ParseError
from depthwise.problem.counting import moved
from depthwise.problem.families.family import Family
from depthwise.problem.oracle import resizes as oracle
from depthwise.problem.resizes import COORDINATES, ROUNDINGS, ResizeKind, ResizeSpec
from depthwise.problem.tokens import Line

_TARGET = re.compile(r"(to|by)(\d{1,9})(?:x(\d{1,9}))?", re.ASCII)
_FIELDS = {"to": "size", "by": "factor"}


def _read(kind: Any, tokens: Sequence[str], text: str) -> ResizeSpec:
    others: list[str] = []
    own: dict[str, Any] = {}
    for token in tokens:
        name, value = _own(token)
        if name is None:
            others.append(token)
        elif name in own:
            raise ParseError(f"{name} is given once; got {token!r} as a second one: {text}")
        else:
            own[name] = value
    line = Line(kind, others, text)
    if line.take_any("layout") != {"layout": ResizeSpec.layout}:
        raise ParseError(f"{kind} is of nhwc images: {text}")
    size: Any = line.take_size()
    height, width = size if isinstance(size, tuple) else (size, size)
    channels, fields = line.take("channels"), line.take_any("batch", "dtype")
    line.finish()
    return ResizeSpec(kind=kind, channels=channels, height=height, width=width, **fields, **own)


def _own(token: str) -> tuple[str | None, Any]:
    """Return the field that a token is and its value; None where it is none of a resize alone."""
    if token in COORDINATES:
        return "coordinates", token
    if token in ROUNDINGS:
        return "rounding", token
    target = _TARGET.fullmatch(token)
    if target is None:
        return None, None
    how, first, second = target.groups()
    return _FIELDS[how], (int(first), int(second or first))


def _products(spec: ResizeSpec) -> list[float]:
    """Return those of a mean of four pixels, and of the roundings of where they lie."""
    return [8] if spec.kind == "linear" else []


FAMILY = Family(
    specification=ResizeSpec,
    kinds=get_args(ResizeKind),
    read=_read,
    compute=oracle.compute,
    products=_products,
    cost=moved,
)
