"""What makes the times of a page uncertain, told below the cell that measured them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from depthwise.measure.state import Others
from depthwise.measure.timing import UNSTABLE, Summary


@dataclass
class Doubts:
    """What disturbed the times that were measured since this was last told."""

    times: int = 0
    scattered: int = 0
    cores: float = 0.0
    """The most that others than the page took while it measured; 0 if they did not disturb it."""

    def add(self, summaries: Iterable[Summary], others: Others) -> None:
        """Take in times, and what else ran while they were measured."""
        found = list(summaries)
        self.times += len(found)
        self.scattered += sum(summary.unstable for summary in found)
        if others.disturb:
            self.cores = max(self.cores, others.cores)

    def told(self) -> str:
        """Return a sentence in Markdown, empty where there is no doubt, and begin anew."""
        found = []
        if self.cores:
            found.append(f"others took {self.cores:.1f} of the {os.cpu_count()} cores meanwhile")
        if self.scattered:
            found.append(
                f"{self.scattered} of {self.times} times scatter by more than {UNSTABLE:.0%}"
            )
        self.times, self.scattered, self.cores = 0, 0, 0.0
        return f"*Measured on a machine that was not quiet: {'; '.join(found)}.*" if found else ""


_doubts = Doubts()


def note(summaries: Iterable[Summary], others: Others) -> None:
    """Have doubts about times told below the cell that runs; outside of a page, do nothing."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return
    if (shell := get_ipython()) is None:
        return
    if _tell not in shell.events.callbacks["post_run_cell"]:
        shell.events.register("post_run_cell", _tell)
    _doubts.add(summaries, others)


def _tell(_result: object) -> None:
    if words := _doubts.told():
        from IPython.display import Markdown, display

        display(Markdown(words))
