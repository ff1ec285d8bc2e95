"""From a problem to a kernel: the page to read first.

problem -> plan -> steps -> programs -> machine code -> kernel
"""

from __future__ import annotations

import atexit
import functools
import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwise import schedule
from depthwise.errors import SpecError
from depthwise.kernel import along, code
from depthwise.kernel.code import Code
from depthwise.machine import team
from depthwise.machine.emitted import Emitted, Form
from depthwise.machine.target import Target, named
from depthwise.problem.block import BlockSpec
from depthwise.problem.parse import specification
from depthwise.problem.problem import Problem
from depthwise.schedule.plan import AnyPlan, BlockPlan, Plan, parse_plan
from depthwise.schedule.steps import Step
from depthwise.store import cache, database

if TYPE_CHECKING:
    from depthwise.kernel.kernel import Kernel
    from depthwise.programs.build import Program

_one_at_a_time = threading.RLock()
_importing = threading.RLock()
"""Held while TVM is imported: a child that is forked meanwhile could never import it, because
Python's lock of a module stays with the thread that the child does not have."""


def _renew_locks() -> None:
    """Replace the locks, which a thread may hold that a forked child does not have."""
    global _one_at_a_time  # noqa: PLW0603
    _one_at_a_time = threading.RLock()
    _importing.release()


def _end_compiling() -> None:
    """Wait for what another thread compiles, and let none begin.

    Python would end a daemon thread within the compiler, which ends the process with an abort.
    """
    _one_at_a_time.acquire()


os.register_at_fork(
    before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_renew_locks
)
weakref.finalize(_end_compiling, int).detach()  # the first one has all of them called at exit:
atexit.register(_end_compiling)  # before that, because temporary folders are removed so


def compile(  # noqa: A001
    spec: Problem | str,
    plan: AnyPlan | str | None = None,
    target: str | None = None,
    threads: int | None = None,
) -> Kernel:
    """Return the kernel of a problem; the same call gives the same kernel again at once.

    Args:
        spec: a specification or its text form.
        plan: how to compute it, or its text form; None takes the plan that `tune` remembers for
            the problem and the CPU, or else the heuristic's choice.
        target: the CPU to generate code for, as LLVM names it; None is this machine.
        threads: how many threads the heuristic plans for; None is `team.size()` on this machine,
            and one for another.

    Raises:
        SpecError: the problem cannot exist, or needs several kernels (`PassSpec.kernels`).
        PlanError: the plan's schedule does not take this problem.
        TargetError: no such CPU.
    """
    problem, cpu = _kernel_problem(specification(spec)), named(target)
    if plan is not None and not isinstance(plan, (Plan, BlockPlan)):
        plan = parse_plan(plan)
    choice = plan or plan_of(problem, cpu, threads)
    with _one_at_a_time:
        return _compiled(problem, choice, cpu)


def is_stored(spec: Problem, threads: int | None = None) -> bool:
    """Whether all machine code of a problem for this machine is there already; see `compile`."""
    cpu = named(None)
    plan = plan_of(spec, cpu, threads)
    if along.codes_of(spec, plan, cpu):
        return True
    steps = steps_of(spec, plan, cpu)
    return all(cache.has(step.problem, step.plan, cpu, step.number) for step in steps)


def plan_of(problem: Problem, target: Target, threads: int | None = None) -> AnyPlan:
    """Return the plan that a search found fastest for a problem, or else the heuristic's.

    Before these goes that of machine code that came along with a file.
    """
    found = along.plan_of(problem, target) or database.tuned_plan(problem, target)
    return found or _usual_plan(problem, target, planned_threads(problem, target, threads))


@functools.cache
def _usual_plan(problem: Problem, target: Target, threads: int) -> AnyPlan:
    """Return the heuristic's plan, remembered on disk where to find it takes long: of blocks."""
    if not isinstance(problem, BlockSpec):
        return schedule.default_plan(problem, target, threads)
    if found := cache.chosen(problem, target, threads):
        return parse_plan(found)
    plan = schedule.default_plan(problem, target, threads)
    cache.choose(problem, plan, target, threads)
    return plan


def planned_threads(problem: Problem, target: Target, threads: int | None = None) -> int:
    """Return how many threads to plan for: as many as asked, the team here, one elsewhere.

    Raises:
        SpecError: fewer than one are asked for.
    """
    asked = team.thread_count(threads, problem)
    return asked or (team.size() if target == named(None) else 1)


def explain(
    spec: Problem | str, target: str | None = None, threads: int | None = None
) -> dict[str, str | None]:
    """Return why each way of computing a problem is not possible; None stands where it is.

    The ways are the schedules of the problem in order of preference, or for a block the ways of
    fusing, the one that counts fewest cycles first.  The first without a reason is the default.
    Arguments are those of `compile`.
    """
    problem, cpu = _kernel_problem(specification(spec)), named(target)
    return schedule.explain(problem, cpu, planned_threads(problem, cpu, threads))


