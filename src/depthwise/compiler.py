"""From a problem to a kernel: the page to read first.

spec -> plan -> define -> schedule -> build -> kernel
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from depthwise import schedule
from depthwise.errors import PlanError, SpecError
from depthwise.kernel import code
from depthwise.kernel.code import Code
from depthwise.machine import team
from depthwise.machine.target import Target, named
from depthwise.problem.block import BlockSpec, Spec
from depthwise.problem.parse import specification
from depthwise.problem.pixels import PixelSpec
from depthwise.problem.spec import ConvSpec
from depthwise.problem.training import PassSpec
from depthwise.schedule import fusion
from depthwise.schedule.chain import Chain
from depthwise.schedule.gate import Gate
from depthwise.schedule.plan import AnyPlan, BlockPlan, Plan, parse_plan
from depthwise.store import cache, database

if TYPE_CHECKING:
    from depthwise.kernel.block_kernel import BlockKernel
    from depthwise.kernel.gradient_kernel import GradientKernel
    from depthwise.kernel.kernel import ConvKernel, Kernel
    from depthwise.kernel.pixel_kernel import PixelKernel
    from depthwise.programs.build import Program

_one_at_a_time = threading.RLock()


def compile(  # noqa: A001
    spec: Spec | str, plan: AnyPlan | str | None = None, target: str | None = None
) -> Kernel:
    """Return the kernel of a problem; the same call gives the same kernel again at once.

    Args:
        spec: a specification or its text form.
        plan: how to compute it, or its text form; None takes the plan that `tune` remembers for
            the problem and the CPU, or else the heuristic's choice.
        target: the CPU to generate code for, as LLVM names it; None is this machine.

    Raises:
        SpecError: the problem cannot exist, or needs several kernels (`PassSpec.kernels`).
        PlanError: the plan's schedule does not take this problem.
        TargetError: no such CPU.
    """
    problem = _kernel_problem(specification(spec))
    cpu = named(target)
    choice = plan if isinstance(plan, (Plan, BlockPlan)) else _parsed(plan) or plan_of(problem, cpu)
    if isinstance(choice, BlockPlan) != isinstance(problem, BlockSpec):
        raise PlanError(f"a block has a plan of its own kind; got {choice}: {problem}")
    with _one_at_a_time:
        if isinstance(problem, ConvSpec):
            return _compile_conv(problem, choice, cpu)
        if isinstance(problem, PassSpec):
            return _compile_gradient(problem, choice, cpu)
        if isinstance(problem, PixelSpec):
            return _compile_pixels(problem, choice, cpu)
        return _compile_block(problem, choice, cpu)


def _parsed(plan: str | None) -> AnyPlan | None:
    return None if plan is None else parse_plan(plan)


def plan_of(spec: Spec, target: Target) -> AnyPlan:
    """Return the plan that a search found fastest for a problem, or else the heuristic's."""
    if isinstance(spec, PassSpec):
        return schedule.default_gradient_plan(spec, target)
    if isinstance(spec, PixelSpec):
        return schedule.PIXEL_PLAN
    return block_plan(spec, target) if isinstance(spec, BlockSpec) else conv_plan(spec, target)


def conv_plan(spec: ConvSpec, target: Target) -> Plan:
    """Return the plan of a convolution; see `plan_of`."""
    tuned = database.tuned_plan(spec, target)
    return tuned if isinstance(tuned, Plan) else schedule.default_plan(spec, target)


def block_plan(spec: BlockSpec, target: Target) -> BlockPlan:
    """Return the plan of a block; see `plan_of`."""
    tuned = database.tuned_plan(spec, target)
    return tuned if isinstance(tuned, BlockPlan) else fusion.default_plan(spec, target)


def explain(spec: Spec | str, target: str | None = None) -> dict[str, str | None]:
    """Return why each way of computing a problem is not possible; None stands where it is.

    The ways are the schedules of a convolution or a gradient in order of preference, or the ways of
    fusing a block, the one that counts fewest cycles first.  The first without a reason is the
    default.
    """
    problem = _kernel_problem(specification(spec))
    cpu = named(target)
    if not isinstance(problem, BlockSpec):
        return schedule.explain(problem, cpu)
    ways = fusion.ways(problem, cpu, team.size())
    return {name: way if isinstance(way, str) else None for name, way in ways.items()}


def _kernel_problem(spec: Spec) -> Spec:
    if isinstance(spec, PassSpec) and len(spec.kernels) > 1:
        kernels = ", ".join(f'"{kernel}"' for kernel in spec.kernels)
        raise SpecError(f"a kernel computes one pass; this is those of {kernels}: {spec}")
    return spec


@functools.cache
def _compile_conv(spec: ConvSpec, plan: Plan, target: Target) -> ConvKernel:
    from depthwise.kernel.kernel import ConvKernel

    form = schedule.rule_of(plan, spec, target).form(spec, plan, target)
    program = partial(_program, spec, plan, target)
    machine_code = _code(spec, plan, target, program)
    return ConvKernel(spec, plan, target, machine_code, functools.cache(program), form)


