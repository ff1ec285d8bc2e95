"""A plan: which schedule, with which tiles; for a block, which parts in one launch.

Plain data, however it was found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from itertools import accumulate, pairwise
from typing import TypeAlias

from depthwise.errors import PlanError
from depthwise.problem.values import shown

LARGEST_TILE = 64
"""Tiles are unrolled: larger ones take minutes to compile and leave registers and caches."""
_TILE = re.compile(r"(tc|tw|th)(\d{1,9})", re.ASCII)


@dataclass(frozen=True)
class Plan:
    """The choice of a schedule and its tiles for one problem.

    `repr` is a literal that can be pasted; `str` is the one-line form of `--plan`.  A schedule
    reads some of the tiles and says in its `tiles` what each means; the others are 1.
    """

    schedule: str
    """The name of a rule in `depthwise.schedule`."""
    tc: int = 1
    """The tile of channels: a vector, a block, the planes of a task, the columns of a product."""
    tw: int = 1
    """The tile of columns: of outputs, of a gradient's targets, or the rows of a product."""
    th: int = 1
    """The tile of rows: of outputs, or of a strip."""

    def __post_init__(self) -> None:
        if not (isinstance(self.schedule, str) and self.schedule.isidentifier()):
            raise PlanError(f"a schedule is named by one word; got {shown(self.schedule)}")
        for name in ("tc", "tw", "th"):
            tile = getattr(self, name)
            if isinstance(tile, bool) or not isinstance(tile, int) or not 1 <= tile <= LARGEST_TILE:
                raise PlanError(
                    f"{name} is a whole number from 1 to {LARGEST_TILE}; got {shown(tile)}"
                )

    def __repr__(self) -> str:
        tiles = (f"{name}={tile}" for name, tile in self.tiles.items())
        return f"Plan({', '.join([repr(self.schedule), *tiles])})"

    def __str__(self) -> str:
        return " ".join([self.schedule, *(f"{name}{tile}" for name, tile in self.tiles.items())])

    @property
    def tiles(self) -> dict[str, int]:
        """The tiles that are not 1, by name."""
        tiles = {f.name: getattr(self, f.name) for f in fields(self)[1:]}
        return {name: tile for name, tile in tiles.items() if tile != 1}

    @classmethod
    def parse(cls, text: str) -> Plan:
        """Read a plan from its one-line form, e.g. "packed tc16 tw4".

        Raises:
            PlanError: the line is not a schedule's name followed by tiles, each given once.
        """
        name, *tokens = (text.split() if isinstance(text, str) else []) or [""]
        found = [_TILE.fullmatch(token) for token in tokens]
        tiles = {tile[1]: int(tile[2]) for tile in found if tile}
        if not name.isidentifier() or len(tiles) < len(tokens):
            raise PlanError(
                "a plan is a schedule's name and tiles, each once, as 'packed tc16 tw4'; "
                f"got {shown(text)}"
            )
        return cls(name, **tiles)


PARTS = ("expand", "depthwise", "project")
"""What the parts of a block are called in plans; a block without expansion has the last two."""
_ROWS = re.compile(r"rows(\d{1,9})", re.ASCII)


def title_of(fused: tuple[int, ...]) -> str:
    """Return what a way of fusing is called: its groups of parts, "expand depthwise+project"."""
    names, ends = PARTS[-sum(fused) :], accumulate(fused, initial=0)
    return " ".join("+".join(names[start:end]) for start, end in pairwise(ends))


@dataclass(frozen=True)
class BlockPlan:
    """Which parts of a block are computed in one launch, and how each part is.

    `repr` is a literal that can be pasted; `str` is the one-line form of `--plan`, for instance
    "expand+depthwise+project rows4 | pointwise tc16 tw6 | channels_last tc8 tw4 th2 | pointwise
    tc24 tw4".
    """

    fused: tuple[int, ...]
    """How many neighbouring parts each launch computes: (3,) all, (1, 2) the last two in one."""
    rows: int
    """Output rows of a strip, which passes through all parts of a launch while it is in cache."""
    parts: tuple[Plan, ...]
    """How each part is computed, in the order in which they run."""

    def __post_init__(self) -> None:
        parts, fused = self.parts, self.fused
        if not isinstance(parts, tuple) or not all(isinstance(part, Plan) for part in parts):
            raise PlanError(f"the parts of a block's plan are a tuple of plans; got {shown(parts)}")
        if (
            len(parts) not in (2, 3)
            or not isinstance(fused, tuple)
            or not all(type(count) is int and count > 0 for count in fused)
            or sum(fused) != len(parts)
        ):
            raise PlanError(
                "a block's plan has two or three parts, each in one group; got "
                f"{len(parts)} in groups of {shown(fused)}"
            )
        if isinstance(self.rows, bool) or not isinstance(self.rows, int) or self.rows < 1:
            raise PlanError(f"rows are a whole number from 1 on; got {shown(self.rows)}")

    def __repr__(self) -> str:
        return f"BlockPlan({self.fused!r}, {self.rows!r}, {self.parts!r})"

    def __str__(self) -> str:
        return " | ".join([f"{self.schedule} rows{self.rows}", *map(str, self.parts)])

    @property
    def schedule(self) -> str:
        """The name of the rule, which is a way of fusing: "expand depthwise+project"."""
        return title_of(self.fused)

    @property
    def tiles(self) -> dict[str, int]:
        """None: the parts have theirs."""
        return {}

    @property
    def groups(self) -> list[tuple[int, int]]:
        """The parts of each launch: the first, and the one to stop before."""
        return list(pairwise(accumulate(self.fused, initial=0)))

    @classmethod
    def parse(cls, text: str) -> BlockPlan:
        """Read a plan from its one-line form.

        Raises:
            PlanError: the line is not groups of parts and the rows of a strip, then a plan for
                each part.
        """
        head, *plans = text.split("|") if isinstance(text, str) else [""]
        *together, rows = head.split() or [""]
        groups = [group.split("+") for group in together]
        names = [name for group in groups for name in group]
        found = _ROWS.fullmatch(rows)
        if not found or names not in ([*PARTS], [*PARTS[1:]]) or len(plans) != len(names):
            raise PlanError(
                "a block's plan is its groups, the rows of a strip and a plan for each part, as "
                "'depthwise+project rows4 | channels_last tc8 tw4 | pointwise tc16 tw6'; "
                f"got {shown(text)}"
            )
        fused = tuple(len(group) for group in groups)
        return cls(fused, int(found[1]), tuple(Plan.parse(plan) for plan in plans))


AnyPlan: TypeAlias = "Plan | BlockPlan"


def parse_plan(text: str) -> AnyPlan:
    """Read the plan of a convolution or of a block."""
    return BlockPlan.parse(text) if isinstance(text, str) and "|" in text else Plan.parse(text)
