"""Arrays of 16 bits: every kind of problem against the oracle."""

import numpy as np
import pytest

import depthwise as dw
from depthwise.problem import reference
from depthwise.problem.data import random_problem

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


def check(spec):
    kernel = dw.compile(spec)
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
