"""From a problem to a kernel: the page to read first.

spec -> plan -> define -> schedule -> build -> kernel
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from depthwise import cache, code, plan_database, schedule
from depthwise.block import BlockSpec, Spec
from depthwise.code import Code
from depthwise.errors import NotYetError, PlanError
from depthwise.parse import parse
from depthwise.plan import Plan
from depthwise.spec import ConvSpec
from depthwise.target import Target, named

if TYPE_CHECKING:
    from depthwise.build import Program
    from depthwise.kernel import ChainKernel, ConvKernel, Kernel

_one_at_a_time = threading.RLock()


def compile(spec: Spec | str, plan: Plan | str | None = None, target: str | None = None) -> Kernel:  # noqa: A001
    """Return the kernel of a problem; the same call gives the same kernel again at once.

    Args:
        spec: a specification or its text form.
        plan: how to compute it, or its text form; None takes the plan that `tune` remembers for
            the problem and the CPU, or else the heuristic's choice.
        target: the CPU to generate code for, as LLVM names it; None is this machine.

    Raises:
        SpecError: the problem cannot exist.
        PlanError: the plan's schedule does not take this problem.
        TargetError: no such CPU.
    """
    problem = _problem(spec)
    choice = plan if plan is None or isinstance(plan, Plan) else Plan.parse(plan)
    cpu = named(target)
    with _one_at_a_time:
        if isinstance(problem, ConvSpec):
            return _compile_conv(problem, choice or plan_of(problem, cpu), cpu)
        if choice is not None:
            raise PlanError(f"a block has no plan of its own yet; got {choice}: {problem}")
        return _compile_chain(problem, tuple(plan_of(part, cpu) for part in problem.parts), cpu)


def plan_of(spec: ConvSpec, target: Target) -> Plan:
    """Return the plan that a search found fastest for a problem, or else the heuristic's."""
    return plan_database.tuned_plan(spec, target) or schedule.default_plan(spec, target)


def explain(spec: ConvSpec | str, target: str | None = None) -> dict[str, str | None]:
    """Return, for each schedule in order of preference, why it does not take the problem.

    None stands where it does; the first of those is the default.
    """
    problem = _problem(spec)
    if isinstance(problem, BlockSpec):
        raise NotYetError(f"a block is computed part by part for now; explain each part: {problem}")
    return schedule.explain(problem, named(target))


def _problem(spec: Spec | str) -> Spec:
    return spec if isinstance(spec, (ConvSpec, BlockSpec)) else parse(spec)


@functools.cache
def _compile_conv(spec: ConvSpec, plan: Plan, target: Target) -> ConvKernel:
    from depthwise.kernel import ConvKernel

    form = schedule.rule_of(plan, spec, target).form(spec, plan, target)
    program = partial(_program, spec, plan, target)
    machine_code = _code(spec, plan, target, program)
    return ConvKernel(spec, plan, target, form, machine_code, functools.cache(program))


def _code(spec: ConvSpec, plan: Plan, target: Target, program: Callable[[], Program]) -> Code:
    """Return the machine code: what the disk remembers, or what is built now."""
    if found := _remembered(cache.load(spec, plan, target)):
        return found
    built = program().built
    write, meta = partial(code.write, built), {"tasks": built.tasks, "scratch_bytes": built.scratch_bytes}
    stored = cache.store(spec, plan, target, write, meta, code.suffix())
    return _remembered(stored) or code.loaded(built)


def _remembered(entry: cache.Entry | None) -> Code | None:
    """Load an entry; None where there is none, or it does not load (it may be gone by now)."""
    if entry is None:
        return None
    try:
        return code.load(entry.path, **entry.meta)
    except OSError as error:
        entry.discard(str(error))
        return None


def _program(spec: ConvSpec, plan: Plan, target: Target) -> Program:
    """Define and schedule."""
    from depthwise import build, define

    rule = schedule.rule_of(plan, spec, target)
    form = rule.form(spec, plan, target)
    definition = define.define(spec, form)
    transformed = rule.scheduled(definition, spec, plan, target)
    scheduled = define.join_segments(transformed, spec, form.segments)
    return build.Program({build.SYMBOL: definition}, {build.SYMBOL: scheduled}, target)


@functools.cache
def _compile_chain(spec: BlockSpec, plans: tuple[Plan, ...], target: Target) -> ChainKernel:
    from depthwise.kernel import ChainKernel

    if spec.squeeze_excite:
        raise NotYetError(f"squeeze-and-excite blocks do not exist yet: {spec}")
    parts = [_compile_conv(*part, target) for part in zip(spec.parts, plans, strict=True)]
    return ChainKernel(spec, target, tuple(parts))
