"""What a run of the benchmark has found so far, and everything it was found under."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from depthwise.bench.comparison import R
from depthwise.bench.results import Note
from depthwise.console import as_csv
from depthwise.files import is_stream, put

if TYPE_CHECKING:
    from depthwise.measure.roofline import Roofline


@dataclass(kw_only=True)
class Findings(Generic[R]):
    """Results and notes as they come, problem by problem."""

    command: str
    """The command line that asked for them."""
    summary: str
    """The machine and the conditions in one line."""
    conditions: Mapping[str, object]
    """Each condition by its name, in words."""
    machine: dict[str, Any]
    """What `measure.state.describe` returned before the start."""
    limits: Roofline
    asked: int
    """How many problems there are to measure."""
    complete: int = 0
    """How many of them have been measured."""
    results: list[R] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    @property
    def timed(self) -> int:
        """How many results have a time."""
        return sum(result.median_us is not None for result in self.results)

    def add(self, found: Iterable[R], notes: Iterable[Note]) -> None:
        """Take in what was found for the next problem."""
        self.results += found
        self.notes += notes
        self.complete += 1

    def as_dict(self) -> dict[str, Any]:
        """Return what the JSON file of the results holds."""
        return {
            "machine": self.machine,
            "limits": [self.limits.as_dict()],
            "results": [asdict(result) for result in self.results],
        }

    def write(self, file: Path, *, last: bool) -> None:
        """Put that file into place; a stream is given it once, with the last results.

        Raises:
            DepthwiseError: the file cannot be written.
        """
        if is_stream(file) is last:
            put(file, json.dumps(self.as_dict(), indent=1, allow_nan=False) + "\n")

    def write_csv(self, file: Path) -> None:
        """Put all results into a file, a line each.

        Raises:
            DepthwiseError: the file cannot be written.
        """
        put(file, as_csv(map(asdict, self.results)))
