"""Causal convolutions with state: how their lines are read, and what they cost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from depthwise.errors import ParseError
from depthwise.problem.causal import CausalSpec
from depthwise.problem.counting import Cost, counted, parameters
from depthwise.problem.families.family import Family
from depthwise.problem.oracle import causal as oracle
from depthwise.problem.tokens import Line
from depthwise.problem.values import nbytes

_STATE = re.compile(r"state(-?\d+)", re.ASCII)


def read(kind: str, tokens: Sequence[str], text: str) -> CausalSpec:
    """Return the problem of a line; see `Family.read`."""
    states = [int(found[1]) for token in tokens if (found := _STATE.fullmatch(token))]
    if len(states) > 1:
        raise ParseError(f"state is given once; got {len(states)}: {text}")
    line = Line(kind, [token for token in tokens if not _STATE.fullmatch(token)], text)
    sizes = {name: line.take(name) for name in ("channels", "length", "kernel")}
    fields = line.take_any("batch", "dilation", "layout", "dtype", "bias", "activation")
    line.finish()
    return CausalSpec(**sizes, **fields, state=states[0] if states else 0)


def _cost(spec: CausalSpec) -> Cost:
    """Return the cost of all taps; a state is read and written."""
    macs = spec.batch * spec.channels * spec.length * spec.kernel
    once = counted(spec, macs, params=parameters(spec))
    written = nbytes(spec.operands.get("state", (0,)), spec.dtype)
    return replace(once, bytes=once.bytes + written)


def _products(spec: CausalSpec) -> list[float]:
    return [spec.kernel]


FAMILY = Family(
    specification=CausalSpec,
    kinds=(CausalSpec.kind,),
    read=read,
    compute=oracle.compute,
    products=_products,
    cost=_cost,
)
