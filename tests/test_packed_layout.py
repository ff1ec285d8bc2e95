"""Layouts of (N, C / c, H, W, c): the problem of NCHW, on arrays that `pack_nchwc` packs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import depthwise as dw
import steps
from depthwise.errors import ArrayError, SpecError
from depthwise.machine import target
from depthwise.problem import reference
from depthwise.problem.spec import ConvSpec
from depthwise.problem.vocabulary import ACTIVATIONS, LAYOUTS_PACKED
from depthwise.schedule import blocked
from depthwise.tuning.conv_space import ConvSpace
from exact import EXACT, check_exact
from strategies import depthwise_specs

RNG = np.random.default_rng(8)
X = RNG.standard_normal((2, 32, 7, 6), dtype=np.float32)
WEIGHT = RNG.standard_normal((32, 1, 3, 3), dtype=np.float32)
BIAS = RNG.standard_normal(32, dtype=np.float32)
TEXT = "depthwise c32 h7 w6 k3 p1 nchw16c"


@st.composite
def packed_specs(draw, activations=(None, *ACTIVATIONS)):
    plain = draw(depthwise_specs(activations=activations))
    layout, block = draw(st.sampled_from([*LAYOUTS_PACKED.items()]))
    channels = block * draw(st.integers(1, 3))
    sizes = {"channels": channels, "out_channels": channels, "groups": channels}
    sizes["kind"] = "depthwise"  # of height 1, where a sequence was drawn
    return replace(plain, layout=layout, **sizes)


@settings(max_examples=12)
@given(packed_specs(activations=EXACT), st.randoms(use_true_random=False))
def test_whole_numbers_are_exact(spec, random):
    check_exact(spec)
    check_exact(spec, random.choice(list(blocked.plans(spec, target.host()))))


@settings(max_examples=6)
@given(packed_specs())
def test_neither_threads_nor_the_order_of_tasks_change_a_bit(spec):
    steps.check_order(spec)


@settings(max_examples=6)
@given(packed_specs(activations=EXACT), st.integers(1, 3))
def test_it_touches_only_its_arrays(guarded, spec, runs):
    guarded.check(spec, blocked.default_plan(spec, target.host(), 1), runs=runs)


@given(packed_specs())
def test_the_oracle_is_that_of_the_plain_layout(spec):
    assert dw.parse(str(spec)) == spec
    plain = replace(spec, layout="NCHW")
    x, *operands, _ = dw.random_problem(plain)
    expected = reference.forward(plain, x, *operands)
    packed = reference.forward(spec, dw.pack_nchwc(x, spec.packed), *operands)
    assert packed.shape == spec.output_shape
    as_plain = packed.transpose(0, 1, 4, 2, 3).reshape(expected.shape)
    np.testing.assert_array_equal(as_plain, expected)
    assert dw.cost(spec) == dw.cost(plain)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize(("layout", "block"), LAYOUTS_PACKED.items())
def test_the_function_takes_packed_arrays(layout, block, kind):
    plain = dw.depthwise_conv2d(X, WEIGHT, BIAS, stride=(1, 2), padding="same", activation="relu")
    expected = dw.pack_nchwc(plain, block)
    x, weight, bias = kind(dw.pack_nchwc(X, block)), kind(WEIGHT), kind(BIAS)
    options = {"stride": (1, 2), "padding": "same", "activation": "relu", "layout": layout}
    y = dw.depthwise_conv2d(x, weight, bias, **options)
    assert type(y) is type(x)
    np.testing.assert_allclose(y, expected, 1e-5, 1e-5)
    one = dw.depthwise_conv2d(x[1], weight, bias, **options)
    np.testing.assert_array_equal(one, y[1])
    out = kind(np.empty_like(expected))
    assert dw.depthwise_conv2d(x, weight, bias, **options, out=out) is out
    np.testing.assert_array_equal(out, y)
    np.testing.assert_allclose(dw.unpack_nchwc(y, 32), plain, 1e-5, 1e-5)


def test_an_axis_that_is_no_block_is_refused_with_what_packs():
    for x in (X, X[0], dw.pack_nchwc(X, 8)):
        with pytest.raises(ArrayError, match=r"pack_nchwc\(x, 16\) makes of \(N, C, H, W\)|5 axes"):
            dw.depthwise_conv2d(x, WEIGHT, layout="NCHW16c")


@pytest.mark.parametrize(
    "text",
    [
        "depthwise c30 hw8 k3 nchw16c",
        "depthwise c32 hw8 k3 m2 nchw16c",
        "conv c32 o32 hw8 k3 nchw16c",
        "separable c32 o32 hw8 k3 nchw16c",
    ],
)
def test_what_has_no_whole_blocks_of_channels_is_refused(text):
    with pytest.raises(SpecError, match=r"whole blocks of channels \(zeros added to x, weight"):
        dw.parse(text)


def test_gradients_and_the_other_functions_have_plain_layouts():
    with pytest.raises(SpecError, match="data that is not packed"):
        dw.parse("input_gradient depthwise c32 hw8 k3 nchw16c")
    with pytest.raises(SpecError, match="layout is one of NCHW, NHWC; got 'NCHW16c'"):
        dw.pointwise_conv2d(X, WEIGHT[:, :, 0, 0], layout="NCHW16c")


def test_any_case_is_read_and_plans_are_explained_and_tuned():
    spec = dw.parse(TEXT)
    assert spec == dw.parse(TEXT.replace("nchw16c", "NCHW16c"))
    assert spec == ConvSpec.depthwise(32, (7, 6), 3, padding=1, layout="NCHW16c")
    assert [name for name, why in dw.explain(spec).items() if why is None] == ["blocked"]
    space = ConvSpace(spec, target.host())
    assert space.default.schedule == "blocked"
    assert space.size > 5
    assert "block" in dw.compile(spec).show("schedule")
