"""Ordinary convolutions over a grid of every attribute: `dense` and `dense_planes`."""

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
from depthwise.schedule import dense, dense_planes
from exact import EXACT, check_exact, exact_problem, poisoned
from strategies import dense_specs


def rule_of(spec):
    return dense if spec.channels_last else dense_planes


@settings(max_examples=30)
@given(dense_specs(activations=EXACT))
def test_whole_numbers_are_exact(spec):
    assert dw.compile(spec).plan.schedule == rule_of(spec).name
    check_exact(spec)


@settings(max_examples=10)
@given(dense_specs())
def test_results_are_the_oracles_to_the_last_roundings(spec):
    x, *operands, out = dw.random_problem(spec)
    dw.compile(spec)(x, *operands, out=out)
    rtol, atol = reference.tolerance(spec)
    np.testing.assert_allclose(out, reference.forward(spec, x, *operands), rtol, atol)


@settings(max_examples=10)
@given(dense_specs())
def test_neither_threads_nor_the_order_of_tasks_change_a_bit(spec):
    steps.check_order(spec)


@settings(max_examples=12)
@given(dense_specs(activations=EXACT), st.randoms(use_true_random=False), st.integers(1, 3))
def test_any_legal_plan_touches_only_its_arrays(guarded, spec, random, runs):
    guarded.check(spec, random.choice(list(rule_of(spec).plans(spec, target.host()))), runs=runs)


@settings(max_examples=8)
@given(dense_specs(activations=EXACT), st.integers(1, 24), st.integers(1, 40))
def test_no_tile_makes_a_result_wrong(spec, tw, tc):
    check_exact(spec, dw.Plan(rule_of(spec).name, tc=tc, tw=tw))


@settings(max_examples=8)
@given(dense_specs(activations=EXACT), st.integers(0, 2**32 - 1))
def test_nan_reaches_exactly_the_pixels_whose_window_has_it(spec, seed):
    x, operands, expected = exact_problem(spec)
    at = tuple(np.random.default_rng(seed).integers(x.shape))
    mark, marked = np.zeros_like(x), x.copy()
    mark[at], marked[at] = 1, np.nan
    linear = replace(spec, bias=False, activation=None)
    reached = reference.forward(linear, mark, np.ones(spec.weight_shape)) > 0
    kernel = dw.compile(spec)
    packed, out = kernel.pack(operands), poisoned(spec)
    kernel.run(marked, packed, out, 2)
    with_nan = np.where(reached, np.nan, expected.astype(np.float64))
    np.testing.assert_array_equal(out.astype(np.float64), with_nan)
    # Nothing of it stays in the memory that threads keep.
    kernel.run(x, packed, out, 2)
    np.testing.assert_array_equal(out, expected)


@settings(max_examples=8)
@given(dense_specs(activations=EXACT), st.sampled_from(RUNNABLE))
def test_default_plans_of_every_cpu_that_runs_here_are_exact(spec, cpu):
    check_exact(spec, cpu=cpu)


@settings(max_examples=8)
@given(dense_specs(activations=EXACT), st.sampled_from(["sse", "avx2", "avx512", "neon"]))
def test_plans_for_the_vectors_and_registers_of_other_machines_are_exact_here(spec, isa):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "named", lambda _: replace(target.host(), isa=isa))
        check_exact(spec)
