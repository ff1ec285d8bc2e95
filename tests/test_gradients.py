"""Kernels of gradients over a grid of every attribute, as they come by default and by any plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import depthwise as dw
import steps
from cpus import CPUS, RUNNABLE, vectors_of_others
from depthwise import compiler, schedule
from depthwise.errors import PlanError, SpecError
from depthwise.functions.gradients import (
    depthwise_conv2d_input_gradient,
    depthwise_conv2d_weight_gradient,
)
from depthwise.machine import target
from depthwise.problem import reference
from exact import check_exact, exact_problem
from strategies import wide_pass_specs

TEXTS = [
    "input_gradient depthwise c35 h9 w31 k3 p1 nhwc",
    "input_gradient depthwise c20 h11 w30 k5 s2 p2 n2",
    "input_gradient depthwise c12 h8 w9 k3 d2 p2 m2 nhwc float64",
    "input_gradient depthwise1d c36 l40 k4 p3,0 n2",
    "weight_gradient depthwise c35 h9 w31 k7 p3 nhwc bias",
    "weight_gradient depthwise c20 h11 w30 k5 s2 p2 n2",
    "weight_gradient depthwise c12 h8 w9 k3 d2 p2 m2 nhwc float64",
    "weight_gradient depthwise1d c36 l40 k4 p3,0 n2",
]
"""Borders, strides, dilations, multipliers, tails, both layouts."""
LONG = [
    "input_gradient depthwise1d c9 l300 k90 p40,3 s2",
    "weight_gradient depthwise1d c9 l300 k90 p40,3 s2 bias",
    "input_gradient depthwise c17 hw40 k31 p15 nhwc",
    "weight_gradient depthwise c17 hw40 k31 p15 nhwc",
]
"""So many taps that they are not unrolled."""


@settings(max_examples=20)
@given(wide_pass_specs())
def test_gradients_of_whole_numbers_are_exact(spec):
    check_exact(spec)


@pytest.mark.parametrize("text", LONG)
def test_gradients_of_many_taps_are_exact(text):
    check_exact(dw.parse(text))


@pytest.mark.parametrize("layout", ["", " nhwc"])
@pytest.mark.parametrize("kind", ["input_gradient", "weight_gradient"])
def test_many_outputs_of_a_channel_are_exact(kind, layout):
    check_exact(dw.parse(f"{kind} depthwise c5 h5 w6 k3 p1 m11{layout}"))


@pytest.mark.parametrize("kind", ["input_gradient", "weight_gradient"])
def test_code_does_not_grow_with_the_outputs_of_a_channel(kind):
    lines = {
        len(dw.compile(f"{kind} depthwise c5 hw5 k3 p1 m{many}").show("schedule").splitlines())
        for many in (20, 40)
    }
    assert len(lines) == 1


@pytest.mark.parametrize("text", TEXTS)
def test_any_plan_is_exact(text):
    spec = dw.parse(text)
    for plan in list(schedule.legal_plans(spec, target.host()))[::4]:
        check_exact(spec, plan)


def test_the_tests_reach_every_way_of_computing():
    kernels = [dw.compile(text) for text in TEXTS]
    assert {kernel.codes[0].scratch_bytes > 0 for kernel in kernels} == {True, False}


@settings(max_examples=10)
@given(wide_pass_specs())
def test_results_are_the_oracles_to_the_last_roundings(spec):
    x, *operands, out = dw.random_problem(spec)
    dw.compile(spec)(x, *operands, out=out)
    rtol, atol = reference.tolerance(spec)
    np.testing.assert_allclose(out, reference.forward(spec, x, *operands), rtol, atol)


@settings(max_examples=10)
@given(wide_pass_specs())
def test_neither_threads_nor_the_order_of_tasks_change_a_bit(spec):
    steps.check_order(spec)


@settings(max_examples=10)
@given(spec=wide_pass_specs(), runs=st.integers(1, 3))
def test_gradients_touch_only_their_arrays(guarded, spec, runs):
    guarded.check(spec, runs=runs)


FAR = [
    "input_gradient depthwise c40 hw90 k3 p1 s2 n11 nhwc",
    "weight_gradient depthwise c40 hw90 k3 p1 s2 n11 nhwc",
]


@pytest.mark.parametrize("text", FAR)
def test_what_is_fetched_ahead_changes_nothing(guarded, text):
    spec = dw.parse(text)
    assert "prefetch" in dw.compile(spec).show("schedule")
    guarded.check(spec, runs=3)


@settings(max_examples=10)
@given(wide_pass_specs(size=14, kernel=5), st.sampled_from(RUNNABLE))
def test_gradients_of_every_cpu_that_runs_here_are_exact(spec, cpu):
    check_exact(spec, cpu=cpu)


@settings(max_examples=10)
@given(wide_pass_specs(size=14, kernel=5), st.sampled_from(["sse", "avx2", "avx512", "neon"]))
def test_plans_for_the_vectors_and_registers_of_other_machines_are_exact_here(spec, isa):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "named", lambda _: replace(target.host(), isa=isa))
        check_exact(spec)


@pytest.mark.parametrize("cpu", CPUS, ids=[cpu.cpu for cpu in CPUS])
@pytest.mark.parametrize("text", TEXTS[::3])
def test_every_cpu_has_code_with_the_vectors_of_its_own(text, cpu):
    assert not vectors_of_others(dw.compile(text, target=cpu.cpu).show("asm"), cpu)


@settings(max_examples=8)
@given(wide_pass_specs(size=10, kernel=4))
def test_the_definition_is_what_the_kernel_computes(spec):
    tvm = pytest.importorskip("tvm")
    from depthwise.programs.define_gradient import define

    x, operands, expected = exact_problem(spec)
    conv = spec.conv
    flat = {"weight": (conv.out_channels, *conv.kernel)}
    shapes = [spec.input_shape, *(flat.get(name, s) for name, s in spec.operands.items())]
    arrays = [
        tvm.runtime.tensor(
            a.reshape([int(extent) for extent in buffer.shape]).astype(spec.element.tvm)
        )
        for a, buffer in zip((x, *operands), define(spec).params, strict=False)
    ]
    outputs = [
        tvm.runtime.empty([int(e) for e in buffer.shape], spec.element.tvm)
        for buffer in define(spec).params[len(shapes) :]
    ]
    tvm.compile(define(spec), target="llvm")(*arrays, *outputs)
    got = np.concatenate([output.numpy().ravel() for output in outputs])
    np.testing.assert_array_equal(got, expected.ravel().astype(spec.element.tvm))


def test_a_plan_of_another_gradient_is_refused():
    with pytest.raises(PlanError, match="schedule input_gradient does not take this problem"):
        dw.compile("weight_gradient depthwise c4 hw5 k3", "input_gradient tw4")


def test_a_training_step_is_no_kernel():
    with pytest.raises(SpecError, match="a kernel computes one pass"):
        dw.compile("training depthwise c4 hw5 k3")


@pytest.mark.parametrize("multiplier", ["a", 1.5, None, True])
def test_a_multiplier_is_a_whole_number(multiplier):
    ones = np.ones((1, 4, 5, 5), np.float32)
    with pytest.raises(SpecError, match="multiplier is a whole number; got"):
        depthwise_conv2d_input_gradient(
            ones, ones[0, :, None, :3, :3], (7, 7), multiplier=multiplier
        )


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_functions_are_the_gradients_of_the_oracle(layout):
    conv = dw.parse(f"depthwise n2 c6 h9 w11 k3x5 s2x1 p1,2 d1x2 m2 bias {layout.lower()}")
    x, weight, _, y = dw.random_problem(conv)
    grad = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    window = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "layout": layout}
    got = depthwise_conv2d_input_gradient(grad, weight, (9, 11), multiplier=2, **window)
    np.testing.assert_allclose(got, reference.input_gradient(conv, grad, weight), 1e-5, 1e-5)
    both = depthwise_conv2d_weight_gradient(grad, x, (3, 5), bias=True, **window)
    expected = reference.weight_gradient(conv, x, grad)
    np.testing.assert_allclose(both[:-12].reshape(expected.shape), expected, 1e-4, 1e-4)
    np.testing.assert_allclose(both[-12:], reference.bias_gradient(conv, grad), 1e-4, 1e-4)
    alone = depthwise_conv2d_weight_gradient(grad, x, (3, 5), **window)
    np.testing.assert_array_equal(alone, both[:-12])
    single = depthwise_conv2d_weight_gradient(grad[0], x[0], (3, 5), **window)
    first = reference.weight_gradient(replace(conv, batch=1), x[:1], grad[:1]).ravel()
    np.testing.assert_allclose(single, first, 1e-4, 1e-4)
