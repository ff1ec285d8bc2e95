"""`depthwise sweep`: every tiling of a convolution, or strip of a block, verified and timed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthwise import schedule
from depthwise.console import Form, err, print_table, progress, publish
from depthwise.drawing import NEEDS, can_draw, check_plot
from depthwise.errors import InternalError, SpecError
from depthwise.machine import team
from depthwise.machine.target import Target, named
from depthwise.measure.timing import Summary
from depthwise.problem.block import forward_only
from depthwise.problem.costs import cost
from depthwise.problem.dtypes import worded
from depthwise.problem.parse import parse
from depthwise.problem.problem import Problem
from depthwise.schedule import fusion
from depthwise.schedule.plan import AnyPlan, Plan
from depthwise.tuning.block_space import BlockSpace
from depthwise.tuning.search import TrialError
from depthwise.tuning.trials import Laboratory

PICTURE = Path("results/sweep.png")
_PREFERRED = ("packed", "channels_last")


@dataclass(frozen=True)
class Measured:
    """One plan with its time."""

    plan: AnyPlan
    median_us: float
    mad_us: float
    gflops: float

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON shows: the plan as text and in figures, and its time."""
        times = {"median_us": self.median_us, "mad_us": self.mad_us, "gflops": self.gflops}
        return {"plan": str(self.plan), **_figures(self.plan), **times}


def sweep(
    text: str, name: str | None, threads: int, repeats: int, plot: Path | None, form: Form
) -> None:
    """Measure every plan of a schedule, or every strip of a block, and print the fastest first.

    Args:
        text: a convolution or a block.
        name: the schedule whose tiles are tried; None is the usual one, and what a block takes.
        threads: of each kernel.
        repeats: samples of each time.
        plot: the file of a convolution's heat map; None is `PICTURE`, where it can be drawn.
        form: in which to print what was found.

    Raises:
        SpecError: a block is given a schedule, or the problem is a pass of training.
        PlanError: the schedule does not take the problem.
        DepthwiseError: the file cannot be written, or was asked for where nothing can draw it.
    """
    spec, target = forward_only(parse(text), "a sweep"), named(None)
    is_block = len(spec.parts) > 1
    file = None if is_block else _picture(plot)
    default, plans = (_strips if is_block else _tilings)(spec, name, target)
    found = sorted(_measured(spec, plans, threads, repeats), key=lambda each: each.median_us)
    tilings = [each.as_dict() for each in found]
    rate = worded("GFLOP/s", [spec.dtype])
    headers = ("plan", "time us", "spread us", rate, "of the best")
    title = f"{spec}  {team.in_words(threads)}  (default plan: {default})"
    publish(
        form,
        value={"spec": str(spec), "default": str(default), "tilings": tilings},
        records=[{"spec": str(spec), **tiling} for tiling in tilings],
        table=lambda: print_table(headers, _rows(found), title=title),
    )
    if file and found:
        from depthwise.commands.sweep_plot import tiling_map

        cells = [(*_figures(each.plan).values(), each.gflops) for each in found]
        tiling_map(str(spec), cells, rate, file)


def _picture(asked: Path | None) -> Path | None:
    """Return the file of the heat map, which can be written; None where nothing can draw it.

    Raises:
        DepthwiseError: a file was asked for and nothing can draw it, or it cannot be written.
    """
    if asked is None and not can_draw():
        err.print(f"no heat map: {NEEDS}", markup=False, soft_wrap=True)
        return None
    file = asked or PICTURE
    check_plot(file)
    return file


def _tilings(spec: Problem, name: str | None, target: Target) -> tuple[AnyPlan, list[AnyPlan]]:
    """Return the default plan and every plan of a schedule."""
    ranking = schedule.ranking(spec, target, 1)
    taken = [rule.name for rule, reason in ranking.items() if reason is None]
    chosen = name or next((rule for rule in _PREFERRED if rule in taken), taken[0])
    rule = schedule.rule_of(Plan(chosen), spec, target)
    return rule.default_plan(spec, target, 1), list(rule.plans(spec, target))


def _strips(spec: Any, name: str | None, target: Target) -> tuple[AnyPlan, list[AnyPlan]]:
    """Return the default plan and every one of fusing and of strips; say what is impossible."""
    if name is not None:
        raise SpecError(f"each part of a block has a schedule of its own; got {name}: {spec}")
    for way, why in fusion.ways(spec, target, 1).items():
        if isinstance(why, str):
            err.print(f"{way}: {why}", markup=False, soft_wrap=True)
    space = BlockSpace(spec, target)
    return space.default, list(space.strips())


def _measured(
    spec: Problem, plans: Sequence[AnyPlan], threads: int, repeats: int
) -> list[Measured]:
    """Return the plans that can be timed; after an interrupt, those that were until then."""
    found: list[Measured] = []
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
    return found


def _measure(spec: Problem, plan: AnyPlan, laboratory: Laboratory, repeats: int) -> list[Measured]:
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
    return [Measured(plan, times.median, times.mad, gflops)]


def _figures(plan: AnyPlan) -> dict[str, Any]:
    if isinstance(plan, Plan):
        return {"tc": plan.tc, "tw": plan.tw, "th": plan.th}
    return {"fused": plan.fused, "rows": plan.rows}


def _rows(found: Sequence[Measured]) -> Iterator[tuple[object, ...]]:
    for each in found:
        best = found[0].median_us / each.median_us
        times = f"{each.median_us:.1f}", f"{each.mad_us:.1f}", f"{each.gflops:.1f}"
        yield each.plan, *times, f"{best:.0%}"
