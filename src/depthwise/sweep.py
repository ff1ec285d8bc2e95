"""`depthwise sweep`: every legal tiling of one schedule, verified and timed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from depthwise import schedule
from depthwise.bench.timing import Summary
from depthwise.console import err, print_json, print_table, progress
from depthwise.costs import cost
from depthwise.errors import InternalError, SpecError
from depthwise.parse import parse
from depthwise.plan import Plan
from depthwise.plan_search import TrialError
from depthwise.spec import ConvSpec
from depthwise.target import Target, named
from depthwise.trials import Laboratory

_PREFERRED = ("packed", "channels_last")


@dataclass(frozen=True)
class Tiling:
    """One plan with its measured time."""

    plan: str
    tc: int
    tw: int
    th: int
    median_us: float
    mad_us: float
    gflops: float


def sweep(
    text: str, name: str | None, threads: int, repeats: int, plot: Path | None, as_json: bool
) -> None:
    """Measure every legal plan of a schedule; print the table, fastest first, and draw the map.

    Raises:
        SpecError: the problem is no single convolution.
        PlanError: the schedule does not take it.
    """
    spec, target = parse(text), named(None)
    if not isinstance(spec, ConvSpec):
        raise SpecError(f"a sweep takes one convolution; got a block: {spec}")
    plans = _plans(spec, name, target)
    found: list[Tiling] = []
    with progress(len(plans)) as step, Laboratory(threads) as laboratory:
        try:
            laboratory.pose(spec)
            for plan in plans:
                step(str(plan))
                found += _measure(spec, plan, laboratory, repeats)
        except KeyboardInterrupt:
            err.print(f"interrupted after {len(found)} of {len(plans)} plans")
            if not found:
                raise
    found.sort(key=lambda tiling: tiling.median_us)
    default = str(schedule.rule_of(plans[0], spec, target).default_plan(spec, target))
    if as_json:
        print_json({"spec": str(spec), "default": default, "tilings": [asdict(t) for t in found]})
    else:
        title = f"{spec}  {plans[0].schedule}  {threads} thread(s)  (default plan: {default})"
        headers = ("plan", "time us", "spread us", "GFLOP/s", "of the best")
        print_table(headers, _rows(found), title=title)
    if plot:
        from depthwise.bench.plots import tiling_map

        tiling_map(str(spec), [(t.tc, t.tw, t.th, t.gflops) for t in found], plot)


def _plans(spec: ConvSpec, name: str | None, target: Target) -> Sequence[Plan]:
    taken = [rule.name for rule in schedule.RULES if rule.rejects(spec, target) is None]
    chosen = name or next((rule for rule in _PREFERRED if rule in taken), taken[0])
    return list(schedule.rule_of(Plan(chosen), spec, target).plans(spec, target))


def _measure(spec: ConvSpec, plan: Plan, laboratory: Laboratory, repeats: int) -> list[Tiling]:
    """Return the plan's time; nothing, after a message, where it cannot be timed."""
    try:
        times = Summary.of(laboratory.sample(plan, repeats))
    except TrialError as error:
        if error.trial.failure == "wrong":
            raise InternalError(
                f"every plan computes what the oracle does; {plan} is {error}: {spec}"
            ) from None
        err.print(f"{plan}: {error}", markup=False, soft_wrap=True)
        return []
    gflops = cost(spec).flops / times.median / 1e3
    return [Tiling(str(plan), plan.tc, plan.tw, plan.th, times.median, times.mad, gflops)]


def _rows(found: Sequence[Tiling]) -> Iterator[tuple[object, ...]]:
    for t in found:
        best = found[0].median_us / t.median_us
        yield t.plan, f"{t.median_us:.1f}", f"{t.mad_us:.1f}", f"{t.gflops:.1f}", f"{best:.0%}"
