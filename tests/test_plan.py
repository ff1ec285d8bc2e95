"""Plans as data: the line of text, the literal, and what is no plan."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthwise import BlockPlan, Plan
from depthwise.errors import PlanError
from depthwise.schedule.plan import parse_plan

TILES = st.integers(1, 64)
PLANS = st.builds(Plan, st.sampled_from(["packed", "channels_last"]), TILES, TILES, TILES)
FUSED = st.sampled_from([(3,), (1, 2), (2, 1), (1, 1, 1), (2,), (1, 1)])


@st.composite
def block_plans(draw):
    fused = draw(FUSED)
    parts = draw(st.tuples(*[PLANS] * sum(fused)))
    return BlockPlan(fused, draw(st.integers(1, 10**9 - 1)), parts)


@given(PLANS)
def test_a_plan_reads_back_from_its_line_and_its_literal(plan):
    assert Plan.parse(str(plan)) == parse_plan(str(plan)) == plan
    assert eval(repr(plan), {"Plan": Plan}) == plan


@given(block_plans())
def test_a_plan_of_a_block_reads_back_from_its_line_and_its_literal(plan):
    assert BlockPlan.parse(str(plan)) == parse_plan(str(plan)) == plan
    assert eval(repr(plan), {"BlockPlan": BlockPlan, "Plan": Plan}) == plan


def test_the_line_of_a_block_names_what_is_computed_in_one_kernel():
    parts = Plan("pointwise", tc=16), Plan("channels_last", tc=8), Plan("pointwise", tw=2)
    plan = BlockPlan((1, 2), 4, parts)
    line = "expand depthwise+project rows4 | pointwise tc16 | channels_last tc8 | pointwise tw2"
    assert str(plan) == line
    assert plan.groups == [(0, 1), (1, 3)]
    assert str(BlockPlan((1, 1), 1, parts[1:])).startswith("depthwise project rows1 | channels_")


def test_tiles_of_one_are_left_out_of_the_line():
    assert str(Plan("packed", tc=16, tw=4)) == "packed tc16 tw4"
    assert str(Plan("default")) == "default"


@pytest.mark.parametrize(
    "line",
    ["", "packed 16", "packed tc", "packed tcx", "packed zz3", "a-b", "packed tc16,tw4",
     "packed tc16 tc8", 3, None, ["packed"]],
)  # fmt: skip
def test_a_line_that_is_no_plan_is_refused(line):
    with pytest.raises(PlanError, match="a plan is a schedule's name and tiles"):
        Plan.parse(line)


@pytest.mark.parametrize("tile", [0, -1, 65, 1.5, True, "4", None, 2**40])
def test_a_tile_is_a_whole_number_that_can_be_unrolled(tile):
    with pytest.raises(PlanError, match="tc is a whole number from 1 to 64"):
        Plan("packed", tc=tile)


@pytest.mark.parametrize(
    "line",
    ["", "|", "rows4 | packed", "depthwise+project | packed | packed", "depthwise rows4 | packed",
     "project+depthwise rows4 | packed | packed", "expand+depthwise rows4 | packed | packed",
     "depthwise+project rows | packed | packed", "depthwise+project rows4 | packed",
     "depthwise+project rows4 | packed | packed | packed", 3, None],
)  # fmt: skip
def test_a_line_that_is_no_plan_of_a_block_is_refused(line):
    with pytest.raises(PlanError, match="a block's plan is its groups, the rows of a strip"):
        BlockPlan.parse(line)


def test_a_plan_of_a_block_whose_part_is_no_plan_is_refused():
    with pytest.raises(PlanError, match="a plan is a schedule's name and tiles"):
        parse_plan("depthwise+project rows4 | packed 16 | pointwise")


@pytest.mark.parametrize(
    ("fused", "parts"), [((1,), 1), ((2,), 3), ((1, 1), 3), ((4,), 4), ((), 0)]
)
def test_each_part_of_a_block_is_in_one_kernel(fused, parts):
    with pytest.raises(PlanError, match="two or three parts, each in one group"):
        BlockPlan(fused, 4, (Plan("default"),) * parts)


@pytest.mark.parametrize("fused", [2, None, "2", (1, 1.0), (2, 0), (3, -1), ([2],)])
def test_groups_of_parts_are_whole_numbers_of_them(fused):
    with pytest.raises(PlanError, match="two or three parts, each in one group"):
        BlockPlan(fused, 4, (Plan("default"),) * 2)


@pytest.mark.parametrize("parts", [None, 2, "ab", ("default", "default"), [Plan("default")] * 2])
def test_the_parts_of_a_block_are_plans(parts):
    with pytest.raises(PlanError, match="a tuple of plans"):
        BlockPlan((2,), 4, parts)


@pytest.mark.parametrize("rows", [0, -1, 1.5, True, "4", None])
def test_a_strip_has_a_whole_number_of_rows(rows):
    with pytest.raises(PlanError, match="rows are a whole number from 1 on"):
        BlockPlan((2,), rows, (Plan("default"), Plan("default")))
