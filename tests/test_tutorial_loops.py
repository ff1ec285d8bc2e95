"""The boxes are the loops of the program, in its order and with its kinds."""

from __future__ import annotations

import pytest

import depthwise as dw
from depthwise.tutorial.loops import Loop, Step, boxes, nest

PROGRAM = """
@T.prim_func
def main(X: T.Buffer((4, 8), "float32"), Y: T.Buffer((4, 8), "float32")):
    P = T.sblock_alloc_buffer((6, 8))
    for h, w in T.grid(6, 8):
        P[h, w] = T.if_then_else(1 <= h and h < 5, X[h - 1, w], T.float32(0.0))
    for i in T.parallel(4):
        for j in range(2):
            for lane in T.vectorized(4):
                Y[i, j * 4 + lane] = T.float32(0.0)
            for tap in T.unroll(3):
                if tap + i < 5:
                    Y[i, j * 4] = Y[i, j * 4] + P[i + tap, j * 4] * P[0, tap]
                else:
                    Y[i, j * 4] = T.float32(2.0)
"""


def test_loops_are_nested_as_they_are_in_the_program():
    padding, rows = nest(PROGRAM)
    assert padding == Loop("for", "h", "6", (Loop("for", "w", "8", (Step("P = X or 0"),)),))
    zeros = Loop("vectorized", "lane", "4", (Step("Y = 0"),))
    conditions = (
        Loop("if", "tap + i < 5", "", (Step("Y += P"),)),
        Loop("if", "not so", "", (Step("Y = 2"),)),
    )
    taps = Loop("unroll", "tap", "3", conditions)
    assert rows == Loop("parallel", "i", "4", (Loop("for", "j", "2", (zeros, taps)),))


def test_blocks_of_a_schedule_stand_for_what_they_store():
    block = """
@T.prim_func
def main(X: T.Buffer((4,), "float32"), Y: T.Buffer((1,), "float32")):
    for k in T.serial(1, 4, annotations={"hint": 1}):
        with T.sblock("Y"):
            v = T.axis.reduce(4, k)
            T.reads(X[v])
            with T.init():
                Y[0] = T.float32(0.0)
            Y[0] = Y[0] + X[v]
"""
    assert nest(block) == (Loop("for", "k", "3", (Step("Y = 0"), Step("Y += X"))),)


def test_a_long_condition_is_cut_and_bounds_that_vary_are_kept():
    (loop,) = nest(
        "def f():\n for i in range(a, b + 1):\n  if " + "x < 3 and " * 9 + "y:\n   Y[i] = 1"
    )
    assert loop.extent == "b + 1 - a"
    (cut,) = loop.body
    assert cut.name.endswith("…")
    assert len(cut.name) < 40


@pytest.mark.parametrize("stage", ["definition", "schedule"])
def test_programs_of_the_package_are_read_and_drawn(stage):
    text = dw.compile("depthwise c9 hw6 k3 p1 nhwc", "channels_last tc8 tw2").show(stage)
    found = nest(text)
    assert len(found) == (3 if stage == "definition" else 2)
    drawing = boxes({"here": text})
    figure_words = {each.get_text() for each in drawing.figure.axes[0].texts}
    assert {str(node) for node in found} <= figure_words
    assert str(found[0]) in drawing.text
    assert "here: " in drawing.text
