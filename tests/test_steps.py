"""A kernel's steps as data: what each takes, in an order in which it is there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

import depthwise as dw
from depthwise import schedule
from depthwise.errors import PlanError, SpecError
from depthwise.machine.target import host, named
from depthwise.programs import writers
from depthwise.schedule import convolutions, fusion
from depthwise.schedule.steps import INPUT, OUTPUT
from strategies import specs

PROBLEMS = [
    "depthwise c8 hw6 k3 p1 bias",
    "pointwise c8 o4 hw6 nhwc bias residual",
    "conv c3 o8 hw6 k3 s2 nhwc",
    "separable c8 o4 hw6 k3 p1 bias",
    "inverted c4 e8 o4 hw6 k3 p1 bias relu residual",
    "inverted c4 e8 o4 hw6 k3 p1 nhwc bias relu residual se2",
    "input_gradient depthwise c8 hw6 k3",
    "input_gradient depthwise1d c8 l6 k3",
    "weight_gradient depthwise c8 hw6 k3 bias",
    "mean c8 hw6 nhwc",
    "norm c8 hw6 nhwc eps1e-05",
    "groupnorm c8 hw6 g2 nhwc eps1e-05",
    "elementwise c8 hw6 nhwc mul.gate add.image gelu",
    "gather c8,4 hw6 nhwc b[0:4] a[2:4]",
    "attention c8 o12 hw6 keys7 heads2 nhwc bias",
    "causal c8 l6 k3 bias silu state2",
    "causal_gradient causal c8 l6 k3 bias silu state2",
    "qadd c8 hw6 nhwc uint8",
    "qmean c8 hw6 nhwc int8",
]


def plans(problem):
    """Return a plan of every rule that takes a problem."""
    ranking = schedule.ranking(problem, host(), 2)
    takes = [rule for rule, reason in ranking.items() if reason is None]
    return [rule.default_plan(problem, host(), 2) for rule in takes]


@pytest.mark.parametrize("text", PROBLEMS)
def test_each_step_takes_what_is_there_and_each_operand_is_taken_once(text):
    problem = dw.parse(text)
    for plan in plans(problem):
        steps = schedule.rule_of(plan, problem, host()).steps(problem, plan, host())
        there, operands = {INPUT, *problem.operands}, []
        for step in steps:
            there |= set(step.constants)
            written = [*step.buffers, *[OUTPUT] * (step is steps[-1])]
            assert set(step.arguments) - there == set(written), (plan, step)
            assert set(step.packings) <= set(step.arguments)
            operands += [name for name in step.arguments if name in problem.operands]
            there |= set(step.buffers)
        assert sorted(operands) == sorted(problem.operands), plan


@pytest.mark.parametrize("text", PROBLEMS)
def test_every_plan_has_only_tiles_that_its_rule_reads(text):
    problem = dw.parse(text)
    for plan in plans(problem):
        rule = schedule.rule_of(plan, problem, host())
        assert set(plan.tiles) <= set(rule.tiles)
        assert all(rule.tiles.values())
        assert schedule.is_legal(plan, problem, host())


def test_a_tile_that_a_schedule_does_not_read_is_refused():
    with pytest.raises(PlanError, match=r"general are tw; got tc, th in general tc4 .*: depthwise"):
        dw.compile("depthwise c8 hw6 k3", "general tc4 tw2 th2")
    with pytest.raises(
        PlanError, match="tiles of schedule default are none; got tw in default tw2"
    ):
        dw.compile("depthwise c8 hw6 k3", "default tw2")


@pytest.mark.parametrize("text", [PROBLEMS[0], PROBLEMS[4], PROBLEMS[5]])
def test_a_plan_for_another_cpu_does_not_depend_on_this_machine(text, monkeypatch):
    there = named("haswell" if "x86" in host().architecture else "neoverse-n1")

    def planned():
        for remembered in (fusion.ways, fusion.best, fusion.usual, schedule.default_plan):
            remembered.cache_clear()
        problem, plan = dw.parse(text), dw.compile(text, target=there.cpu).plan
        rule = schedule.rule_of(plan, problem, there)
        programs = writers.programs(problem, plan, there)
        code = [program.show("schedule") for program in programs]
        return plan, rule.steps(problem, plan, there), code

    before = planned()
    monkeypatch.setattr("depthwise.machine.team.size", lambda: 7)
    other = replace(host(), first_cache_bytes=1, private_cache_bytes=1, line_bytes=8)
    monkeypatch.setattr("depthwise.machine.target.host", lambda: other)
    assert planned() == before
    assert dw.explain(text, there.cpu) == dw.explain(text, there.cpu, threads=1)


def test_every_rule_has_a_writer_and_every_writer_a_rule():
    every = (*schedule.RULES.values(), convolutions.QUANTIZED_RULES)
    names = [rule.name for rules in every for rule in rules]
    assert sorted(writers.WRITERS) == sorted(names)


@given(specs())
def test_the_default_of_each_rule_is_among_its_plans(spec):
    for problem in spec.kernels:
        for rule, reason in schedule.ranking(problem, host(), 1).items():
            if reason is None:
                plan = rule.default_plan(problem, host(), 1)
                assert plan in rule.plans(problem, host())


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (dw.BlockPlan((1, 1), 1, (dw.Plan("nonsense"), dw.Plan("pointwise"))), "got 'nonsense'"),
        (dw.BlockPlan((2,), 1, (dw.Plan("nonsense"), dw.Plan("pointwise"))), "got 'nonsense'"),
        (dw.BlockPlan((2,), 1, (dw.Plan("general"), dw.Plan("pointwise"))), "channels_last"),
        (dw.BlockPlan((2,), 1, (dw.Plan("channels_last"), dw.Plan("pointwise", th=2))), "got th"),
        (dw.BlockPlan((1, 1), 1, (dw.Plan("dense"), dw.Plan("pointwise"))), "does not take"),
    ],
)
def test_a_plan_of_a_block_has_plans_that_its_parts_can_have(plan, why):
    with pytest.raises(PlanError, match=why):
        dw.compile("separable c8 o4 hw6 k3 nhwc", plan)
    assert not schedule.is_legal(plan, dw.parse("separable c8 o4 hw6 k3 nhwc"), host())


def test_a_schedule_is_one_word():
    with pytest.raises(PlanError, match="named by one word; got 'depthwise"):
        dw.Plan("depthwise+project")


@pytest.mark.parametrize("threads", [0, -3, 2.5, "2"])
def test_threads_to_plan_for_are_whole_and_at_least_one(threads):
    with pytest.raises(SpecError, match=r"threads (are at least 1|is a whole number); got"):
        dw.compile("depthwise c8 hw6 k3", threads=threads)


def test_programs_have_headings_where_they_are_of_parts():
    kernel = dw.compile("depthwise c8 hw6 k3 p1")
    assert kernel.show("definition") == kernel.programs()[0].show("definition")
    parts = dw.compile("separable c8 o4 hw6 k3", "depthwise project rows1 | default | default")
    headings = ["# depthwise c8 hw6 k3\n", "# pointwise c8 o4 hw4\n"]
    assert all(heading in parts.show("schedule") for heading in headings)
