"""A plan of memory: what is computed in which order, and where everything lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Ring:
    """The last rows of a tensor, in `capacity` rows of memory.

    It begins with the rows of padding that are above.  When further rows do not fit behind those
    that are there, rows before the first that the next firing of any reader needs are dropped,
    and the rest moves to the beginning.
    """

    tensor: int
    capacity: int
    above: int
    below: int
    offset: int


@dataclass(frozen=True)
class Event:
    """One thing that happens in a chain.

    - "fire": node `which` computes its next rows, or takes its next row if it is a sum.
    - "pad": the rows of padding below are appended to the ring of tensor `which`.
    - "copy": the next row of the whole tensor `which` is appended to its ring.
    """

    kind: Literal["fire", "pad", "copy"]
    which: int


@dataclass(frozen=True)
class Whole:
    """A node that is computed at once, from whole tensors."""

    node: int


@dataclass(frozen=True)
class Chain:
    """Consecutive nodes that are computed row by row.

    A node reads a tensor from its ring, if there is one and no whole tensor of it, and otherwise
    from the whole tensor.  If there are both, nodes that read padding read the ring.
    """

    nodes: tuple[int, ...]
    rings: tuple[Ring, ...]
    at_once: Mapping[int, int]
    """How many rows each node computes in one firing."""
    events: tuple[Event, ...]


@dataclass(frozen=True)
class MemoryPlan:
    """How a network is computed in one piece of memory, the arena."""

    segments: tuple[Whole | Chain, ...]
    places: Mapping[int, int]
    """Where each tensor that is whole lies, in bytes from the beginning of the arena."""
    scratch: Mapping[int, int]
    """Where the scratch memory of each node lies."""
    peak: int
    """The bytes of the arena."""
    timeline: tuple[tuple[str, int], ...]
    """The bytes in use in each segment, beside the numbers of its nodes."""
