"""What `optimize` did to a network: each block before and after; a table, or plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from depthwise import console
from depthwise.problem.html import as_html

HEADERS = ("layer", "what it is", "plan", "before us", "%", "after us", "%", "times as fast")
WORDS = 3
"""How many leading columns of the table hold words."""
LEAST_CHANGE = 100
"""Outputs that change with the input by less than so many tolerances agree whatever is computed."""
NAMED = 3
"""How many of the parts that share a reason are named."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One part of a network: a block, a layer or an operator."""

    name: str
    """The paths of its modules in the user's model; "(input)" and the like for what is in none."""
    kind: str
    """What it was matched as, e.g. "inverted" or "pointwise"; "torch" where it was not."""
    problem: str
    """The problem in its text form, or the name of torch's operator, e.g. "aten.mean.dim"."""
    plan: str | None
    """The plan of the kernel in its text form; None where torch computes it."""
    before_us: float
    """Microseconds of a call in the model as it was given."""
    after_us: float
    """Microseconds of a call now."""
    reason: str | None
    """Why torch computes it; None where a kernel does."""

    @property
    def speedup(self) -> float | None:
        """The time before over the time after; None where there was nothing to do in either."""
        return self.before_us / self.after_us if self.before_us > 0 < self.after_us else None


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was replaced, what was not and why, and what that gained; printed, it is a table.

    Differences of outputs are relative to the largest output.
    """

    rows: tuple[Row, ...]
    """The parts of the network, in the order in which they run."""
    total_before_us: float
    """Microseconds of a whole call of the model given, measured."""
    total_after_us: float
    """Microseconds of a whole call now, measured."""
    largest_difference_given: float
    """Between the outputs of the model and of the network for the example."""
    largest_difference_random: float
    """Between the outputs of both for random inputs."""
    tolerance: float
    """The largest difference that is accepted."""
    change: float
    """Between the outputs for the example and for random inputs: agreement of outputs that hardly
    change with the input says little."""
    traced: str
    """What read the model: "torch.export", "torch.fx" or "module by module"."""
    untouched: tuple[tuple[str, str], ...]
    """What else was looked at and left as it was, and why."""
    conditions: str
    """In words: the threads, and the inputs, with which everything was timed."""
    prepare_seconds: float
    """What `optimize` took, with compiling and tuning."""

    @property
    def speedup(self) -> float:
        """The time of a whole call before over the time after."""
        return self.total_before_us / self.total_after_us

    @property
    def between(self) -> Row:
        """What whole calls take beyond the sum of the rows, which are timed one by one.

        Negative where rows take longer alone than they do in the network.
        """
        return Row(
            name="",
            kind="between",
            problem="between the kernels",
            plan=None,
            before_us=self.total_before_us - sum(row.before_us for row in self.rows),
            after_us=self.total_after_us - sum(row.after_us for row in self.rows),
            reason=None,
        )

    @property
    def lines(self) -> tuple[Row, ...]:
        """The rows and what is between them: their times add up to those of whole calls."""
        return (*self.rows, self.between)

    def share_before(self, row: Row) -> float:
        """Return the part of a whole call that a row took in the model given."""
        return row.before_us / self.total_before_us

    def share_after(self, row: Row) -> float:
        """Return the part of a whole call that a row takes now."""
        return row.after_us / self.total_after_us

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain values, fit for JSON."""
        return {
            "total_before_us": self.total_before_us,
            "total_after_us": self.total_after_us,
            "speedup": self.speedup,
            "rows": [self._record(row) for row in self.rows],
            "between": self._record(self.between),
            "untouched": [{"what": what, "why": why} for what, why in self.untouched],
            "largest_difference_given": self.largest_difference_given,
            "largest_difference_random": self.largest_difference_random,
            "tolerance": self.tolerance,
            "change": self.change,
            "traced": self.traced,
            "conditions": self.conditions,
            "prepare_seconds": self.prepare_seconds,
        }

    def cells(self) -> Iterator[tuple[str, ...]]:
        """Yield what the table shows of each line, and of whole calls."""
        for row in self.lines:
            yield (
                row.name, row.problem, _short(row),
                f"{row.before_us:,.1f}", f"{100 * self.share_before(row):.1f}",
                f"{row.after_us:,.1f}", f"{100 * self.share_after(row):.1f}",
                _times(row.speedup),
            )  # fmt: skip
        yield (
            "total", "", "", f"{self.total_before_us:,.1f}", "100.0",
            f"{self.total_after_us:,.1f}", "100.0", _times(self.speedup),
        )  # fmt: skip

    def notes(self) -> Iterator[str]:
        """Yield the lines below the table: what was left alone, and whether outputs agree."""
        left = Counter((row.problem, row.reason) for row in self.rows if row.reason)
        if left:
            yield "left to torch:"
        for (problem, reason), times in left.items():
            count = f" ({times} times)" if times > 1 else ""
            yield f"  {problem}{count}: {reason}"
        apart: dict[str, list[str]] = {}
        for what, why in self.untouched:
            apart.setdefault(why, []).append(what)
        if apart:
            yield "not touched:"
        for why, names in apart.items():
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            yield f"  {', '.join(names[:NAMED])}{more}: {why}"
        yield (
            f"largest difference, relative to the largest output: "
            f"{self.largest_difference_given:.1e} for the example, "
            f"{self.largest_difference_random:.1e} for random inputs; "
            f"tolerance {self.tolerance:.1e}"
        )
        if self.change < LEAST_CHANGE * self.tolerance:
            yield (
                f"(outputs change by {self.change:.1e} between the two: what hardly depends on the "
                "input agrees whatever is computed; are the weights trained?)"
            )
        yield f"times with {self.conditions}"
        by = "by " if self.traced.startswith("torch") else ""
        yield f"read {by}{self.traced}, prepared in {self.prepare_seconds:.1f} s"

    def _repr_html_(self) -> str:
        return as_html("optimized", HEADERS, self.cells(), words=WORDS, notes=self.notes())

    def __str__(self) -> str:
        table = console.table_text(HEADERS, self.cells(), left=WORDS)
        return "\n".join([table, "", *self.notes()])

    def _record(self, row: Row) -> dict[str, Any]:
        return {
            **asdict(row),
            "share_before": self.share_before(row),
            "share_after": self.share_after(row),
            "speedup": row.speedup,
        }


def _short(row: Row) -> str:
    """Return the plan of a convolution, or which parts of a block are in which kernel."""
    if row.plan is None:
        return "torch" if row.reason else ""
    return row.plan.partition(" | ")[0]


def _times(speedup: float | None) -> str:
    return "" if speedup is None else f"{speedup:.2f}"
