"""Plans as data: the line of text, the literal, and what is no plan."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthwise import Plan
from depthwise.errors import PlanError

TILES = st.integers(1, 64)


@given(st.builds(Plan, st.sampled_from(["packed", "channels_last"]), TILES, TILES, TILES))
def test_a_plan_reads_back_from_its_line_and_its_literal(plan):
    assert Plan.parse(str(plan)) == plan
    assert eval(repr(plan), {"Plan": Plan}) == plan


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
