"""Every plan of every schedule computes exactly what the equations say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import depthwise as dw
from depthwise import schedule
from depthwise.errors import PlanError
from depthwise.machine.target import Target, host
from depthwise.schedule.convolutions import RULES
from exact import exact_problem, poisoned
from strategies import conv_specs

# One line for each way in which a size meets a tile, a vector or the border.
PROBLEMS = [
    "depthwise c1 hw1 k1",
    "depthwise c1 h3 w5 k3 p1",
    "depthwise c7 h3 w5 k3 p1 n2 nhwc",
    "depthwise c9 h2 w4 k3 p1,0 nhwc bias relu",
    "depthwise c17 h2 w3 k1 nhwc float64",
    "depthwise c15 h5 w6 k3 s2 p1 nhwc",
    "depthwise c8 hw2 k5 p3 nhwc",
    "depthwise c16 h5 w6 k2x3 s1x2 d2x1 p0,1,2,0 nhwc",
    "depthwise c3 h3 w4 k3 p1 m2 nhwc",
    "depthwise c16 h3 w9 k3 s2x1 p1 m3 nhwc bias relu",
    "depthwise c512 h4 w9 k3 p1 nhwc",
    "depthwise c16 h9 w3 k9 p4 nhwc",
    "depthwise1d c64 l9 k4 causal nlc",
    "depthwise c2 h3 w9 k3 p0,1 n2",
    "depthwise c1 h3 w16 k3 p1 bias relu",
    "depthwise c2 h5 w8 k3 p1 float64 m2",
    "depthwise c2 hw2 k5 p3",
    "depthwise c2 h5 w7 k2x3 s1x2 d2x1 p0,1,2,0",
    "depthwise c2 hw1 k1 p17,20,0,0",
    "depthwise c2 h4 w3 k3 p1 reflect",
    "depthwise c5 h4 w3 k3 p1 replicate nhwc",
    "depthwise c2 h4 w3 k3 p1 circular",
    "depthwise1d c2 l5 k3 p2,0",
    "depthwise1d c9 l5 k3 p2,0 nlc",
    "pointwise c9 o5 h2 w3 bias residual nhwc",
    "pointwise c3 o7 h2 w3",
    "conv c4 o6 hw4 k3 g2 s2 p1 relu",
    "conv c3 o5 hw4 k3 p1 nhwc",
    "conv c1 o1 hw1 k1 nhwc",
    "conv c2 o9 h9 w14 k2x3 s1x2 d2x1 p0,1,2,0 n3 nhwc bias relu",
    "conv c3 o17 h8 w12 k4 s4 n2 nhwc float64",
    "conv c3 o5 hw4 k3 p2 circular nhwc",
]


def compute(spec, plan):
    x, operands, expected = exact_problem(spec)
    got = dw.compile(spec, plan)(x, *operands, out=poisoned(spec), threads=2)
    return got, expected


@pytest.mark.parametrize("text", PROBLEMS)
def test_every_legal_plan_is_exact_and_touches_only_its_arrays(guarded, text):
    for plan in schedule.legal_plans(dw.parse(text), host()):
        guarded.check(text, plan, runs=2)


@pytest.mark.parametrize("channels", [1, 7, 8, 9, 15, 16, 17, 33])
@pytest.mark.parametrize("plan", ["packed tc16 tw4", "packed tc8 tw4 th2", "channels_last tc8 tw4"])
def test_channels_below_at_and_above_whole_blocks(plan, channels):
    layout = "nhwc" if plan.startswith("channels_last") else ""
    got, expected = compute(dw.parse(f"depthwise c{channels} h3 w5 k3 p1 {layout}"), plan)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("width", range(1, 18))
def test_widths_below_at_and_above_whole_tiles(width):
    for layout in ("", "nhwc"):
        got, expected = compute(dw.parse(f"depthwise c2 h2 w{width} k1x3 p0,1 {layout}"), None)
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("text", ["depthwise c8 h9 w8 k3 p1", "depthwise c1 hw4 k1"])
def test_a_block_of_one_channel_and_one_column_is_not_taken_for_the_loops_around_it(text):
    got, expected = compute(dw.parse(text), "packed")
    np.testing.assert_array_equal(got, expected)


@settings(max_examples=15)
@given(
    conv_specs(kinds=("depthwise",)),
    st.sampled_from(RULES),
    st.tuples(*[st.integers(1, 20)] * 3),
)
def test_no_tile_makes_a_result_wrong(spec, rule, tiles):
    if rule.rejects(spec, host()) is None:
        given = zip(("tc", "tw", "th"), tiles, strict=True)
        plan = dw.Plan(rule.name, **{name: tile for name, tile in given if name in rule.tiles})
        x, *operands, out = dw.random_problem(spec)
        expected = dw.compile(spec, "default")(x, *operands)
        got = dw.compile(spec, plan)(x, *operands, out=out)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@given(conv_specs())
def test_each_rule_takes_a_problem_with_a_legal_plan_or_gives_a_reason(spec):
    reasons = dw.explain(spec)
    assert list(reasons) == [rule.name for rule in RULES]
    for rule in RULES:
        reason = reasons[rule.name]
        if reason is None:
            assert rule.default_plan(spec, host(), 1).schedule == rule.name
            assert {plan.schedule for plan in rule.plans(spec, host())} == {rule.name}
        else:
            assert reason
            with pytest.raises(PlanError) as refused:
                dw.compile(spec, rule.name)
            assert reason in str(refused.value)
            assert str(spec) in str(refused.value)


@given(conv_specs(), st.sampled_from(["sse", "avx2", "avx512", "neon"]))
def test_the_first_rule_that_takes_a_problem_is_its_default_on_every_machine(spec, isa):
    target = Target("any", isa)
    taken = [name for name, why in schedule.explain(spec, target, 1).items() if why is None]
    assert schedule.default_plan(spec, target).schedule == taken[0]


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("depthwise c32 hw8 k3 p1 nhwc", "channels_last"),
        ("depthwise c32 hw16 k3 p1", "channels_first"),
        ("depthwise c32 hw9 k3 p1", "channels_first"),
        ("depthwise c32 hw9 k3 p1 m2", "channels_first"),
        ("depthwise c32 hw9 k3 p1 m2 nhwc", "multiples"),
        ("depthwise c1 hw9 k3 p1 m32 nhwc", "multiples"),
        ("depthwise c1 hw9 k3 p1 m33 nhwc", "general"),
        ("depthwise1d c32 l9 k3", "channels_first"),
        ("pointwise c8 o8 hw4", "pointwise"),
        ("conv c8 o8 hw4 k3 nhwc", "dense"),
        ("conv c8 o8 hw4 k3 g2 nhwc", "general"),
        ("conv c8 o8 hw4 k3", "dense_planes"),
        ("conv c8 o8 hw4 k3 g4", "dense_planes"),
        ("conv c8 o8 hw4 k3 g8", "general"),
    ],
)
def test_the_choice(text, taken):
    assert dw.compile(text).plan.schedule == taken


def test_a_plan_of_no_schedule_is_refused_with_the_names_there_are():
    with pytest.raises(PlanError, match=r"one of channels_first, .*default; got 'woven'"):
        dw.compile("depthwise c4 hw4 k3", "woven tc4")


def test_a_block_has_a_plan_of_its_own_kind():
    with pytest.raises(PlanError, match="a schedule of this problem is one of"):
        dw.compile("separable c4 o4 hw4 k3", "packed tc4")
    with pytest.raises(PlanError, match="a schedule of this problem is one of"):
        dw.compile("depthwise c4 hw4 k3", "depthwise+project rows1 | default | default")
    with pytest.raises(PlanError, match="the block has the parts depthwise, project"):
        dw.compile(
            "separable c4 o4 hw4 k3", "expand+depthwise+project rows1 | default | default | default"
        )
