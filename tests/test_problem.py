"""Test data: shapes, scale, and the same numbers for the same seed."""

import numpy as np
import pytest
from hypothesis import given

import depthwise as dw
from depthwise.errors import ParseError, SpecError
from depthwise.problem import reference
from depthwise.problem.data import random_problem
from depthwise.problem.problem import Problem
from strategies import specs

SPEC = dw.parse("separable n2 c24 o40 hw14 k3 p1 nhwc bias relu/none residual")


@given(specs())
def test_arrays_come_in_the_order_of_a_call(spec: Problem) -> None:
    arrays = random_problem(spec)
    shapes = [spec.input_shape, *spec.operands.values(), spec.output_shape]
    assert [array.shape for array in arrays] == shapes
    kinds = [spec.dtype_of(name) for name in (*spec.array_names, "y")]
    assert [str(array.dtype) for array in arrays] == kinds
    assert all(array.flags.c_contiguous and array.flags.writeable for array in arrays)
    assert all(np.isfinite(array).all() for array in arrays[:-1])
    assert (np.isnan(arrays[-1]) if "float" in kinds[-1] else arrays[-1] == 77).all()


def test_the_same_seed_gives_the_same_numbers() -> None:
    first, again, other = (random_problem(SPEC, seed) for seed in (7, 7, 8))
    for one, same, different in zip(first[:-1], again, other, strict=False):
        np.testing.assert_array_equal(one, same)
        assert not np.isclose(one, different).all()


def test_the_numbers_are_those_of_numpy_default_rng() -> None:
    x, weight, _ = random_problem("depthwise c1 h1 w2 k1x2 float64")
    np.testing.assert_allclose(x.ravel(), [0.1257302210933933, -0.1321048632913019], rtol=1e-14)
    expected = np.array([0.6404226504432821, 0.10490011715303971]) / np.sqrt(2)
    np.testing.assert_allclose(weight.ravel(), expected, rtol=1e-14)


def test_both_element_types_have_the_same_numbers() -> None:
    single = random_problem("depthwise c5 hw9 k3 bias")
    double = random_problem("depthwise c5 hw9 k3 bias float64")
    for narrow, wide in zip(single, double, strict=True):
        np.testing.assert_array_equal(narrow, wide.astype(np.float32))


@pytest.mark.parametrize(
    "text", ["depthwise c64 hw16 k7 p3", "pointwise c512 o64 hw8", "separable c64 o64 hw16 k3 p1"]
)
def test_outputs_have_the_scale_of_the_inputs(text: str) -> None:
    x, *operands, _ = random_problem(text)
    y = reference.forward(dw.parse(text), x, *operands)
    assert 0.7 < x.std() < 1.3
    assert 0.7 < y.std() < 1.3


@pytest.mark.parametrize(
    "text", ["input_gradient depthwise n2 c64 hw16 k7 p3", "weight_gradient depthwise c64 hw32 k3"]
)
def test_gradients_have_the_scale_of_the_inputs(text: str) -> None:
    arrays = random_problem(text)[:-1]
    assert 0.7 < reference.forward(dw.parse(text), *arrays).std() < 1.3


def test_every_result_of_training_has_the_scale_of_what_it_is_summed_from() -> None:
    text = "training depthwise c64 hw32 k3 p1 bias"
    x, weight, bias, grad, _ = random_problem(text)
    y = reference.forward(dw.parse(text), x, weight, bias, grad)
    parameters = y[-64 * 10 :]
    assert 0.7 < x.std() < 1.3
    assert 0.7 < parameters.std() < 1.3
    assert 0.7 < grad.std() * 32 < 1.3


@pytest.mark.parametrize("seed", [-1, 1.5, None, "3", True, 2**40])
def test_what_is_not_a_seed_is_refused(seed: object) -> None:
    with pytest.raises(SpecError, match="seed is"):
        random_problem(SPEC, seed)  # type: ignore[arg-type]


@pytest.mark.parametrize("problem", [None, 3, "depthwise", ["depthwise c4 hw5 k3"]])
def test_what_is_not_a_problem_is_refused(problem: object) -> None:
    with pytest.raises(ParseError):
        random_problem(problem)  # type: ignore[arg-type]
