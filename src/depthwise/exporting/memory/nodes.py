"""What the memory of a network is planned for: tensors of rows, and nodes that make them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

Role = Literal["arena", "input", "output"]
Kind = Literal["rows", "sum", "whole"]


@dataclass(frozen=True)
class Tensor:
    """An array of rows.

    Inputs and outputs of the network lie in the caller's memory; all others lie in the arena.
    """

    rows: int
    row_bytes: int
    role: Role = "arena"
    name: str = ""
    """What errors call it; its number where there is none."""

    @property
    def nbytes(self) -> int:
        """The bytes of all its rows."""
        return self.rows * self.row_bytes


@dataclass(frozen=True)
class Reads:
    """The rows of a tensor that a node reads.

    Row `j` of the result needs rows `j * stride - above` to `j * stride - above + window - 1`.
    With a stride of 0 every row of the result reads the same rows.
    """

    tensor: int
    window: int = 1
    stride: int = 1
    above: int = 0
    """How many rows of padding are before the first row."""
    below: int = 0
    """How many rows of padding are behind the last row."""
    pad: Hashable = None
    """What rows of padding hold."""
    may_overwrite: bool = False
    """Whether the result may lie where this tensor lies, each row in the place of the same row."""

    @property
    def is_padded(self) -> bool:
        """Whether rows of padding are read."""
        return self.above > 0 or self.below > 0

    @property
    def is_row_by_row(self) -> bool:
        """Whether each row of the result reads just the same row."""
        return (self.window, self.stride, self.above) == (1, 1, 0)


@dataclass(frozen=True)
class Node:
    """What makes a tensor of others.

    - "rows" can be computed some rows at a time.
    - "sum" takes one row after the other.  Its result is there behind the last.
    - "whole" takes only whole tensors.
    """

    reads: tuple[Reads, ...]
    makes: int
    kind: Kind
    scratch_bytes: int = 0
    """Memory that it needs while it runs; a sum keeps it from its first row to its last."""
    choices: tuple[int, ...] = (1,)
    """How many rows may be computed at a time: divisors of all rows, the smallest first."""
    cost: float = 1.0
    """How long the whole node takes, relative to others."""
