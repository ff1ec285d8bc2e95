"""A launch as the tutorial watches and draws it."""

from __future__ import annotations

import numpy as np
import pytest

import depthwise as dw
from depthwise.machine import target
from depthwise.schedule import fusion
from depthwise.tutorial import turns
from depthwise.tutorial.turns import Turn

CONVOLUTION = dw.parse("depthwise c8 hw32 k3 p1 nhwc")
BLOCK = dw.parse("separable c8 o8 hw32 k3 p1")


@pytest.fixture(scope="module", params=[CONVOLUTION, BLOCK], ids=str)
def launched(request):
    spec = request.param
    plan = fusion.plan_of_rows(spec, (2,), 2, target.host()) if spec is BLOCK else None
    kernel = dw.compile(spec, plan)
    x, *operands, y = dw.random_problem(spec)
    (launch,) = kernel.launches(x, kernel.pack(operands), [], y)
    return launch, y, kernel(x, *operands)


@pytest.mark.parametrize("threads", [1, 2])
def test_every_task_is_seen_once_and_computed(launched, threads):
    launch, y, expected = launched
    y.fill(np.nan)
    seen = turns.watch(launch, threads, handicap=2)
    tasks = launch.code.tasks
    assert sorted(task for turn in seen for task in turn.tasks) == list(range(tasks))
    assert {turn.thread for turn in seen} == {turn.owner for turn in seen} == set(range(threads))
    assert all(0 <= turn.begin <= turn.end for turn in seen)
    np.testing.assert_array_equal(y, expected)


def test_what_each_thread_did_is_drawn_and_told():
    seen = [
        Turn(1, 1, range(8, 14), 0, 30),
        Turn(1, 0, range(6, 7), 30, 36),
        Turn(0, 0, range(6), 0, 60),
        Turn(1, 1, range(14, 16), 36, 46),
        Turn(0, 0, range(7, 8), 60, 70),
    ]
    assert seen[0].us_per_task == 5
    drawing = turns.timeline(seen)
    assert drawing.text == (
        "Tasks of a launch over time: thread 0 computed 7 tasks, 0 of them from the share of "
        "another, and was done after 70 microseconds; thread 1 computed 9 tasks, 1 of them from "
        "the share of another, and was done after 46 microseconds."
    )
    (axes,) = drawing.figure.axes
    assert len(axes.patches) == len(seen)
    assert "8 to 13" in [text.get_text() for text in axes.texts]
