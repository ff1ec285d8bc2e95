"""Channels gathered: how their lines are read, and what they cost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod
from typing import Any

from depthwise.errors import ParseError
from depthwise.problem.counting import Cost
from depthwise.problem.families.family import Family
from depthwise.problem.gathers import LETTERS, GatherSpec, Run
from depthwise.problem.oracle import gathers as oracle
from depthwise.problem.tokens import Line

_RUN = re.compile(rf"([{LETTERS}])\[(\d{{1,9}}):(\d{{1,9}})\]", re.ASCII)
_IMAGES = re.compile(r"c(\d{1,9}(?:,\d{1,9})*)", re.ASCII)


def _read(kind: str, tokens: Sequence[str], text: str) -> GatherSpec:
    picks = [token for token in tokens if "[" in token]
    images = [found for token in tokens if (found := _IMAGES.fullmatch(token))]
    others = [token for token in tokens if token not in picks and not _IMAGES.fullmatch(token)]
    line = Line(kind, others, text)
    if len(images) != 1 or not picks:
        raise ParseError(
            f"{kind} needs c with the channels of each image, and runs of them: {text}"
        )
    if line.take_any("layout") != {"layout": GatherSpec.layout}:
        raise ParseError(f"{kind} is of nhwc images: {text}")
    size: Any = line.take_size()
    height, width = size if isinstance(size, tuple) else (size, size)
    fields = line.take_any("batch", "dtype", "pitches")
    line.finish()
    return GatherSpec(
        images=tuple(map(int, images[0][1].split(","))), height=height, width=width,
        picks=tuple(_pick(pick, text) for pick in picks), **fields,
    )  # fmt: skip


def _pick(token: str, text: str) -> tuple[Run, ...]:
    found = [_RUN.fullmatch(run) for run in token.split("/")]
    runs = [run.groups() for run in found if run]
    if len(runs) < len(found):
        raise ParseError(f"channels are runs such as a[0:8], or a[0:8]/b[0:8]; got {token}: {text}")
    return tuple(Run(LETTERS.index(name), int(start), int(stop)) for name, start, stop in runs)


def _products(spec: GatherSpec) -> list[float]:
    """Return none: nothing is computed."""
    del spec
    return []


def _cost(spec: GatherSpec) -> Cost:
    """Return the cost: that each channel of the result is read and written."""
    return Cost(params=0, macs=0, bytes=2 * prod(spec.output_shape) * spec.element.bytes)


FAMILY = Family(
    specification=GatherSpec,
    kinds=(GatherSpec.kind,),
    read=_read,
    compute=oracle.compute,
    products=_products,
    cost=_cost,
)