def _code(
    spec: Spec, plan: AnyPlan, target: Target, program: Callable[[], Program], stage: int = 0
) -> Code:
    """Return the machine code: what the disk remembers, or what is built now."""
    if found := _remembered(cache.load(spec, plan, target, stage)):
        return found
    built = program().built
    write = partial(code.write, built)
    meta = {"tasks": built.tasks, "scratch_bytes": built.scratch_bytes}
    stored = cache.store(spec, plan, target, write, meta, code.suffix(), stage)
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
    from depthwise.programs import build, define

    rule = schedule.rule_of(plan, spec, target)
    form = rule.form(spec, plan, target)
    definition = define.define(spec, form)
    transformed = rule.scheduled(definition, spec, plan, target)
    scheduled = define.join_segments(transformed, spec, form.segments)
    return build.Program({build.SYMBOL: definition}, {build.SYMBOL: scheduled}, target)


@functools.cache
def _compile_gradient(spec: PassSpec, plan: Plan, target: Target) -> GradientKernel:
    from depthwise.kernel.gradient_kernel import GradientKernel, GradientStage

    stages = []
    for number in range(schedule.gradient_rule_of(plan, spec, target).stages):
        program = functools.cache(partial(_gradient_program, spec, plan, target, number))
        stages.append(GradientStage(_code(spec, plan, target, program, number), program))
    return GradientKernel(spec, plan, target, tuple(stages))


def _gradient_program(spec: PassSpec, plan: Plan, target: Target, stage: int) -> Program:
    from depthwise.programs import build, define_gradient

    functions = schedule.gradient_rule_of(plan, spec, target).functions(spec, plan, target)[stage]
    return build.Program({build.SYMBOL: define_gradient.define(spec)}, functions, target)


@functools.cache
def _compile_pixels(spec: PixelSpec, plan: Plan, target: Target) -> PixelKernel:
    from depthwise.kernel.pixel_kernel import PixelKernel

    if plan != schedule.PIXEL_PLAN:
        raise PlanError(f"the plan of this problem is {schedule.PIXEL_PLAN}; got {plan}: {spec}")
    program = functools.cache(partial(_pixel_program, spec, target))
    return PixelKernel(spec, plan, target, _code(spec, plan, target, program), program)


def _pixel_program(spec: PixelSpec, target: Target) -> Program:
    from depthwise.programs import build, define_pixels, pixel_passes

    definition = {build.SYMBOL: define_pixels.define(spec)}
    return build.Program(definition, pixel_passes.functions(spec, target), target)


@functools.cache
def _compile_block(spec: BlockSpec, plan: BlockPlan, target: Target) -> BlockKernel:
    from depthwise.kernel.block_kernel import BlockKernel, ChainKernel, GatedKernel, GateKernel

    if len(plan.parts) != len(spec.parts):
        raise PlanError(f"the plan has a part for each of the block's; got {plan}: {spec}")
    if reason := fusion.rejects(spec, plan.fused):
        raise PlanError(f"{plan} does not take this problem: {reason}: {spec}")

    def compiled(stage: int, program: Callable[[], Program]) -> tuple[Code, Callable[[], Program]]:
        return _code(spec, plan, target, program, stage), functools.cache(program)

    stages = fusion.stages(spec, plan, target)
    kernels = tuple(
        ChainKernel(stage, *compiled(index, partial(_chain_program, stage)))
        if isinstance(stage, Chain)
        else _compile_conv(*stage, target)
        for index, stage in enumerate(stages)
    )
    if spec.squeeze_excite is None:
        return BlockKernel(spec, plan, target, kernels)
    gate = Gate.of(spec, target)
    made = compiled(len(kernels), partial(_gate_program, gate))
    return GatedKernel(spec, plan, target, kernels, GateKernel(gate, *made))


def _chain_program(chain: Chain) -> Program:
    """Define each part, schedule the depthwise one, and write the loop over strips."""
    from depthwise.programs import build, define, strips

    definitions = {
        name: define.define(part, form)
        for name, part, form in zip(chain.names, chain.inner, chain.forms, strict=True)
    }
    conv = chain.depthwise
    form = chain.forms[chain.inner.index(conv)]
    transformed = chain.rule.scheduled(
        definitions["depthwise"], conv, chain.depthwise_plan, chain.target
    )
    depthwise = define.join_segments(transformed, conv, form.segments)
    return build.Program(definitions, strips.functions(chain, depthwise), chain.target)


def _gate_program(gate: Gate) -> Program:
    from depthwise.programs import build, define

    definitions = {
        name: define.define(part, form)
        for name, part, form in zip(
            ("reduce", "expand"), (gate.reduce, gate.expand), gate.forms, strict=True
        )
    }
    return build.Program(definitions, gate.functions(), gate.target)
