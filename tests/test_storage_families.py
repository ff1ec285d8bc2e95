"""Arrays of 16 bits: every kind of problem against the oracle."""

import platform
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import depthwise as dw
from depthwise import schedule
from depthwise.errors import DTypeError, ModelError
from depthwise.machine.devices import DEVICES
from depthwise.machine.target import named
from depthwise.machine.team import native
from depthwise.problem import reference
from depthwise.problem.data import random_problem
from depthwise.problem.dtypes import DTYPES, element
from strategies import block_specs, conv_specs, pass_specs

NARROW = ("bfloat16", "float16")

PROBLEMS = [
    "depthwise c19 hw9 k3 p1 nhwc bias silu",
    "depthwise c19 hw9 k3 p1 nchw bias relu",
    "depthwise c40 hw13 k3 p1 s2 m2 nhwc",
    "depthwise c32 hw13 k3 p1 nchw16c",
    "depthwise1d c40 l33 k4 p3,0 nlc silu",
    "depthwise1d c40 l33 k4 p3,0 ncl",
    "pointwise c19 o33 hw9 nhwc bias relu6 residual",
    "pointwise c19 o33 hw9 nchw bias residual",
    "conv c17 o33 hw9 k3 p1 nhwc relu",
    "conv c16 o32 hw9 k3 p1 nchw bias",
    "conv c16 o32 hw9 k3 p1 g2 nchw bias",
    "separable c24 o40 hw14 k3 p1 nhwc",
    "separable c24 o40 hw14 k3 p1 nchw",
    "inverted c16 o16 e48 hw14 k3 p1 nhwc residual",
    "inverted c16 o16 e48 hw14 k3 p1 nchw residual",
    "inverted c16 o16 e48 hw14 k3 p1 nhwc se8:relu/sigmoid",
    "input_gradient depthwise c16 hw14 k3 p1 nhwc",
    "input_gradient depthwise1d c16 l50 k4 p3,0 ncl",
    "input_gradient depthwise1d c16 l50 k4 p3,0 nlc",
    "weight_gradient depthwise c16 hw14 k3 p1 nhwc bias",
    "weight_gradient depthwise1d c16 l50 k4 p3,0 ncl bias",
    "weight_gradient depthwise1d c16 l50 k4 p3,0 nlc",
    "mean c40 hw9 nhwc", "norm c40 hw9 nhwc eps1e-5", "groupnorm c40 g4 hw9 nhwc eps1e-5",
    "maxpool c40 hw9 k3 s2 p1 nhwc", "avgpool c40 hw9 k3 s2 p1 nhwc",
]  # fmt: skip


def check(spec, plan=None):
    kernel = dw.compile(spec, plan)
    *arrays, _ = random_problem(spec)
    got = kernel(*arrays)
    rtol, atol = reference.tolerance(spec)
    assert got.dtype.name == spec.dtype_of("y")
    wanted = reference.forward(spec, *arrays)
    np.testing.assert_allclose(got.astype(np.float64), wanted, rtol=rtol, atol=atol)


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("text", PROBLEMS)
def test_one_of_each(text, dtype):
    check(dw.parse(f"{text} {dtype}"))


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("text", ["depthwise c16 hw9 k3 p1", "depthwise1d c40 l33 k4 p3,0 bias"])
def test_every_schedule(text, dtype):
    spec = dw.parse(f"{text} {dtype}")
    schedules = [name for name, why in dw.explain(spec).items() if why is None]
    assert {"channels_first", "packed", "general", "default"} <= {*schedules}
    plans = {plan.schedule: plan for plan in schedule.legal_plans(spec, named(None))}
    for name in schedules:
        check(spec, plans[name])


