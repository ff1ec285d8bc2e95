"""The mean of pixels and the norm of channels: against the oracle, and what they touch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812 (the name that everyone gives it)

import depthwise as dw
import steps
from depthwise.errors import ParseError, PlanError, SpecError
from depthwise.problem import reference
from depthwise.problem.pixels import PixelSpec
from strategies import pixel_specs


@settings(max_examples=25)
@given(pixel_specs())
def test_results_are_the_oracles(spec):
    x, *operands, out = dw.random_problem(spec)
    dw.compile(spec)(x, *operands, out=out)
    rtol, atol = reference.tolerance(spec)
    np.testing.assert_allclose(out, reference.forward(spec, x, *operands), rtol, atol)


@settings(max_examples=8)
@given(pixel_specs())
def test_neither_threads_nor_the_order_of_tasks_change_a_bit(spec):
    steps.check_order(spec)


@settings(max_examples=10)
@given(pixel_specs(), st.integers(1, 3))
def test_only_their_arrays_are_touched(guarded, spec, runs):
    guarded.check(spec, None, runs=runs)


def test_the_oracle_is_what_torch_computes():
    spec = dw.parse("norm n2 c7 h3 w5 nhwc eps0.001 float64")
    x, weight, bias, _ = dw.random_problem(spec)
    expected = F.layer_norm(
        *map(torch.from_numpy, (x,)), (7,), *map(torch.from_numpy, (weight, bias)), 0.001
    )
    np.testing.assert_allclose(reference.forward(spec, x, weight, bias), expected, 1e-12, 1e-12)
    spec = dw.parse("mean n2 c7 h3 w5 nhwc float64")
    x, _ = dw.random_problem(spec)
    expected = torch.from_numpy(x).mean((1, 2), keepdim=True)
    np.testing.assert_allclose(reference.forward(spec, x), expected, 1e-12, 1e-12)


def test_costs_count_bytes_and_no_products():
    cost = dw.cost("norm c96 hw56 nhwc eps1e-6")
    assert (cost.macs, cost.params, cost.bytes) == (0, 192, 4 * (2 * 96 * 56 * 56 + 192))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("mean c8 hw7", ParseError),
        ("mean hw7 nhwc", ParseError),
        ("mean c8 hw7 k3 nhwc", ParseError),
        ("mean c8 hw7 nhwc eps1e-6", SpecError),
        ("norm c0 hw7 nhwc", SpecError),
    ],
)
def test_what_cannot_be_is_refused(text, error):
    with pytest.raises(error, match=r"mean|norm"):
        dw.parse(text)


@pytest.mark.parametrize("epsilon", [-1.0, float("inf"), float("nan"), "a", None, True, 10**400])
def test_an_epsilon_is_a_finite_number(epsilon):
    with pytest.raises(SpecError, match=r"epsilon is 0 or more, a finite number; got .*: norm c8"):
        PixelSpec(kind="norm", channels=8, height=7, width=7, epsilon=epsilon)


@pytest.mark.parametrize("epsilon", [1e-300, 1e16, 123456.75, 3])
def test_a_line_has_any_epsilon(epsilon):
    spec = PixelSpec(kind="norm", channels=8, height=7, width=7, epsilon=epsilon)
    assert dw.parse(str(spec)) == spec


def test_they_are_explained_and_shown():
    spec = "mean c8 hw7 nhwc"
    assert dw.explain(spec) == {"pixel_passes": None}
    kernel = dw.compile(spec)
    assert "T.reads" in kernel.show("definition")
    assert "kernel" in kernel.show("llvm")
    with pytest.raises(PlanError):
        dw.compile(spec, "default")


@pytest.mark.parametrize("line", ["c64 hw9", "c60 hw9 g3", "c7 hw9 g7"])
def test_norms_of_large_numbers_that_differ_little(line):
    """What is subtracted is the mean, not the square of the mean from the mean of the squares."""
    spec = dw.parse(f"groupnorm {line} nhwc eps1e-05")
    x, weight, bias, _ = dw.random_problem(spec)
    x += 4096
    expected = reference.forward(spec, x, weight, bias)
    np.testing.assert_allclose(dw.compile(spec)(x, weight, bias), expected, 1e-3, 1e-3)


@pytest.mark.parametrize("over", ["", " channels"])
def test_a_nan_is_the_largest_of_all(over):
    x = np.zeros((1, 5, 5, 81), np.float32)
    x[0, 2, 2, 3] = np.nan
    y = dw.compile(f"max c81 hw5 nhwc{over}")(x)
    assert np.argwhere(np.isnan(y)).tolist() == [[0, 2, 2, 0] if over else [0, 0, 0, 3]]
    least = dw.compile(f"max c81 hw5 nhwc{over}")(np.full_like(x, -np.inf))
    np.testing.assert_array_equal(least, -np.inf)
