"""`dw.tune`: the search for the fastest plan of a problem, on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from depthwise.functions import call
from depthwise.machine import team
from depthwise.machine.target import host
from depthwise.problem.parse import specification
from depthwise.problem.problem import Problem
from depthwise.schedule.plan import AnyPlan
from depthwise.store import database
from depthwise.tuning.search import Laboratory, Tuning, search
from depthwise.tuning.space import space


def tune(
    spec: Problem | str, *, threads: int | None = None, seconds: float | None = None
) -> AnyPlan:
    """Search for the fastest plan of a problem on this machine, and remember it on disk.

    `compile` and the functions take it from then on, whatever the number of threads.  A search that
    is interrupted, or ends with its budget, goes on from there when it is called again.

    Args:
        spec: a convolution or a block, or its text form.
        threads: on which plans are timed; None is what a call uses.
        seconds: after which the best that was found is returned; None is 10, and 30 for blocks and
            for kernels of 7x7 and larger.

    Raises:
        SpecError: the problem cannot exist, or there are no threads or no seconds.
        PeerError: the process in which plans are tried does not start.
    """
    problem = specification(spec)
    count = team.thread_count(threads, problem) or team.size()
    from depthwise.tuning import trials

    with trials.Laboratory(count) as laboratory:
        return watched_search(problem, laboratory, count, seconds).plan


def tune_all(specs: Sequence[Problem], step: Callable[[str], None]) -> None:
    """Search for the fastest plan of each problem in turn; see `tune`.

    Args:
        specs: the problems.
        step: called before each plan is tried with words that name both.
    """
    from depthwise.tuning import trials

    target, threads = host(), team.size()
    with trials.Laboratory(threads) as laboratory:
        for spec in specs:
            search(spec, target, threads, laboratory, None, partial(_told, step, spec))
    call.forget()


def _told(step: Callable[[str], None], spec: Problem, plan: AnyPlan) -> None:
    step(f"{spec}: {plan}")


def watched_search(
    spec: Problem,
    laboratory: Laboratory,
    threads: int,
    seconds: float | None = None,
    words: str = "",
) -> Tuning:
    """Search on this machine, showing how far that has come; calls take up what was found.

    Args:
        spec: the problem.
        laboratory: as for `search`.
        threads: as for `search`.
        seconds: as for `search`.
        words: shown before the problem.
    """
    from depthwise import console

    target = host()
    legal = space(spec, target)
    tried = sum(plan in legal for plan in database.trials(spec, target, threads))
    with console.progress(legal.size and legal.size - tried) as step:
        found = search(
            spec, target, threads, laboratory, seconds, lambda plan: step(f"{words}{spec}: {plan}")
        )
    call.forget()
    return found
