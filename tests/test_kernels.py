"""Kernels of every kind against the oracle, whatever the memory and the threads they are given."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch.nn import functional as F  # noqa: N812

import depthwise as dw
from depthwise.errors import ArrayError, DTypeError, PlanError, SpecError
from depthwise.problem import reference
from depthwise.problem.vocabulary import ACTIVATIONS
from exact import exact_problem, poisoned
from strategies import block_specs, conv_specs

KINDS = [
    "depthwise c9 h5 w7 k3 p1 bias relu",
    "depthwise c9 h5 w8 k3 p1 bias relu",
    "depthwise c9 h5 w7 k3 p1 bias relu nhwc",
    "depthwise c9 h5 w7 k3 p1 float64 nhwc",
    "depthwise c3 h5 w7 k3 p1 m2",
    "depthwise1d c9 l7 k3 p2,0 nlc",
    "pointwise c9 o5 h5 w7 bias residual",
    "pointwise c9 o5 h5 w7 bias residual nhwc",
    "conv c4 o6 hw5 k3 g2",
    "conv c4 o6 hw5 k3 p1 nhwc bias relu",
    "separable c9 o5 h5 w7 k3 p1 bias relu/none residual",
    "inverted c4 e9 o5 hw5 k3 s2 p1 bias relu6 nhwc",
]


def check(spec):
    x, *operands, out = dw.random_problem(spec)
    dw.compile(spec)(x, *operands, out=out)
    rtol, atol = reference.tolerance(spec)
    np.testing.assert_allclose(out, reference.forward(spec, x, *operands), rtol, atol)


@settings(max_examples=40)
@given(conv_specs())
def test_every_convolution_is_what_the_oracle_says(spec):
    check(spec)


@settings(max_examples=10)
@given(block_specs().filter(lambda spec: spec.squeeze_excite is None))
def test_every_block_is_what_the_oracle_says(spec):
    check(spec)


def placed(array, offset):
    """Return a copy that begins `offset` elements into a larger buffer, and that buffer."""
    buffer = np.full(array.size + 64, 7, array.dtype)
    view = buffer[offset : offset + array.size].reshape(array.shape)
    view[...] = array
    return view, buffer


@pytest.mark.parametrize("text", KINDS)
def test_arguments_may_lie_at_any_element_and_nothing_beside_the_output_is_written(text):
    spec = dw.parse(text)
    x, operands, expected = exact_problem(spec)
    kernel = dw.compile(spec)
    for offset in (1, 3, 16, 31):
        moved = [placed(array, offset)[0] for array in (x, *operands)]
        out, buffer = placed(poisoned(spec), offset)
        assert kernel(*moved, out=out, threads=2) is out
        np.testing.assert_array_equal(out, expected)
        np.testing.assert_array_equal(buffer[:offset], 7)
        np.testing.assert_array_equal(buffer[offset + out.size :], 7)


@pytest.mark.parametrize("text", KINDS)
def test_inputs_may_be_read_only_or_not_contiguous_and_stay_as_they_are(text):
    spec = dw.parse(text)
    x, operands, expected = exact_problem(spec)
    given = []
    for array in (x, *operands):
        spread = np.repeat(array, 2, axis=-1)[..., ::2]
        spread.flags.writeable = False
        given.append(spread)
    kernel = dw.compile(spec)
    np.testing.assert_array_equal(kernel(*given), expected)
    for before, after in zip((x, *operands), given, strict=True):
        np.testing.assert_array_equal(before, after)
    x.flags.writeable = False
    np.testing.assert_array_equal(kernel(x, *operands), expected)


def test_an_output_that_is_not_contiguous_is_written_in_its_place():
    spec = dw.parse("depthwise c9 h5 w7 k3 p1")
    x, operands, expected = exact_problem(spec)
    around = np.full((1, 9, 5, 14), 7, np.float32)
    dw.compile(spec)(x, *operands, out=around[..., ::2])
    np.testing.assert_array_equal(around[..., ::2], expected)
    np.testing.assert_array_equal(around[..., 1::2], 7)


@pytest.mark.parametrize("text", KINDS)
def test_every_number_of_threads_gives_the_same_bits(text):
    x, *operands, out = dw.random_problem(text)
    kernel = dw.compile(text)
    alone = kernel(x, *operands, threads=1)
    for threads in (2, 3):
        again = kernel(x, *operands, out=np.full_like(out, np.nan), threads=threads)
        np.testing.assert_array_equal(again, alone)


def test_python_threads_may_call_one_kernel_at_once():
    spec = dw.parse("depthwise c16 hw24 k3 p1 nhwc")
    _, (weight,), _ = exact_problem(spec)
    bound = dw.compile(spec).bind(weight)
    inputs = [np.full(spec.input_shape, i, np.float32) for i in range(16)]
    expected = [reference.forward(spec, x, weight) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for got, right in zip(pool.map(bound, inputs), expected, strict=True):
                np.testing.assert_array_equal(got, right)


def test_threads_that_compile_the_same_problem_at_once_get_one_kernel():
    text = "depthwise c5 h6 w11 k3 p1 n2"
    together = Barrier(4)

    def first_use(_):
        together.wait()
        return dw.compile(text)

    with ThreadPoolExecutor(4) as pool:
        kernels = list(pool.map(first_use, range(4)))
    assert len(set(map(id, kernels))) == 1
    check(dw.parse(text))


@pytest.mark.parametrize("layout", ["", "nhwc"])
@pytest.mark.parametrize("plan", [None, "packed tc8 tw2", "general tw4", "default"])
@pytest.mark.parametrize("window", ["k3 p1", "k3 s2 p1", "k2x3 d2x1 p0,1,2,0"])
def test_a_value_that_is_not_finite_reaches_the_outputs_whose_window_has_it(window, plan, layout):
    if plan and plan.startswith("packed") and layout:
        plan = "channels_last tc8 tw2"
    spec = dw.parse(f"depthwise c9 h5 w7 {window} {layout} bias relu")
    kernel = dw.compile(spec, plan)
    ones, zeros = np.ones(spec.weight_shape, np.float32), np.zeros(spec.out_channels, np.float32)
    for at in [(0, 0, 0), (4, 2, 3), (8, 4, 6), (7, 0, 6), (8, 3, 5)]:
        channel, *pixel = at
        place = (0, *pixel, channel) if layout else (0, *at)
        mark = np.zeros(spec.input_shape, np.float32)
        mark[place] = 1
        reached = reference.forward(spec, mark, ones, zeros) > 0
        for value in (np.nan, np.inf):
            x = mark.copy()
            x[place] = value
            got = kernel(x, ones, zeros)
            np.testing.assert_array_equal(got, np.where(reached, value, 0))


@pytest.mark.parametrize("text", ["pointwise c9 o5 h2 w3", "pointwise c9 o5 h2 w3 nhwc"])
def test_nan_stays_in_its_pixel(text):
    spec = dw.parse(text)
    x, operands, expected = exact_problem(spec)
    pixel = (0, slice(None), 1, 2) if spec.layout == "NCHW" else (0, 1, 2)
    x[pixel] = np.nan
    expected[pixel] = np.nan
    np.testing.assert_array_equal(dw.compile(spec)(x, *operands), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_of_extreme_values_are_those_of_torch(activation, dtype):
    values = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-30, -1e-30, 200, -200, 3, -3, 6, 2.5, -2.5]
    x = np.array(values, dtype).reshape(1, 1, 1, -1)
    one = np.ones((1, 1, 1, 1), dtype)
    function = getattr(F, activation, None) or getattr(torch, activation)
    # In float64: with AVX-512, torch's gelu of infinity is NaN in float32.
    wanted = function(torch.from_numpy(x).double()).numpy().astype(dtype)
    got = dw.depthwise_conv2d(x, one, activation=activation)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_the_same_problem_compiles_once_in_any_form():
    kernel = dw.compile("depthwise c4 hw6 k3 p1")
    assert dw.compile("depthwise k3x3 p1,1 h6 w6 c4") is kernel
    assert dw.compile(kernel.spec) is kernel
    assert dw.compile(kernel.spec, kernel.plan) is kernel
    assert dw.compile(kernel.spec, str(kernel.plan)) is kernel
    assert dw.compile(kernel.spec, target=kernel.target.cpu) is kernel
    apart = "depthwise project rows1 | default | pointwise tc8 tw4"
    first = dw.compile("separable c4 o4 hw6 k3 p1", apart)
    (step,) = dw.compile(kernel.spec, "default").steps
    assert (first.steps[0].problem, first.steps[0].plan) == (step.problem, step.plan)


@pytest.mark.parametrize("text", KINDS)
def test_a_bound_kernel_keeps_copies_of_its_weights(text):
    spec = dw.parse(text)
    x, operands, expected = exact_problem(spec)
    bound = dw.compile(spec).bind(*operands)
    for name, operand in zip(spec.operands, operands, strict=True):
        if name != "residual":
            operand[...] = np.nan
    np.testing.assert_array_equal(bound(x), expected)


BAD_CALLS = {
    "input shape": ({"x": np.ones((1, 4, 5, 4), "f4")}, ArrayError, r"x has shape \(1, 4, 5, 5\)"),
    "input type": ({"x": np.ones((1, 4, 5, 5))}, DTypeError, "x has .* float32; got float64"),
    "no array": ({"x": [1.0]}, DTypeError, "x is a NumPy array or a DLPack tensor.*got list"),
    "weight shape": ({"weight": np.ones((4, 3, 3), "f4")}, ArrayError, "weight has shape"),
    "weight type": ({"weight": np.ones((4, 1, 3, 3), "f2")}, DTypeError, "weight .*float16"),
    "bias shape": ({"bias": np.ones(1, "f4")}, ArrayError, r"bias has shape \(4,\); got \(1,\)"),
    "no threads": ({"threads": 0}, SpecError, "threads are at least 1; got 0"),
    "half a thread": ({"threads": 1.5}, SpecError, "threads is a whole number; got 1.5"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_a_refused_call_leaves_the_output_as_it_was(case):
    changed, kind, words = BAD_CALLS[case]
    spec = dw.parse("depthwise c4 hw5 k3 bias")
    x, (weight, bias), _ = exact_problem(spec)
    call = {"x": x, "weight": weight, "bias": bias, "threads": 1} | changed
    out = np.full(spec.output_shape, 7, np.float32)
    with pytest.raises(kind, match=words):
        dw.compile(spec)(*list(call.values())[:3], out=out, threads=call["threads"])
    np.testing.assert_array_equal(out, 7)


@pytest.mark.parametrize("count", [0, 2])
def test_the_number_of_operands_is_the_problems(count):
    kernel = dw.compile("depthwise c4 hw5 k3")
    weight = np.ones((4, 1, 3, 3), np.float32)
    with pytest.raises(ArrayError, match=r"operands are weight \(4, 1, 3, 3\); got " + str(count)):
        kernel(np.ones((1, 4, 5, 5), np.float32), *[weight] * count)


@pytest.mark.parametrize("stage", ["definition", "schedule", "llvm", "asm"])
def test_a_block_shows_the_stages_of_its_parts(stage):
    kernel = dw.compile("separable c4 o6 hw5 k3 p1")
    shown = kernel.show(stage)
    assert shown.startswith("# depthwise c4 hw5 k3 p1 + pointwise c4 o6 hw5\n")
    for name in ("depthwise", "project"):
        assert name in shown


def test_there_are_four_stages():
    with pytest.raises(SpecError, match="definition, schedule, llvm, asm; got 'ptx'"):
        dw.compile("depthwise c4 hw5 k3").show("ptx")


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ((3,), SpecError),
        (([1],), SpecError),
        (("depthwise c4 hw5 k3", 3), PlanError),
        (("depthwise c4 hw5 k3", ["packed"]), PlanError),
        (("separable c4 o4 hw5 k3", "channels_last"), PlanError),
    ],
)
def test_what_is_no_problem_or_no_plan_is_refused(arguments, kind):
    with pytest.raises(kind):
        dw.compile(*arguments)


def test_a_kernel_larger_than_the_plane_sees_padding_alone_at_its_rim():
    got = dw.depthwise_conv2d(
        np.ones((1, 1, 1, 1), np.float32), np.ones((1, 1, 5, 5), np.float32), padding=4
    )
    assert got.shape == (1, 1, 5, 5)
    assert math.isclose(got.sum(), 25)


@pytest.mark.parametrize("outputs", [3, 8, 20, 40])
def test_vectors_of_a_products_weights_lie_within_a_cache_line(outputs):
    spec = dw.parse(f"pointwise c5 o{outputs} hw4 nhwc")
    kernel = dw.compile(spec)
    for seed in range(8):
        _, weight, _ = dw.random_problem(spec, seed=seed)
        packed, *_ = kernel.pack([weight])
        assert packed.ctypes.data % 64 == 0
