"""What plans of blocks are expected to cost, and what their kernels do for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import depthwise as dw
from depthwise import compiler
from depthwise.machine import team
from depthwise.machine.target import host
from depthwise.schedule import fusion
from depthwise.schedule.chain import Chain
from depthwise.schedule.estimate import estimate
from depthwise.schedule.groups import groups
from exact import exact_problem, poisoned
from strategies import wide_block_specs

HALF_A_MEGABYTE = replace(host(), private_cache_bytes=2**19)
EQUAL_ENDS = dw.BlockSpec.inverted(
    1, 1, (2, 1), 3, expanded=1, dilation=2, padding=((0, 4), (0, 4)), layout="NCHW"
)
"""A block whose expansion and projection are the same convolution."""


def chain_of(text, fused, rows, cpu=None):
    spec, cpu = dw.parse(text) if isinstance(text, str) else text, cpu or host()
    plan = fusion.plan_of_rows(spec, fused, rows, cpu)
    return next(group for group in groups(spec, plan, cpu) if isinstance(group, Chain))


def test_a_thread_pays_for_the_rows_that_it_expands_for_its_neighbour():
    spec = dw.parse("inverted c16 e96 o16 hw14 k3 p1 nhwc")
    plan = fusion.plan_of_rows(spec, (3,), 7, host())
    one, two = (estimate(spec, plan, host(), threads) for threads in (1, 2))
    row = 2 * 14 * 16 * 96
    assert two.flops - one.flops == 2 * row  # either thread expands eight of the fourteen rows
    assert one.cycles / 2 < two.cycles < one.cycles


def test_strips_that_cannot_be_halved_cost_as_much_as_the_larger_share():
    spec = dw.parse("inverted c160 e960 o160 hw7 k3 p1 nhwc")
    apart, fused = (
        [
            estimate(spec, fusion.plan_of_rows(spec, way, rows, host()), host(), threads)
            for threads in (1, 2)
        ]
        for way, rows in (((1, 1, 1), 1), ((3,), 4))
    )
    assert fused[1].cycles / fused[0].cycles > 4 / 7
    assert apart[1].cycles / apart[0].cycles < 4 / 7


@example(EQUAL_ENDS, 1, 2)
@given(wide_block_specs(size=20, kernel=5), st.integers(1, 8), st.integers(1, 5))
def test_threads_share_all_rows_and_expand_some_twice(spec, rows, threads):
    fused = (len(spec.parts),)
    chain = chain_of(spec, fused, rows)
    shares = [run for runs in team.shares(chain.tasks, threads) for run in runs]

    def pixels(place):
        runs = [run for tasks in shares for run in chain.runs(place, tasks)]
        return sum(count * times for count, times in runs)

    conv = spec.depthwise
    assert pixels(len(chain.parts) - 1) == conv.batch * conv.out_height * conv.out_width
    if chain.expand is not None:
        once = [chain.runs(0)] * conv.batch
        assert pixels(0) >= sum(n * times for runs in once for n, times in runs)


@pytest.mark.parametrize(
    ("text", "fused", "fetches"),
    [
        ("separable c144 o24 hw56 k3 p1 nhwc", (2,), True),
        ("separable c144 o24 hw56 k3 p1", (2,), True),
        ("separable c144 o24 hw14 k3 p1 nhwc", (2,), False),
        ("separable n8 c144 o24 hw14 k3 p1 nhwc", (2,), True),
        ("inverted c144 e288 o24 hw56 k3 p1 nhwc", (3,), False),
        ("inverted c24 e144 o24 hw56 k3 p1 nhwc", (1, 2), True),
        ("separable c3 o8 hw500 k3 p1", (2,), False),  # no three steps of k for a row of a plane
    ],
)
def test_input_from_beyond_a_cores_caches_is_fetched_ahead(text, fused, fetches):
    assert (chain_of(text, fused, 2, HALF_A_MEGABYTE).ahead is not None) == fetches


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_what_is_fetched_ahead_is_the_next_strip(layout):
    text = f"separable c144 o24 hw56 k3 s2 p1 {layout}"
    ahead = chain_of(text, (2,), 2, HALF_A_MEGABYTE).ahead
    nbytes = 4 * 56 * 144 * 4
    if layout == "nhwc":
        assert (ahead.runs * ahead.lines * 64, ahead.stride) == (nbytes, 16)
    else:
        assert (ahead.runs, ahead.stride) == (144, 56 * 56)
        assert nbytes / 144 <= ahead.lines * 64 < nbytes / 144 + 2 * 64


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize(
    "text",
    [
        "separable c8 o16 hw1 k1",
        "separable c16 o40 h14 w13 k3 s2 p1 n3 nhwc bias relu6/relu6",
        "separable c24 o9 h23 w6 k5x3 s1x2 p2,1 residual relu/none",
        "separable c17 o33 h9 w12 k7 p3 float64 nhwc dbias",
        "separable c11 o16 h12 w10 k3 d3 p3 m2 n2 pbias",
        "separable c7 o8 h16 w9 k4x2 s3 p2,1,0,1 m3 relu/relu",
        "separable c9 o15 h12 w5 k3 p2 circular n2",
        "separable c64 o3 h30 w40 k3 s2 p1 n2 nhwc",
        "separable c64 o3 h30 w40 k3 s2 p1 n2",
    ],
)
def test_fetching_ahead_changes_nothing(text, rows):
    spec, cpu = dw.parse(text), replace(host(), private_cache_bytes=0)
    kernel = compiler._compiled(spec, fusion.plan_of_rows(spec, (2,), rows, cpu), cpu)
    x, operands, expected = exact_problem(spec)
    out = poisoned(spec)
    (launch,) = kernel.launches(x, kernel.pack(operands), [], out)
    launch.run(2)
    np.testing.assert_array_equal(out, expected)
