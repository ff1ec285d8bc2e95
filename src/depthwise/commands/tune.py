"""`depthwise tune`: a search for each problem, and what it gained over the heuristic's plans."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from statistics import geometric_mean
from typing import Any

from depthwise import console
from depthwise.console import Form
from depthwise.machine import team
from depthwise.problem.problem import Problem
from depthwise.store import disk
from depthwise.tuning.search import Tuning
from depthwise.tuning.trials import Laboratory
from depthwise.tuning.tuner import watched_search

HEADERS = (
    "problem", "default plan", "tuned plan", "default us", "tuned us", "times as fast", "tried",
)  # fmt: skip


def tune(
    problems: Collection[Problem], threads: int | None, seconds: float | None, form: Form
) -> int:
    """Search for the fastest plan of each problem in its turn, and print them all.

    After an interrupt, what is complete is printed.

    Args:
        problems: convolutions and blocks.
        threads: on which plans are timed; None is what a call uses.
        seconds: the budget of each problem; None is `tuning.search.budget`.
        form: in which to print what was found.

    Returns:
        0, or 1 where a plan computed something else than the oracle.

    Raises:
        PeerError: the process in which plans are tried does not start.
    """
    count = threads or team.size()
    if disk.root() is None:
        _say(f"{disk.VARIABLE} is empty: nothing that is learnt is kept")
    found: list[Tuning] = []
    try:
        with Laboratory(count) as laboratory:
            for number, spec in enumerate(problems, 1):
                words = f"{number} of {len(problems)}: " if len(problems) > 1 else ""
                found.append(watched_search(spec, laboratory, count, seconds, words))
                _tell(found[-1])
    except KeyboardInterrupt:
        _say(
            f"interrupted after {len(found)} of {len(problems)} problems; what was measured is "
            "kept, and the same command goes on from there"
        )
        raise
    finally:
        _print(found, count, form)
    return int(any(trial.failure == "wrong" for each in found for trial in each.trials.values()))


def _tell(each: Tuning) -> None:
    """Say on stderr what the table does not show."""
    _say(
        f"{each.spec}: started in {each.start_seconds:.0f} s; "
        f"tried {_progress(each)} in {each.seconds:.0f} s"
    )
    if not each.complete:
        _say(
            "the budget ended; the same command goes on from there, and --seconds gives it more: "
            f"{each.spec}"
        )
    for plan, trial in each.trials.items():
        if trial.failure:
            _say(f"{trial.failure}: {plan}: {trial.detail}")


def _progress(each: Tuning) -> str:
    """Return how many plans were tried now, and how many of all those that there are."""
    if each.fresh == each.tried:
        return f"{_tried(each)} plans"
    return f"{each.fresh} more plans ({_tried(each)} in all)"


def _say(text: str) -> None:
    console.err.print(text, markup=False, soft_wrap=True)


def _print(found: Sequence[Tuning], threads: int, form: Form) -> None:
    gains = [each.gain for each in found if each.gain]
    mean = geometric_mean(gains) if gains else None
    records = list(map(_record, found))

    def table() -> None:
        if not found:
            return
        console.print_table(HEADERS, _rows(found), title=_title(threads, mean), left=3)
        for each in found:
            console.say(f"\n# {each.spec}")
            console.say(repr(each.plan))

    console.publish(
        form,
        value={"threads": threads, "geometric_mean": mean, "tunings": records},
        records=records,
        table=table,
    )


def _title(threads: int, mean: float | None) -> str:
    title = team.in_words(threads)
    return f"{title}; geometric mean: {mean:.3f} times as fast" if mean else title


def _rows(found: Sequence[Tuning]) -> Iterator[tuple[object, ...]]:
    for each in found:
        default_us = f"{each.default_us:.1f}" if each.default_us else "failed"
        gain = f"{each.gain:.2f}" if each.gain else None
        us = f"{each.us:.1f}"
        yield each.spec, each.default, each.plan, default_us, us, gain, _tried(each)


def _tried(each: Tuning) -> str:
    return f"{each.tried} of {each.legal}" if each.legal else str(each.tried)


def _record(each: Tuning) -> dict[str, Any]:
    return {
        "spec": str(each.spec),
        "plan": str(each.plan),
        "literal": repr(each.plan),
        "us": each.us,
        "default": str(each.default),
        "default_us": each.default_us,
        "gain": each.gain,
        "tried": each.tried,
        "legal": each.legal,
        "complete": each.complete,
        "start_seconds": each.start_seconds,
        "seconds": each.seconds,
        "trials": {str(plan): trial.as_dict() for plan, trial in each.trials.items()},
    }
