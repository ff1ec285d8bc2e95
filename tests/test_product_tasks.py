"""Into which tasks matrix products are cut, so that threads share them evenly."""

from __future__ import annotations

import pytest

import depthwise as dw
import steps
from cpus import CPUS
from depthwise.schedule import dense, pointwise

PRODUCTS = [
    "pointwise c48 o20 hw14 nhwc bias relu",
    "pointwise n2 c30 o80 hw7 nhwc bias residual",
    "pointwise c72 o56 hw14 nhwc",
    "conv c6 o40 hw8 k3 p1 nhwc bias",
    "conv c16 o56 hw14 k3 s2 p1 nhwc",
]


def cut(spec, cpu):
    rule = pointwise if spec.kind == "pointwise" else dense
    plan = rule.default_plan(spec, cpu, 1)
    panels = (pointwise.panels_of if rule is pointwise else dense.panels)(spec, plan, cpu)
    return rule.tasks(spec, plan, cpu), sum(panel.count for panel in panels)


@pytest.mark.parametrize("cpu", CPUS, ids=lambda cpu: cpu.cpu)
@pytest.mark.parametrize(
    "line",
    [
        "pointwise c384 o96 hw14 nhwc bias",
        "pointwise c672 o56 hw14 nhwc bias",
        "conv c48 o96 hw28 k3 s2 p1 nhwc bias",
    ],
)
def test_more_pixels_than_weights_are_shared_by_pixels(cpu, line):
    (runs, shares), _ = cut(dw.parse(line), cpu)
    assert runs >= 4
    assert runs * shares >= 8


@pytest.mark.parametrize("cpu", CPUS, ids=lambda cpu: cpu.cpu)
def test_more_weights_than_pixels_are_shared_by_panels_of_any_width(cpu):
    (runs, shares), panels = cut(dw.parse("pointwise c960 o80 hw7 nhwc bias"), cpu)
    assert (runs, shares) == (1, panels)
    assert panels > 1


@pytest.mark.parametrize("line", PRODUCTS)
def test_neither_threads_nor_the_order_of_tasks_change_a_bit(line):
    steps.check_order(dw.parse(line))


@pytest.mark.parametrize("line", PRODUCTS)
def test_each_share_of_the_tasks_touches_only_its_arrays(guarded, line):
    for runs in (1, 2, 3):
        guarded.check(line, runs=runs)