def _kernel_problem(spec: Problem) -> Problem:
    if spec.kernels != (spec,):
        kernels = ", ".join(f'"{kernel}"' for kernel in spec.kernels)
        raise SpecError(f"a kernel computes one pass; this is those of {kernels}: {spec}")
    return spec


@functools.cache
def _compiled(problem: Problem, plan: AnyPlan, target: Target) -> Kernel:
    """Take the steps of the plan's rule, and the machine code of each."""
    from depthwise.kernel.kernel import Kernel

    steps = steps_of(problem, plan, target)
    written = functools.cache(_programs)  # for this while: programs take much memory
    codes = along.codes_of(problem, plan, target) or tuple(
        _code(step, target, written) for step in steps
    )
    codes = tuple(map(_with_tasks, codes, steps))
    return Kernel(
        problem, plan, target, steps, codes, functools.cache(partial(_shown, steps, target))
    )


def _with_tasks(code: Code, step: Step) -> Code:
    """Return machine code that is as many tasks as its step says, where that says so."""
    return code if step.tasks is None else replace(code, tasks=step.tasks)


@functools.cache
def steps_of(problem: Problem, plan: AnyPlan, target: Target) -> tuple[Step, ...]:
    """Return what a call of a problem's kernel runs, one after the other."""
    return schedule.rule_of(plan, problem, target).steps(problem, plan, target)


def _shown(steps: tuple[Step, ...], target: Target) -> tuple[Program, ...]:
    """Write the program of each step again."""
    written = functools.cache(_programs)
    return tuple(written(step.problem, step.plan, target)[step.number] for step in steps)


def _code(step: Step, target: Target, written: Callable[..., tuple[Program, ...]]) -> Code:
    """Return the machine code of a step: what the disk remembers, or what is built now."""
    key = step.problem, step.plan, target, step.number
    if not target.is_foreign and (found := _remembered(cache.load(*key))):
        return found
    built = written(step.problem, step.plan, target)[step.number].built
    if target.is_foreign:
        return Code(0, built.tasks, built.scratch_bytes, built)
    meta = {"tasks": built.tasks, "scratch_bytes": built.scratch_bytes}
    write = partial(code.write, built)
    stored = cache.store(step.problem, step.plan, target, write, meta, code.suffix(), step.number)
    return _remembered(stored) or code.loaded(built)


def emitted(step: Step, target: Target, form: Form) -> Emitted:
    """Return the code of a step to take along: what the disk remembers, or what is made now."""
    key = step.problem, step.plan, target, step.number
    suffix = EMITTED[form]
    if (entry := cache.load(*key, suffixes=(suffix,))) and (found := _read(entry, form)):
        return found
    with _one_at_a_time, _importing:
        from depthwise.programs import emit

        program = _programs(step.problem, step.plan, target)[step.number]
        made = emit.emitted(program, form, emit.symbol(cache.fingerprint(), *key))
    cache.store(*key[:3], partial(_write, made), _about(made), suffix, step.number)
    return made


EMITTED: dict[Form, str] = {"c": ".c", "object": ".o"}
"""The suffixes of code to take along, as the cache keeps it."""


def _write(made: Emitted, path: Path) -> None:
    path.write_bytes(made.object or made.text.encode())


def _about(made: Emitted) -> dict[str, Any]:
    """Return what the cache keeps beside the code."""
    return {
        "tasks": made.tasks, "scratch_bytes": made.scratch_bytes, "symbol": made.symbol,
        "helpers": sorted(made.helpers), "headers": sorted(made.headers),
    }  # fmt: skip


def _read(entry: cache.Entry, form: Form) -> Emitted | None:
    """Return what an entry holds; None where it is gone by now."""
    try:
        content = entry.object()
    except (OSError, ValueError):
        return None
    about = entry.meta
    return Emitted(
        about["tasks"], about["scratch_bytes"], content.decode() if form == "c" else "",
        frozenset(about["helpers"]), frozenset(about["headers"]),
        content if form == "object" else b"", about["symbol"],
    )  # fmt: skip


def _remembered(entry: cache.Entry | None) -> Code | None:
    """Load an entry; None where there is none, or it does not load (it may be gone by now)."""
    if entry is None:
        return None
    try:
        return code.load(entry.path, **entry.meta)
    except OSError as error:
        entry.discard(str(error))
        return None


def _programs(problem: Problem, plan: AnyPlan, target: Target) -> tuple[Program, ...]:
    """Define the problem and write it as its plan says."""
    with _importing:
        from depthwise.programs.writers import programs

    return programs(problem, plan, target)
