"""What passes for rounding when a network is held against its model, and what does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from depthwise.errors import ModelError
from depthwise.network.agreement import ROUNDINGS, granted
from depthwise.torch.network.agreement import Agreement
from models import Call

X = (torch.randn(2, 3, generator=torch.Generator().manual_seed(0)),)
EPS = torch.finfo(torch.float32).eps


def test_differences_are_relative_to_the_largest_output():
    found = Agreement(Call(lambda x: 1000 * x), X).differences(
        lambda x: 1000 * x + x.abs().max() / 500
    )
    assert found["largest_difference_given"] == pytest.approx(2e-6, rel=0.2)
    assert found["largest_difference_random"] == pytest.approx(2e-6, rel=0.2)
    assert found["tolerance"] == ROUNDINGS * EPS


def test_the_tolerance_grows_with_the_depth_and_with_the_type():
    deep = nn.Sequential(*(nn.Linear(3, 3) for _ in range(9)))
    assert Agreement(deep, X).tolerance == 3 * ROUNDINGS * EPS
    wide = Agreement(deep.double(), (X[0].double(),))
    assert wide.tolerance == 3 * ROUNDINGS * torch.finfo(torch.float64).eps


def test_models_that_cancel_what_they_computed_may_differ_by_more():
    model = Call(lambda x: (x + 1e5) - 1e5)
    found = Agreement(model, X).differences(lambda x: x)
    assert found["tolerance"] > found["largest_difference_given"] > 1e-4
    with pytest.raises(ModelError, match="but for rounding"):
        Agreement(model, X).differences(lambda x: 1.1 * x)


def test_a_model_that_does_not_run_in_float64_has_the_tolerance_of_its_depth():
    weight = torch.eye(3)
    agreement = Agreement(Call(lambda x: x @ weight), X)
    with pytest.raises(ModelError, match=r"at most 7\.6e-06\); got 1\.0e-03"):
        agreement.differences(lambda x: 1.001 * x)


def test_a_model_that_computes_something_else_each_time_is_refused():
    model = Call(lambda x: x + torch.rand(1))
    with pytest.raises(ModelError, match="computes the same each time"):
        Agreement(model, X).differences(model)


@pytest.mark.parametrize(
    "other",
    [
        lambda x: [x],
        lambda x: [x, x[:1]],
        lambda x: [x, None],
        lambda x: [x, x, x],
        lambda x: [x, x + math.nan],
        lambda x: [x, x * 1.001],
    ],
)
def test_other_results_are_refused(other):
    with pytest.raises(ModelError, match="but for rounding"):
        Agreement(Call(lambda x: [x, x]), X).differences(other)


def test_what_is_no_number_in_both_agrees():
    def results(x):
        return torch.stack([x, x / 0 * 0]), torch.full_like(x, math.nan), x.argmax(), 3

    found = Agreement(Call(results), X).differences(results)
    assert found["largest_difference_given"] == 0


@pytest.mark.parametrize(("moved", "within"), [(1.0, 0.05), (1.04, 0.08), (1.3, 0.1)])
def test_quantized_networks_may_differ_by_units_and_no_further(moved: float, within: float):
    results = [np.ones(3, np.float32)]
    found = granted(5, results, [np.float32(moved) * results[0]], quantized=True)
    assert found == pytest.approx(within, rel=1e-4)
