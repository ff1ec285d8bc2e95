"""What is counted of a tile, by hand and in the machine code."""

from __future__ import annotations

import pytest

import depthwise as dw
from depthwise.machine.target import Target
from depthwise.tutorial.tiles import Tile, window, working_sets

AVX2 = Target("haswell", "avx2")


def tile(text, tw, th, tc=8):
    return Tile(dw.parse(text), dw.Plan("channels_last", tc=tc, tw=tw, th=th), AVX2)


def test_a_tile_is_counted_by_hand():
    found = tile("depthwise c384 hw14 k3 p1 nhwc", tw=4, th=2)
    assert found.window == (4, 6)
    assert (found.accumulators, found.fmas) == (8, 72)
    assert (found.input_loads, found.weight_loads, found.loads) == (24, 9, 33)
    assert found.fmas_per_load == 72 / 33
    assert found.reads[0, 0] == 1
    assert found.reads[1, 2] == 6
    assert sum(found.reads.values()) == 72


def test_wider_vectors_take_more_registers_and_no_fewer_fmas_a_load():
    one, two = (tile("depthwise c64 hw14 k3 p1 nhwc", 2, 2, tc) for tc in (8, 16))
    assert two.accumulators == 2 * one.accumulators
    assert two.fmas_per_load == one.fmas_per_load


@pytest.mark.parametrize(
    ("text", "read", "rows_and_columns"),
    [
        ("depthwise c8 hw14 k3 s2 p1 nhwc", 15, (3, 5)),
        ("depthwise c8 hw14 k3 d2 p2 nhwc", 18, (5, 6)),
        ("depthwise c8 hw14 k1 s3 nhwc", 2, (1, 4)),
    ],
)
def test_strides_and_dilations_leave_pixels_out(text, read, rows_and_columns):
    found = tile(text, tw=2, th=1)
    assert len(found.reads) == read
    assert found.window == rows_and_columns


def test_working_sets_grow_from_a_vector_to_the_whole_problem():
    found = tile("depthwise c384 hw14 k3 p1 nhwc", tw=4, th=2)
    sizes = list(found.working_sets.values())
    assert sizes == sorted(sizes)
    assert sizes[0] == (24 + 9 + 8) * 32
    assert sizes[1] == (24 + 9 + 8) * 384 * 4
    assert sizes[-1] == dw.cost(found.spec).bytes


def test_pictures_say_what_they_show():
    found = tile("depthwise c384 hw14 k3 p1 nhwc", tw=4, th=2)
    drawing = window(found)
    words = [each.get_text() for each in drawing.figure.axes[0].texts]
    numbers = sorted(word for word in words if word.isdigit())
    assert numbers == sorted(str(times) for times in found.reads.values())
    assert words.count("Σ") == 8
    assert "4 by 6 pixels" in drawing.text
    assert "72 FMAs with 33 vectors loaded" in drawing.text
    assert "a tile, all channels 61.5 KiB" in working_sets(found).text
