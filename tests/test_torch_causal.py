"""`causal_conv1d_fn` and `causal_conv1d_update` against the same in torch's own operators."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812

from depthwise.torch import causal_conv1d_fn

DOUBLE = torch.float64


def drawn(*shape, dtype=torch.float32, grad=False):
    return torch.randn(shape, dtype=dtype).requires_grad_(grad)


def reference(x, weight, bias=None, initial=None, activation=None, state=None):
    """Return (y, final) of padded sequences."""
    before = weight.shape[1] - 1 if initial is None else initial.shape[2]
    initial = x.new_zeros(*x.shape[:2], before) if initial is None else initial
    longer = torch.cat([initial, x], 2)
    final = longer[..., longer.shape[2] - (before if state is None else state) :]
    y = F.conv1d(longer, weight.unsqueeze(1), bias, groups=x.shape[1])[..., -x.shape[2] :]
    return (F.silu(y) if activation else y), final


def by_sequence(x, weight, bias, seq_idx, activation):
    """Return y of rows in which `seq_idx` tells sequences apart, one after the other."""
    rows = []
    for row, numbers in zip(x, seq_idx, strict=True):
        lengths = numbers.unique_consecutive(return_counts=True)
        parts = []
        for part, number in zip(row.split(lengths[1].tolist(), 1), lengths[0], strict=True):
            y = reference(part[None], weight, bias, None, activation)[0][0]
            parts.append(y * (number >= 0))
        rows.append(torch.cat(parts, 1))
    return torch.stack(rows)


def stepped(x, state, weight, bias, activation, cache_seqlens=None):
    """Put states forward, which are rings where `cache_seqlens` is given, one step at a time."""
    steps = []
    for time in range(x.shape[2]):
        now = x[..., time]
        if cache_seqlens is None:
            window = torch.cat([state, now[..., None]], 2)
            state.copy_(window[..., 1:])
            window = window[..., -weight.shape[1] :]
        else:
            at = cache_seqlens + time
            for n in range(len(x)):
                state[n, :, at[n] % state.shape[2]] = now[n]
            places = (at[:, None] + torch.arange(1 - weight.shape[1], 1)) % max(1, state.shape[2])
            window = torch.stack([state[n][:, places[n]] for n in range(len(x))])
            if state.shape[2] == weight.shape[1] - 1:
                window = None
        steps.append(window)
    return steps


@st.composite
def calls(draw):
    n, c, k = draw(st.integers(1, 3)), draw(st.integers(1, 9)), draw(st.integers(1, 6))
    length = draw(st.integers(0, 20))
    state = draw(st.none() | st.integers(k - 1, k + 2))
    last, bias = draw(st.booleans()), draw(st.booleans())
    activation = draw(st.sampled_from([None, "silu", "swish"]))
    return n, c, k, length, state, last, bias, activation


@settings(max_examples=60, deadline=None)
@given(calls())
def test_sequences_are_those_of_padded_convolutions(call):
    n, c, k, length, state, last, has_bias, activation = call
    x = drawn(n, length, c).transpose(1, 2) if last else drawn(n, c, length)
    weight, bias = drawn(c, k), drawn(c) if has_bias else None
    initial = None if state is None else drawn(n, c, state)
    y, final = causal_conv1d_fn(
        x, weight, bias, initial_states=initial, return_final_states=True, activation=activation
    )
    assert y.shape == x.shape
    if length > 1 and c > 1:
        assert y.stride() == x.stride()
    if length == 0:
        expected_final = drawn(0) if initial is None else initial
        torch.testing.assert_close(final, torch.zeros(n, c, k - 1) if state is None else initial)
        return
    expected, expected_final = reference(x, weight, bias, initial, activation)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(final, expected_final, rtol=0, atol=0)
    alone = causal_conv1d_fn(x, weight, bias, initial_states=initial, activation=activation)
    torch.testing.assert_close(alone, y, rtol=0, atol=0)
