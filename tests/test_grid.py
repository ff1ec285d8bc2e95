"""Depthwise kernels over a grid of every attribute, large enough to fill whole tiles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import depthwise as dw
import steps
from depthwise.problem import reference
from exact import exact_problem, poisoned
from strategies import depthwise_specs


@settings(max_examples=30)
@given(depthwise_specs())
def test_results_are_the_oracles_to_the_last_roundings(spec):
    x, *operands, out = dw.random_problem(spec)
    dw.compile(spec)(x, *operands, out=out)
    rtol, atol = reference.tolerance(spec)
    np.testing.assert_allclose(out, reference.forward(spec, x, *operands), rtol, atol)


@settings(max_examples=20)
@given(
    depthwise_specs(size=24, kernel=7, activations=(None, "relu")),
    st.sampled_from([np.nan, np.inf]),
    st.integers(1, 4),
    st.integers(0, 2**32 - 1),
)
def test_what_is_not_finite_reaches_exactly_the_outputs_whose_window_has_it(
    spec, value, count, seed
):
    rng = np.random.default_rng(seed)
    finite = rng.integers(-3, 4, spec.input_shape).astype(spec.dtype)
    where = rng.choice(finite.size, min(count, finite.size), replace=False)
    finite.flat[where] = 0
    mark, x = np.zeros_like(finite), finite.copy()
    mark.flat[where], x.flat[where] = 1, value
    # Positive weights: infinity keeps its sign, and no marks cancel.
    weight = rng.integers(1, 4, spec.weight_shape).astype(spec.dtype)
    bias = [rng.integers(-3, 4, spec.out_channels).astype(spec.dtype)] if spec.bias else []

    linear = replace(spec, bias=False, activation=None)
    reached = reference.forward(linear, mark, weight) > 0
    expected = np.where(reached, value, reference.forward(spec, finite, weight, *bias))
    got = dw.compile(spec)(x, weight, *bias)
    np.testing.assert_array_equal(got.astype(np.float64), expected)


@settings(max_examples=12)
@given(depthwise_specs())
def test_neither_threads_nor_the_order_of_tasks_change_a_bit(spec):
    steps.check_order(spec)


@settings(max_examples=12)
@given(depthwise_specs(activations=(None, "relu", "relu6")))
def test_whole_numbers_are_exact(spec):
    x, operands, expected = exact_problem(spec)
    np.testing.assert_array_equal(dw.compile(spec)(x, *operands, out=poisoned(spec)), expected)
