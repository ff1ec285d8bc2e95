"""Attention as a problem: against the oracle and torch, and what it touches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812 (the name that everyone gives it)

import depthwise as dw
import steps
from depthwise.errors import ParseError, SpecError
from depthwise.problem import reference
from depthwise.problem.attention import AttentionSpec
from strategies import attention_specs


@settings(max_examples=60)
@given(attention_specs(), st.integers(1, 3))
@example(dw.parse("attention n2 c15 o21 h3 w67 keys49 heads3 nhwc bias scale0.5"), 1)
@example(dw.parse("attention n4 c32 hw7 keys49 heads2 nhwc biases2"), 2)
@example(dw.parse("attention c64 o128 h7 w28 keys197 heads4 nhwc float64 bias"), 2)
@example(dw.parse("attention c36 o9 hw1 keys1 nhwc"), 3)
@example(dw.parse("attention c16 hw6 keys9001 nhwc"), 2)
def test_kernels_compute_what_the_oracle_does(spec: AttentionSpec, threads: int) -> None:
    *given, out = dw.random_problem(spec)
    dw.compile(spec)(*given, out=out, threads=threads)
    np.testing.assert_allclose(out, reference.forward(spec, *given), *reference.tolerance(spec))


@settings(max_examples=20)
@given(attention_specs(), st.integers(1, 3))
@example(dw.parse("attention n2 c3 o3 hw9 keys5 heads3 nhwc bias"), 2)
def test_kernels_touch_only_their_arrays(guarded, spec: AttentionSpec, runs: int) -> None:
    guarded.check(spec, runs=runs)


@pytest.mark.parametrize("line", ["c24 o36 hw13 keys31 heads2", "c16 hw7 keys50 heads1"])
def test_threads_and_the_order_of_tasks_change_nothing(line: str) -> None:
    steps.check_order(dw.parse(f"attention {line} nhwc"))


@given(attention_specs())
def test_a_line_is_read_back(spec: AttentionSpec) -> None:
    assert dw.parse(str(spec)) == spec


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_computes_the_same(dtype: str, bias: bool) -> None:
    spec = dw.parse(f"attention n2 c48 o72 hw9 keys33 heads3 nhwc {dtype}{' bias' * bias}")
    *given, _ = dw.random_problem(spec)

    def heads(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).reshape(2, -1, 3, array.shape[-1] // 3).transpose(1, 2)

    mask = torch.from_numpy(given[3]).transpose(2, 3) if bias else None
    made = F.scaled_dot_product_attention(*map(heads, given[:3]), attn_mask=mask)
    wanted = made.transpose(1, 2).reshape(spec.output_shape)
    got = dw.compile(spec)(*given)
    np.testing.assert_allclose(got, wanted.numpy(), *reference.tolerance(spec))


def test_one_key_has_all_the_weight() -> None:
    spec = dw.parse("attention c20 o23 hw5 keys1 nhwc")
    *given, _ = dw.random_problem(spec)
    y = dw.compile(spec)(*given)
    np.testing.assert_array_equal(y, np.broadcast_to(given[2], y.shape))


def test_scores_whose_exponentials_are_no_numbers() -> None:
    spec = dw.parse("attention c8 o24 hw9 keys21 nhwc scale1.0")
    x, key, value, _ = dw.random_problem(spec)
    x, key = np.round(x * 2) * 64, np.round(key * 2)  # of which scores are exact
    scores = np.einsum("hwc,lc->hwl", x[0], key[0, :, 0])
    assert scores.max(axis=-1).min() > 88
    wanted = reference.forward(spec, x, key, value)
    np.testing.assert_allclose(dw.compile(spec)(x, key, value), wanted, rtol=1e-5, atol=1e-6)


def test_a_bias_of_no_weight_at_all() -> None:
    """As in torch: keys that have none are left out, and where no key has any there is no mean."""
    spec = dw.parse("attention c16 o6 hw5 keys19 heads2 nhwc bias")
    *given, bias, _ = dw.random_problem(spec)
    bias[np.random.default_rng(0).random(bias.shape) < 0.5] = -np.inf
    bias[0, 1, :, 7] = -np.inf
    y = dw.compile(spec)(*given, bias)
    np.testing.assert_allclose(
        y, reference.forward(spec, *given, bias), *reference.tolerance(spec), equal_nan=True
    )
    assert [0, 1, 2] in np.argwhere(np.isnan(y[..., 3])).tolist()


def test_what_is_no_number_stays_in_its_pixel() -> None:
    spec = dw.parse("attention c8 o16 hw5 keys9 heads2 nhwc")
    x, key, value, _ = dw.random_problem(spec)
    x[0, 2, 3, 5] = np.nan
    y = dw.compile(spec)(x, key, value)
    assert np.argwhere(np.isnan(y)).tolist() == [[0, 2, 3, c] for c in range(8, 16)]
    key[0, 4, 0, 0] = np.nan
    y = dw.compile(spec)(x, key, value)
    assert np.isnan(y[..., :8]).all()
    assert np.isnan(y[..., 8:]).sum() == 8


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        ("attention c4 hw9 keys5", ParseError, "attention is of nhwc images"),
        ("attention c4 hw9 nhwc", ParseError, "attention needs keys"),
        ("attention c4 hw9 keys5 keys5 nhwc", ParseError, "keys is given once; got 'keys5'"),
        ("attention hw9 keys5 nhwc", ParseError, r"attention needs c \(channels\)"),
        ("attention c4 hw9 keys5 nhwc relu", ParseError, "attention has no activation"),
        ("attention c4 hw9 keysx nhwc", ParseError, "'keysx' is not a token"),
        ("attention c4 hw9 keys5 heads3 nhwc", SpecError, "heads divide the channels"),
        ("attention c4 o6 hw9 keys5 heads4 nhwc", SpecError, "heads divide the channels"),
        ("attention c4 hw9 keys0 nhwc", SpecError, "sizes are at least 1; got keys=0"),
        ("attention c4 hw9 keys5 heads0 nhwc", SpecError, "sizes are at least 1; got heads=0"),
        ("attention c4 hw9 keys5 heads-2 nhwc", SpecError, "sizes are at least 1; got heads=-2"),
        ("attention c0 hw9 keys5 nhwc", SpecError, "sizes are at least 1; got c=0 o=0"),
        ("attention c4 hw9 keys5 biases-1 nhwc", SpecError, "biases are none or some; got -1"),
        ("attention c4 hw9 keys5 biases2 bias nhwc", ParseError, "bias is one, biases are several"),
        ("attention c4 hw9999 keys99999 nhwc bias", SpecError, "no array has more than"),
    ],
)
def test_what_is_no_attention_is_refused(line: str, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        dw.parse(line)


def test_cost() -> None:
    cost = dw.cost("attention n2 c64 o128 hw14 keys49 heads4 nhwc bias")
    assert (cost.macs, cost.params) == (2 * 196 * 49 * (64 + 128), 4 * 49 * 196)
    assert cost.bytes == 4 * (2 * (196 + 49) * (64 + 128) + cost.params)
