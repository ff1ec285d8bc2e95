"""The plans of a block: which are legal, and how a search goes from one to the next."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings

import depthwise as dw
from depthwise import BlockPlan, Plan
from depthwise.errors import PlanError
from depthwise.machine.target import host
from depthwise.schedule import channels_last, fusion, pointwise
from depthwise.schedule.chain import inner
from depthwise.tuning import search as plan_search
from depthwise.tuning.block_space import BlockSpace
from recorded import Recorded
from strategies import block_specs

SPEC = dw.parse("inverted c24 e144 o24 hw28 k3 p1 nhwc")
SPACE = BlockSpace(SPEC, host())
DEFAULT = SPACE.default


def respects(one, other):
    """Return in how many respects two plans differ."""
    plans = (one.fused, one.rows, *one.parts), (other.fused, other.rows, *other.parts)
    return sum(a != b for a, b in zip(*plans, strict=True))


class Ideal(Recorded):
    """Each respect in which a plan differs from an ideal one costs a microsecond."""

    def __init__(self, ideal):
        super().__init__({})
        self._ideal = ideal

    def sample(self, plan, repeats, *_):
        return [10.0 + respects(plan, self._ideal)] * repeats


@pytest.fixture(autouse=True)
def empty_database(database):
    return database


def search(laboratory, spec=SPEC, **options):
    arguments = {"seconds": 10.0, "step": str, "clock": lambda: 0.0} | options
    return plan_search.search(spec, host(), 1, laboratory, **arguments)


def an_ideal_plan():
    """Return a plan that differs from the default in rows, in what is fused and in every tile."""
    fused = next(fused for fused in ((3,), (1, 2)) if fused != DEFAULT.fused)
    rows = next(rows for rows in (1, 4) if rows != DEFAULT.rows)
    tiles = (
        list(rule.plans(inner(part), host()))[-1]
        for rule, part in zip((pointwise, channels_last, pointwise), SPEC.parts, strict=True)
    )
    return BlockPlan(fused, rows, tuple(tiles))


def test_the_search_finds_what_differs_from_the_default_in_every_respect():
    ideal = an_ideal_plan()
    assert respects(ideal, DEFAULT) == 5
    laboratory = Ideal(ideal)
    found = search(laboratory)
    assert (found.plan, found.us, found.complete) == (ideal, 10.0, True)
    assert laboratory.prepared[0] == found.default == DEFAULT
    assert len(set(laboratory.prepared)) == len(laboratory.prepared)
    assert all(plan in SPACE for plan in laboratory.prepared)


def test_where_nothing_is_faster_each_respect_is_tried_once():
    laboratory = Recorded({DEFAULT: 50.0})
    found = search(laboratory)
    first, *others = laboratory.prepared
    assert (found.plan, first, found.complete) == (DEFAULT, DEFAULT, True)
    kernels = [plan for plan in others if plan.fused != DEFAULT.fused]
    assert {plan.fused for plan in others} == {(3,), (1, 2), (2, 1), (1, 1, 1)}
    assert len(kernels) == 3
    rows = [plan for plan in others if plan.fused == DEFAULT.fused and plan.rows != DEFAULT.rows]
    distances = [abs(math.log2(plan.rows / DEFAULT.rows)) for plan in rows]
    assert distances == sorted(distances)
    assert {plan.rows for plan in rows} >= {1, 4, 7} - {DEFAULT.rows}
    tiles = [plan for plan in others if plan not in rows and plan not in kernels]
    assert all(respects(plan, DEFAULT) == 1 for plan in tiles)
    changed = [
        next(part for part in range(3) if plan.parts[part] != DEFAULT.parts[part]) for plan in tiles
    ]
    assert list(dict.fromkeys(changed)) == [1, 0, 2]


def test_a_search_that_ended_goes_on_from_there_and_a_complete_one_tries_nothing_again():
    ideal = an_ideal_plan()
    one, two, three = Ideal(ideal), Ideal(ideal), Ideal(ideal)
    first = search(one, clock=lambda: float(len(one.prepared)))
    assert not first.complete
    assert first.tried == len(one.prepared) < 10
    second = search(two)
    assert (second.plan, second.complete) == (ideal, True)
    assert not set(one.prepared) & set(two.prepared)
    assert search(three).plan == ideal
    assert three.prepared == []


def test_a_default_that_fails_is_where_the_search_begins_all_the_same():
    ideal = an_ideal_plan()
    laboratory = Ideal(ideal)
    laboratory._times = {DEFAULT: "wrong"}
    assert search(laboratory).plan == ideal


def test_a_way_of_fusing_that_the_block_refuses_is_not_tried():
    spec = dw.parse("inverted c8 e16 o8 hw12 k3 p1 se4 nhwc")
    search(laboratory := Recorded({}), spec)
    assert {plan.fused for plan in laboratory.prepared} == {(2, 1), (1, 1, 1)}


@pytest.mark.parametrize(
    "plan",
    [Plan("channels_last"), "default", None, replace(DEFAULT, rows=1000),
     BlockPlan((2,), DEFAULT.rows, DEFAULT.parts[1:]),
     replace(DEFAULT, parts=(Plan("general"), *DEFAULT.parts[1:])),
     replace(DEFAULT, parts=(DEFAULT.parts[0], Plan("packed", tc=8), DEFAULT.parts[2])),
     replace(DEFAULT, parts=(*DEFAULT.parts[:2], Plan("pointwise", tc=7, tw=2)))],
    ids=str,
)  # fmt: skip
def test_a_plan_that_is_not_legal_is_not_one_of_them(plan):
    assert plan not in SPACE


@settings(max_examples=15)
@given(block_specs())
def test_every_block_has_its_default_and_its_strips_among_its_plans(spec):
    ways = (way for way in fusion.ways_of(spec) if not way.rejects(spec, host()))
    possible = {way.fused for way in ways}
    assume(possible)
    space = BlockSpace(spec, host())
    strips = space.strips()
    assert space.default in space
    assert space.default in strips
    assert all(plan in space for plan in strips)
    assert {plan.fused for plan in strips} == possible


def test_a_refused_way_says_why_when_it_is_asked_for():
    plan = replace(DEFAULT, fused=(3,))
    with pytest.raises(PlanError, match="the gate between depthwise and project needs the mean"):
        dw.compile("inverted c24 e144 o24 hw28 k3 p1 nhwc se6", plan)
