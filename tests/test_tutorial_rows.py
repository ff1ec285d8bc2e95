"""The rows of a block as the tutorial draws them."""

from __future__ import annotations

import pytest

import depthwise as dw
from depthwise.machine import target
from depthwise.schedule import fusion
from depthwise.schedule.groups import groups
from depthwise.tutorial import rows

INVERTED = "inverted c8 e16 o8 hw12 k3 p1 nhwc"
SEPARABLE = "separable c8 o16 hw12 k5 s2 p2 nhwc"


def chain(text, height):
    spec = dw.parse(text)
    plan = fusion.plan_of_rows(spec, (len(spec.parts),), height, target.host())
    (found,) = groups(spec, plan, target.host())
    return found


def letters(drawing):
    return [text.get_text() for axes in drawing.figure.axes for text in axes.texts]


@pytest.mark.parametrize("text", [INVERTED, SEPARABLE, "separable c8 o16 hw11 k3 d2 p2"])
@pytest.mark.parametrize("height", [1, 2, 5])
def test_strips_make_every_row_and_read_each_anew_once(text, height):
    block = chain(text, height)
    found = rows.strips(block)
    assert [row for strip in found for row in strip.outputs] == [*range(block.depthwise.out_height)]
    new = [row for strip in found for row in strip.new]
    assert new == sorted(set(new))
    assert set(new) == {row for strip in found for row in strip.reads}


def test_the_ring_holds_what_a_strip_reads():
    block = chain(INVERTED, 2)
    for number, strip in enumerate(rows.strips(block)):
        held = rows.ring(block, number)
        assert set(strip.reads) <= set(held)
        assert all(row is None or row % len(held) == slot for slot, row in enumerate(held))


def test_a_strip_of_an_inverted_residual_as_a_picture():
    drawing = rows.strip_at_work(chain(INVERTED, 2), 2)
    assert drawing.text == (
        "Strip 2. Of the input, rows 5 to 6 are expanded into the ring, where rows 3 to 4 lie "
        "already; rows 4 to 5 of the depthwise convolution go to the strip, and from there to the "
        "output."
    )
    shown = letters(drawing)
    assert {"ring\n16 channels", "expand", "depthwise", "project"} <= set(shown)
    assert shown.count("row 5") == 4  # the input, the ring, the strip, the output
    assert shown.count("row 3") == 3  # the input and the output beside the strip, the ring


def test_a_block_without_expansion_has_no_ring():
    drawing = rows.strip_at_work(chain(SEPARABLE, 2), 1)
    assert "reads rows 2 to 8 of the input" in drawing.text
    assert not any("ring" in label for label in letters(drawing))


def test_planes_are_transposed_into_the_ring():
    drawing = rows.strip_at_work(chain("separable c8 o16 hw12 k3 p1", 3), 1)
    assert "transposed into the ring" in drawing.text


def test_the_ring_over_time():
    drawing = rows.ring_over_time(chain(INVERTED, 2), 3)
    assert drawing.text == (
        "The 4 slots of the ring, strip after strip: strip 0 expands rows 0 to 2 and finds no row "
        "there; strip 1 expands rows 3 to 4 and finds rows 1 to 2 there; strip 2 expands rows 5 to "
        "6 and finds rows 3 to 4 there."
    )
    assert letters(drawing) == [
        *("row 0", "row 1", "row 2", ""),
        *("row 4", "row 1", "row 2", "row 3"),
        *("row 4", "row 5", "row 6", "row 3"),
    ]
