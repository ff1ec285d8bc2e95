"""`depthwise bench compare`: two files of results, and what got faster or slower between them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import geometric_mean
from typing import Any, Literal

from depthwise import console
from depthwise.bench import report
from depthwise.bench.results import Result
from depthwise.console import Form
from depthwise.errors import DepthwiseError

Verdict = Literal["wrong", "slower", "faster", "inside the spreads", "not timed"]
VERDICTS: tuple[Verdict, ...] = ("wrong", "slower", "faster", "inside the spreads", "not timed")
"""In the order in which they are told."""
HEADERS = (
    "problem", "engine", "before us", "+- us", "after us", "+- us", "times as fast",
)  # fmt: skip
LEGEND = """\
+-: median absolute deviation.
times as fast: the time before over the time after.
inside the spreads: the medians are no farther apart than both deviations."""
MACHINE = ("cpu", "architecture", "target", "usable_cores", "governor", "boost")
"""What of a machine makes times differ, by its key in `measure.state.describe`."""
_WHO = ("engine", "variant", "op", "spec", "layout", "dtype", "threads", "batch", "clock")
"""What is equal in the two results of a change."""


@dataclass(frozen=True)
class Run:
    """What a file of results holds."""

    file: Path
    machine: dict[str, Any]
    results: dict[tuple[object, ...], Result]


@dataclass(frozen=True)
class Change:
    """One contestant on one problem, before and after."""

    before: Result
    after: Result

    @property
    def times_as_fast(self) -> float | None:
        """The time before over the time after; None where one is missing."""
        if self.before.median_us is None or self.after.median_us is None:
            return None
        return self.before.median_us / self.after.median_us

    @property
    def verdict(self) -> Verdict:
        """What became of it."""
        if not self.after.verified:
            return "wrong"
        before, after = self.before.summary, self.after.summary
        if before is None or after is None:
            return "not timed"
        if abs(before.median - after.median) <= before.mad + after.mad:
            return "inside the spreads"
        return "faster" if after.median < before.median else "slower"

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON and CSV show."""
        return {
            **{name: getattr(self.before, name) for name in _WHO},
            "change": self.verdict,
            "before_us": self.before.median_us,
            "before_mad_us": self.before.mad_us,
            "after_us": self.after.median_us,
            "after_mad_us": self.after.mad_us,
            "times_as_fast": self.times_as_fast,
            "before_version": self.before.version,
            "after_version": self.after.version,
        }


def compare(before: Path, after: Path, form: Form) -> None:
    """Print what got faster or slower from one file of results to another.

    Raises:
        DepthwiseError: a file is not one of `depthwise bench`, or no result is in both.
    """
    first, second = read(before), read(after)
    changes = [
        Change(result, second.results[who])
        for who, result in first.results.items()
        if who in second.results
    ]
    if not changes:
        raise DepthwiseError(
            "results are compared where both files have the same problem, engine and conditions; "
            f"got none: {before}, {after}"
        )
    differences = list(_differences(first.machine, second.machine))
    for difference in differences:
        report.tell(f"warning: times of different machines: {difference}", "yellow")
    records = [change.as_dict() for change in changes]
    console.publish(
        form,
        value={
            "before": str(before),
            "after": str(after),
            "machines_differ": differences,
            "geometric_means": {name: geometric_mean(each) for name, each in _gains(changes)},
            "changes": records,
            "only_before": _only(first, second),
            "only_after": _only(second, first),
        },
        records=records,
        table=lambda: _print(first, second, changes),
    )


def read(file: Path) -> Run:
    """Return what a file of results holds.

    Raises:
        DepthwiseError: it is missing, or `depthwise bench` has not written it.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        names = [field.name for field in fields(Result)]
        results = [Result(**{name: each[name] for name in names}) for each in found["results"]]
        machine = dict(found["machine"])
        if not all(map(_has_times_or_none, results)):
            raise ValueError("a time is no number")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DepthwiseError(
            "results are a file that `depthwise bench --json FILE` wrote; got "
            f"{type(error).__name__}: {error}: {file}"
        ) from None
    return Run(file, machine, {_who(result): result for result in results})


def _has_times_or_none(result: Result) -> bool:
    times = (result.median_us, result.min_us, result.mad_us)
    return times == (None, None, None) or all(isinstance(each, int | float) for each in times)


def _who(result: Result) -> tuple[object, ...]:
    return tuple(getattr(result, name) for name in _WHO)


def _only(run: Run, other: Run) -> list[dict[str, Any]]:
    return [asdict(result) for who, result in run.results.items() if who not in other.results]


def _differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for name in MACHINE:
        if before.get(name) != after.get(name):
            yield f"{name.replace('_', ' ')} {before.get(name)}, then {after.get(name)}"


def _gains(changes: Sequence[Change]) -> Iterator[tuple[str, list[float]]]:
    """Yield each engine with how many times as fast its results are, where both have times."""
    for engine in dict.fromkeys(change.before.engine for change in changes):
        own = [change.times_as_fast for change in changes if change.before.engine == engine]
        if gains := [gain for gain in own if gain is not None]:
            yield engine, gains


def _print(first: Run, second: Run, changes: Sequence[Change]) -> None:
    console.say(f"{first.file}, then {second.file}\n")
    found = {
        verdict: sorted(
            (change for change in changes if change.verdict == verdict),
            key=lambda change: change.times_as_fast or 0.0,
        )
        for verdict in VERDICTS
    }
    console.print_tables(
        HEADERS,
        [
            (f"{verdict}: {len(own)} of {len(changes)}", map(_row, own))
            for verdict, own in found.items()
            if own
        ],
        left=2,
    )
    console.say(f"\n{LEGEND}\n")
    report.print_tables(report.means_of("engine", list(_gains(changes)), "Times as fast", "{:.2f}"))
    for run, other in ((first, second), (second, first)):
        if only := _only(run, other):
            console.say(f"only in {run.file}: {report.count(only, 'result')}")


def _row(change: Change) -> tuple[object, ...]:
    gain = change.times_as_fast
    return (
        change.before.spec,
        change.before.contestant,
        *_time(change.before),
        *_time(change.after),
        None if gain is None else f"{gain:.2f}",
    )


def _time(result: Result) -> tuple[str | None, str | None]:
    if (times := result.summary) is None:
        return report.verdict(result), None
    return report.microseconds(times.median), report.microseconds(times.mad)