@pytest.mark.parametrize("cpu", ["haswell", "sandybridge", "cortex-a76"])
@pytest.mark.parametrize("dtype", NARROW)
def test_code_for_any_cpu_calls_nothing(cpu, dtype):
    if cpu not in DEVICES and platform.machine() != "x86_64":
        pytest.skip("a CPU of another family")
    assembly = dw.compile(f"depthwise c40 hw9 k3 p1 nhwc {dtype}", target=cpu).show("asm")
    assert not re.search(r"\t(?:callq?|bl)\s", assembly)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="instructions of x86-64")
def test_conversions_are_vector_instructions():
    text = "depthwise c40 hw9 k3 p1 nhwc"
    for dtype, words in (("float16", "vcvtph2ps vcvtps2ph"), ("bfloat16", "vpmovzxwd vpslld")):
        assembly = dw.compile(f"{text} {dtype}", target="haswell").show("asm")
        assert all(word in assembly for word in words.split())


@settings(max_examples=15)
@given(st.sampled_from(NARROW), conv_specs() | block_specs() | pass_specs())
def test_any_problem(dtype, spec):
    tokens = [token for token in str(spec).split() if token not in DTYPES]
    check(dw.parse(" ".join([*tokens, dtype])))


X = np.random.default_rng(0).standard_normal((2, 6, 9, 7), np.float32)
WEIGHT = np.random.default_rng(1).standard_normal((6, 1, 3, 3), np.float32)


@pytest.mark.parametrize("dtype", NARROW)
def test_arrays_and_tensors_are_computed_as_they_lie(dtype):
    x, weight = (array.astype(element(dtype).numpy) for array in (X, WEIGHT))
    got = dw.depthwise_conv2d(x, weight, padding=1)
    assert got.dtype == x.dtype
    exact = dw.depthwise_conv2d(x.astype("f8"), weight.astype("f8"), padding=1)
    largest = np.abs(exact).max()
    assert np.abs(got.astype(np.float64) - exact).max() <= element(dtype).epsilon * largest
    tensors = (torch.from_numpy(a).to(getattr(torch, dtype)) for a in (X, WEIGHT))
    result = dw.depthwise_conv2d(*tensors, padding=1)
    assert result.dtype == getattr(torch, dtype)
    np.testing.assert_array_equal(result.float().numpy(), got.astype(np.float32))
    out = np.zeros(got.shape, got.dtype)
    assert dw.depthwise_conv2d(x, weight, padding=1, out=out) is out
    np.testing.assert_array_equal(out.view(np.uint16), got.view(np.uint16))


@pytest.mark.parametrize("dtype", NARROW)
def test_types_are_not_mixed_and_out_is_left_alone(dtype):
    x, out = X.astype(element(dtype).numpy), np.full(X.shape, 7, np.float32)
    with pytest.raises(DTypeError, match=f"weight has the problem's dtype {dtype}; got float32"):
        dw.depthwise_conv2d(x, WEIGHT, padding=1)
    with pytest.raises(DTypeError, match=f"out has the problem's dtype {dtype}; got float32"):
        dw.depthwise_conv2d(x, WEIGHT.astype(x.dtype), padding=1, out=out)
    assert (out == 7).all()


def test_memory_that_numpy_lends_in_no_buffer_is_found():
    narrow = np.arange(12).reshape(3, 4).astype(element("bfloat16").numpy)
    turned = np.empty((4, 3), narrow.dtype)
    native().transpose(narrow, turned, 3, 4)
    np.testing.assert_array_equal(turned.view(np.uint16), narrow.T.copy().view(np.uint16))
    assert native().same(narrow, narrow.copy())
    narrow.flags.writeable = False
    with pytest.raises(ValueError, match="buffer"):
        native().transpose(turned, narrow, 4, 3)
    with pytest.raises(ValueError, match="contiguous"):
        native().same(turned[:, ::2], narrow)


def test_what_is_exported_is_not_of_16_bits(tmp_path):
    with pytest.raises(ModelError, match=r"lies in memory as it is computed; got .* bfloat16"):
        dw.export("depthwise c16 hw9 k3 p1 nhwc bfloat16", tmp_path / "made")
    assert not (tmp_path / "made").exists()
