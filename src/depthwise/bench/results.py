"""What a benchmark has found, and the file that holds it."""

from __future__ import annotations

import json
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from depthwise.errors import DepthwiseError
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
    """10^9 FLOPs a second, 2 to each multiply-accumulate."""
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


def check_writable(file: Path) -> None:
    """Refuse a file that could not be written later.

    Raises:
        DepthwiseError: there is no such folder and none can be made, or it is not ours to write.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(error) from error
    if file.is_dir() or not os.access(file.parent, os.W_OK):
        raise _unwritable(file)


def write(file: Path, content: dict[str, Any]) -> None:
    """Put a complete JSON file into place, or leave the one that was there.

    Raises:
        DepthwiseError: the file cannot be written.
    """
    put(file, json.dumps(content, indent=1, allow_nan=False) + "\n")


def put(file: Path, text: str) -> None:
    """Put a complete file into place, or leave the one that was there.

    Raises:
        DepthwiseError: the file cannot be written.
    """
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=file.parent, prefix=file.name, delete=False, encoding="utf-8"
        ) as complete:
            temporary = complete.name
            complete.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, file)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise _unwritable(error) from error


def _unwritable(what: object) -> DepthwiseError:
    return DepthwiseError(f"results go to a file that can be written; got {what}")
