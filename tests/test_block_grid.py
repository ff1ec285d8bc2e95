"""Blocks and pointwise convolutions over a grid of every attribute, as kernels come by default."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import depthwise as dw
import steps
from cpus import RUNNABLE
from depthwise import compiler
from depthwise.machine import target
from depthwise.problem import reference
from depthwise.schedule import fusion
from exact import EXACT, check_exact, exact_problem, poisoned
from strategies import pointwise_specs, wide_block_specs


@settings(max_examples=18)
@given(wide_block_specs(activations=EXACT))
def test_blocks_of_whole_numbers_are_exact(spec):
    check_exact(spec)


def legal_plans(spec):
    """Return the plans that the default is chosen from, in every way of fusing."""
    host = target.host()
    ways = [way for way in fusion.ways_of(spec) if not way.rejects(spec, host)]
    return [list(fusion.usual(spec, way.fused, host).values()) for way in ways]


@settings(max_examples=8)
@given(wide_block_specs(size=14, kernel=5, activations=EXACT), st.randoms(use_true_random=False))
def test_every_way_of_fusing_is_exact(spec, random):
    for plans in legal_plans(spec):
        check_exact(spec, random.choice(plans))


@settings(max_examples=10)
@given(
    wide_block_specs(size=14, kernel=5, activations=EXACT, gates=True),
    st.randoms(use_true_random=False),
)
def test_any_legal_plan_touches_only_its_arrays(guarded, spec, random):
    guarded.check(spec, random.choice(random.choice(legal_plans(spec))), runs=2)


@settings(max_examples=30)
@given(pointwise_specs(activations=EXACT))
def test_products_of_whole_numbers_are_exact(spec):
    check_exact(spec)


# The tolerance of the oracle: so many units of rounding as the sums of all parts have products.
@settings(max_examples=10)
@given(wide_block_specs(size=12, kernel=5, gates=True) | pointwise_specs())
def test_results_are_the_oracles_to_the_last_roundings(spec):
    x, *operands, out = dw.random_problem(spec)
    dw.compile(spec)(x, *operands, out=out)
    rtol, atol = reference.tolerance(spec)
    np.testing.assert_allclose(out, reference.forward(spec, x, *operands), rtol, atol)


@settings(max_examples=10)
@given(wide_block_specs(size=14, kernel=5, gates=True) | pointwise_specs())
def test_neither_threads_nor_the_order_of_tasks_change_a_bit(spec):
    steps.check_order(spec)


@settings(max_examples=10)
@given(
    wide_block_specs(size=14, kernel=5, activations=EXACT),
    st.integers(0, 2**32 - 1),
)
def test_nan_reaches_exactly_the_pixels_whose_window_has_it(spec, seed):
    x, operands, expected = exact_problem(spec)
    rows_and_columns = (2, 3) if spec.layout == "NCHW" else (1, 2)
    pixel = tuple(np.random.default_rng(seed).integers(np.array(x.shape)[[0, *rows_and_columns]]))
    at = [slice(None)] * 4
    for axis, index in zip((0, *rows_and_columns), pixel, strict=True):
        at[axis] = index

    marked = x.copy()
    marked[tuple(at)] = np.nan
    kernel = dw.compile(spec)
    packed = kernel.pack(operands)
    out = poisoned(spec)
    kernel.run(marked, packed, out, 2)
    with_nan = np.where(reached(spec, tuple(at)), np.nan, expected.astype(np.float64))
    np.testing.assert_array_equal(out.astype(np.float64), with_nan)
    # Nothing of it stays in the memory that threads keep.
    kernel.run(x, packed, out, 2)
    np.testing.assert_array_equal(out, expected)


def reached(spec, at):
    """Return which outputs of a block the input pixel `at` has a part in."""
    convolution = replace(spec.depthwise, bias=False, activation=None)
    mark = np.zeros(spec.input_shape)
    mark[at] = 1
    channel = 1 if spec.layout == "NCHW" else 3
    mark = np.repeat(mark.max(channel, keepdims=True), convolution.channels, channel)
    sums = reference.forward(convolution, mark, np.ones(convolution.weight_shape))
    return np.broadcast_to(sums.max(channel, keepdims=True) > 0, spec.output_shape)


@settings(max_examples=12)
@given(
    spec=wide_block_specs(size=14, kernel=5, activations=EXACT)
    | pointwise_specs(activations=EXACT),
    runs=st.integers(1, 3),
)
def test_default_plans_touch_only_their_arrays(guarded, spec, runs):
    guarded.check(spec, runs=runs)


@settings(max_examples=12)
@given(
    wide_block_specs(size=12, kernel=5, activations=EXACT) | pointwise_specs(activations=EXACT),
    st.sampled_from(RUNNABLE),
)
def test_default_plans_of_every_cpu_that_runs_here_are_exact(spec, cpu):
    check_exact(spec, cpu=cpu)


@settings(max_examples=12)
@given(
    wide_block_specs(size=12, kernel=5, activations=EXACT) | pointwise_specs(activations=EXACT),
    st.sampled_from(["sse", "avx2", "avx512", "neon"]),
)
def test_plans_for_the_vectors_and_registers_of_other_machines_are_exact_here(spec, isa):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "named", lambda _: replace(target.host(), isa=isa))
        check_exact(spec)
