"""Gradients of causal convolutions: kernels against the oracle, the function against autograd."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812 (the name that everyone gives it)

import depthwise as dw
import steps
from depthwise.errors import ArrayError, DTypeError, ParseError, SpecError
from depthwise.functions.causal_gradients import causal_conv1d_gradients
from depthwise.problem import reference
from depthwise.problem.causal_gradient import CausalGradientSpec
from strategies import causal_gradient_specs


@settings(max_examples=60)
@given(causal_gradient_specs(), st.integers(1, 3))
@example(dw.parse("causal_gradient causal n2 c5 l1100 k4 bias silu state3"), 2)
@example(dw.parse("causal_gradient causal n2 c300 l40 k4 nlc bias silu state5"), 2)
@example(dw.parse("causal_gradient causal c2 l300 k3 d300 state600 float64"), 1)
@example(dw.parse("causal_gradient causal c2 l30 k3 d30 nlc state60 relu"), 1)
@example(dw.parse("causal_gradient causal c3 l40 k33 sigmoid bias"), 1)
@example(dw.parse("causal_gradient causal c19 l40 k4 bfloat16 bias silu state3"), 2)
@example(dw.parse("causal_gradient causal c19 l40 k4 nlc float16 bias silu state3"), 2)
def test_kernels_compute_what_the_oracle_does(spec: CausalGradientSpec, threads: int) -> None:
    *given, out = dw.random_problem(spec)
    kernel = dw.compile(spec)
    steps.run_on_team(kernel, threads, given[0], kernel.pack(given[1:]), out)
    wanted = reference.forward(spec, *given)
    np.testing.assert_allclose(out, wanted, *reference.tolerance(spec))


@settings(max_examples=20)
@given(causal_gradient_specs(), st.integers(1, 3))
def test_kernels_touch_only_their_arrays(guarded, spec: CausalGradientSpec, runs: int) -> None:
    guarded.check(spec, runs=runs)


@pytest.mark.parametrize("line", ["n3 c70 l33 k4 silu", "n2 c600 l40 k4 nlc state5"])
def test_threads_and_the_order_of_tasks_change_nothing(line: str) -> None:
    steps.check_order(dw.parse(f"causal_gradient causal {line}"))


@given(causal_gradient_specs())
def test_a_line_is_read_back(spec: CausalGradientSpec) -> None:
    assert dw.parse(str(spec)) == spec


def test_what_is_no_problem() -> None:
    with pytest.raises(ParseError, match="is followed by causal"):
        dw.parse("causal_gradient depthwise1d c4 l9 k4")
    with pytest.raises(SpecError, match="no activation, or one of relu, silu, sigmoid"):
        dw.parse("causal_gradient causal c4 l9 k4 gelu")


def arrays(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("layout", ["NCL", "NLC"])
@pytest.mark.parametrize(("length", "state"), [(1, 6), (5, 8), (40, 6), (300, 7)])
def test_autograd_finds_the_same(length: int, state: int, layout: str, turned: bool) -> None:
    given = arrays(2, 5, length), arrays(5, 4), arrays(5), arrays(2, 5, state)
    x, weight, bias, initial = (torch.from_numpy(each).requires_grad_() for each in given)
    grad = arrays(2, 5, length)
    before = torch.cat([initial, x], 2)[:, :, state - 6 :]
    y = F.silu(F.conv1d(before, weight[:, None], bias, dilation=2, groups=5))
    wanted = torch.autograd.grad(y, (x, weight, bias, initial), torch.from_numpy(grad))

    def laid(array: np.ndarray) -> np.ndarray:
        """Lay sequences out as the layout says, in the order in memory of the other one if so."""
        ordered = array.transpose(0, 2, 1) if layout == "NLC" else array
        if not turned:
            return ordered.copy()
        return ordered.transpose(0, 2, 1).copy().transpose(0, 2, 1)

    found = causal_conv1d_gradients(
        laid(grad), laid(given[0]), given[1], given[2], activation="silu",
        initial_state=laid(given[3]), layout=layout, dilation=2,
    )  # fmt: skip
    of_x, of_weight, of_bias, of_state = (each.numpy() for each in wanted)
    np.testing.assert_allclose(found.x, laid(of_x), atol=1e-12)
    np.testing.assert_allclose(found.weight[:, 0], of_weight, atol=1e-11)
    np.testing.assert_allclose(found.bias, of_bias, atol=1e-11)
    np.testing.assert_allclose(found.state, laid(of_state), atol=1e-12)


def test_sequences_behind_one_another_are_as_each_alone() -> None:
    x, weight, grad = arrays(1, 7, 30), arrays(7, 4), arrays(1, 7, 30) + 1
    ends, state = np.array([0, 5, 5, 6, 30]), arrays(4, 7, 3)
    whole = causal_conv1d_gradients(grad, x, weight, initial_state=state, cu_seqlens=ends)
    numbers = np.repeat([[0, 1, 2]], [5, 1, 24], axis=1)
    without = causal_conv1d_gradients(grad, x, weight, seq_idx=numbers)
    of_weight = of_weight_without = 0
    for number, (start, end) in enumerate(pairwise(ends)):
        run, own = np.s_[:, :, start:end], state[number : number + 1]
        one = causal_conv1d_gradients(grad[run], x[run], weight, initial_state=own)
        np.testing.assert_allclose(whole.x[run], one.x, atol=1e-12)
        np.testing.assert_allclose(whole.state[number : number + 1], one.state, atol=1e-12)
        of_weight = of_weight + one.weight
        alone = causal_conv1d_gradients(grad[run], x[run], weight)
        np.testing.assert_allclose(without.x[run], alone.x, atol=1e-12)
        of_weight_without = of_weight_without + alone.weight
    np.testing.assert_allclose(whole.weight, of_weight, atol=1e-12)
    np.testing.assert_allclose(without.weight, of_weight_without, atol=1e-12)


def test_nothing_has_no_gradients() -> None:
    found = causal_conv1d_gradients(arrays(2, 3, 0), arrays(2, 3, 0), arrays(3, 4), arrays(3))
    assert found.x.shape == (2, 3, 0)
    assert not found.weight.any()
    assert not found.bias.any()
    assert found.state is None


def test_a_gradient_that_is_none_of_the_result() -> None:
    with pytest.raises(ArrayError, match="grad has the shape and type of x"):
        causal_conv1d_gradients(arrays(2, 3, 4), arrays(2, 3, 5), arrays(3, 4))
    with pytest.raises(DTypeError, match="weight has the dtype of x"):
        causal_conv1d_gradients(arrays(2, 3, 5), arrays(2, 3, 5), arrays(3, 4).astype(np.float32))
