"""A plan: which schedule, with which tiles.  Plain data, however it was found."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from depthwise.errors import PlanError
from depthwise.values import shown

LARGEST_TILE = 64
"""Tiles are unrolled: larger ones take minutes to compile and leave registers and caches."""


@dataclass(frozen=True)
class Plan:
    """The choice of a schedule and its tiles for one problem.

    `repr` is a literal that can be pasted; `str` is the one-line form of `--plan`.
    """

    schedule: str
    """The name of a rule in `depthwise.schedule`."""
    tc: int = 1
    """Neighbouring channels in one vector (channels-last) or block (packed)."""
    tw: int = 1
    """Neighbouring output columns in one register tile."""
    th: int = 1
    """Neighbouring output rows in one register tile."""

    def __post_init__(self) -> None:
        for name in ("tc", "tw", "th"):
            tile = getattr(self, name)
            if isinstance(tile, bool) or not isinstance(tile, int) or not 1 <= tile <= LARGEST_TILE:
                raise PlanError(
                    f"{name} is a whole number from 1 to {LARGEST_TILE}; got {shown(tile)}"
                )

    def __repr__(self) -> str:
        return f"Plan({', '.join([repr(self.schedule), *self._tiles('{}={}')])})"

    def __str__(self) -> str:
        return " ".join([self.schedule, *self._tiles("{}{}")])

    def _tiles(self, form: str) -> list[str]:
        """Return the tiles that are not 1, each in this form of name and size."""
        tiles = [(f.name, getattr(self, f.name)) for f in fields(self)[1:]]
        return [form.format(name, tile) for name, tile in tiles if tile != 1]

    @classmethod
    def parse(cls, text: str) -> Plan:
        """Read a plan from its one-line form, e.g. "packed tc16 tw4".

        Raises:
            PlanError: the line is not a schedule's name followed by tiles, each given once.
        """
        name, *tokens = (text.split() if isinstance(text, str) else []) or [""]
        found = [re.fullmatch(r"(tc|tw|th)(\d{1,9})", token) for token in tokens]
        tiles = {tile[1]: int(tile[2]) for tile in found if tile}
        if not name.isidentifier() or len(tiles) < len(tokens):
            raise PlanError(
                "a plan is a schedule's name and tiles, each once, as 'packed tc16 tw4'; "
                f"got {shown(text)}"
            )
        return cls(name, **tiles)
