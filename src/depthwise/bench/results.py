"""What a benchmark has found of one contestant on one problem."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from depthwise.measure.timing import Summary

Kind = Literal["wrong", "failed", "rejected", "unstable"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """One engine's variant on one problem; its fields are those of the JSON file, in its order."""

    engine: str
    variant: str
    op: str
    layer: str
    """The titles of all layers that pose this problem."""
    spec: str
    """The problem in its text form."""
    layout: str
    """The layout in which the engine computes."""
    dtype: str
    threads: int
    """The count that took effect."""
    batch: int
    clock: str
    median_us: float | None
    """None, like the other times and rates, where the result was wrong or the timing failed."""
    min_us: float | None
    mad_us: float | None
    """The median absolute deviation from the median."""
    gflops: float | None
    """10^9 FLOPs a second, or operations on whole numbers: 2 to each multiply-accumulate."""
    gbytes_per_s: float | None
    """10^9 bytes a second, of the least bytes that the problem moves."""
    of_limit: float | None
    """The least time that this machine allows over the median; 1 is the limit."""
    verified: bool
    max_abs_err: float | None
    """Against the oracle; None where a shape was wrong or an element not finite."""
    version: str

    @property
    def contestant(self) -> str:
        """Engine and variant."""
        return f"{self.engine} {self.variant}"

    @property
    def summary(self) -> Summary | None:
        """The times, where there are any."""
        if self.median_us is None or self.min_us is None or self.mad_us is None:
            return None
        return Summary(self.median_us, self.min_us, self.mad_us)

    @property
    def time(self) -> float:
        """The median in microseconds, endless where there is none."""
        return math.inf if self.median_us is None else self.median_us


@dataclass(frozen=True)
class Note:
    """Something about one contestant that its numbers do not show."""

    kind: Kind
    engine: str
    variant: str
    spec: str
    text: str

    @property
    def contestant(self) -> str:
        """Engine and variant."""
        return f"{self.engine} {self.variant}"

    @property
    def grave(self) -> bool:
        """Whether a result is missing that should be there."""
        return self.kind in ("wrong", "failed")
