"""`causal_conv1d_fn` and `causal_conv1d_update` against the same in torch's own operators."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F  # noqa: N812

from depthwise.errors import ArrayError, DTypeError, SpecError
from depthwise.torch import causal_conv1d_fn, causal_conv1d_update, causal_ops, causal_step

DOUBLE = torch.float64
SEVERAL = torch.tensor([[0, 0, 1, 2, 2], [0, 1, 1, -1, 3]], dtype=torch.int32)


def drawn(*shape, dtype=torch.float32, grad=False):
    return torch.randn(shape, dtype=dtype, requires_grad=grad)


def reference(x, weight, bias=None, initial=None, activation=None):
    """Return (y, final) of padded sequences."""
    before = weight.shape[1] - 1 if initial is None else initial.shape[2]
    longer = F.pad(x, (before, 0)) if initial is None else torch.cat([initial, x], 2)
    y = F.conv1d(longer, weight.unsqueeze(1), bias, groups=x.shape[1])
    y = y[..., y.shape[2] - x.shape[2] :]
    return (F.silu(y) if activation else y), longer[..., longer.shape[2] - before :]


def by_sequence(x, weight, bias, seq_idx, activation):
    """Return y of rows in which `seq_idx` tells sequences apart, one after the other."""
    rows = []
    for row, numbers in zip(x, seq_idx, strict=True):
        values, lengths = numbers.unique_consecutive(return_counts=True)
        parts = row.split(lengths.tolist(), 1)
        rows.append(
            torch.cat(
                [
                    reference(part[None], weight, bias, None, activation)[0][0] * (number >= 0)
                    for part, number in zip(parts, values, strict=True)
                ],
                1,
            )
        )
    return torch.stack(rows)


def updated(x, state, weight, bias, activation, cache_seqlens):
    """Return y (N, C, L), and put states forward, which may be rings, element by element."""
    y, taps, ring = torch.empty_like(x), weight.shape[1], state.shape[2]
    for n, time in product(range(x.shape[0]), range(x.shape[2])):
        now, at = x[n, :, time], 0 if cache_seqlens is None else int(cache_seqlens[n]) + time
        places = [(at - back) % max(ring, 1) for back in range(taps - 1, 0, -1)]
        if cache_seqlens is None:
            places = range(ring - taps + 1, ring)
        window = torch.stack([*(state[n, :, place].clone() for place in places), now], 1)
        y[n, :, time] = (window * weight).sum(1) + (0 if bias is None else bias)
        if cache_seqlens is None:
            state[n] = torch.cat([state[n], now[:, None]], 1)[:, 1:]
        elif ring:
            state[n, :, at % ring] = now
    return F.silu(y) if activation else y


@st.composite
def calls(draw):
    n, c, k = draw(st.integers(1, 3)), draw(st.sampled_from((1, 6))), draw(st.sampled_from((1, 4)))
    state = draw(st.sampled_from([None, k - 1, k + 1]))
    activation = draw(st.sampled_from([None, "silu", "swish"]))
    return n, c, k, draw(st.integers(0, 20)), state, draw(st.booleans()), activation


@settings(max_examples=40, deadline=None)
@given(calls(), st.booleans())
def test_sequences_are_those_of_padded_convolutions(call, last):
    n, c, k, length, state, has_bias, activation = call
    x = drawn(n, length, c).transpose(1, 2) if last else drawn(n, c, length)
    weight, bias = drawn(c, k), drawn(c) if has_bias else None
    initial = None if state is None else drawn(n, c, state)
    y, final = causal_conv1d_fn(
        x, weight, bias, initial_states=initial, return_final_states=True, activation=activation
    )
    assert y.shape == x.shape
    assert y.stride() == x.stride() or length <= 1 or c == 1
    if length == 0:
        assert torch.equal(final, drawn(n, c, k - 1).zero_() if initial is None else initial)
        return
    expected, expected_final = reference(x, weight, bias, initial, activation)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(final, expected_final)
    out = torch.empty_like(final)
    alone = causal_conv1d_fn(x, weight, bias, None, initial, False, out, activation)
    assert torch.equal(alone, y)
    assert torch.equal(out, final)


@settings(max_examples=40, deadline=None)
@given(calls(), st.integers(0, 2**20))
def test_sequences_in_a_row_are_told_apart(call, seed):
    n, c, k, length, _, has_bias, activation = call
    length = max(length, 1)
    seq_idx = torch.randint(-1, 3, (n, length), generator=torch.manual_seed(seed)).int()
    x, weight, bias = drawn(n, c, length), drawn(c, k), drawn(c) if has_bias else None
    y = causal_conv1d_fn(x, weight, bias, seq_idx, activation=activation)
    expected = by_sequence(x, weight, bias, seq_idx, activation)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(calls(), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 2**20))
def test_states_are_put_forward_in_place(call, steps, rings, pool, seed):
    n, c, k, length, spare, has_bias, activation = call
    length, random = 1 if steps else length, torch.manual_seed(seed)
    x, weight, bias = drawn(n, c, length), drawn(c, k), drawn(c) if has_bias else None
    size, indices = k - 1 if spare is None else spare, None
    states = drawn(n + 2 if pool else n, c, size)
    lengths = torch.randint(0, 40, (n,), generator=random).int() if rings else None
    own = torch.arange(n)
    if pool:
        own = torch.randperm(n + 2, generator=random)[:n]
        indices = torch.where(torch.rand(n, generator=random) < 0.3, -1 - own, own).int()
    expected_states = states.clone()
    chosen = expected_states[own]
    expected = updated(x, chosen, weight, bias, activation, lengths)
    used = torch.ones(n, dtype=torch.bool) if indices is None else indices >= 0
    expected_states[own[used]] = chosen[used]
    given_x = x[..., 0] if steps else x
    y = causal_conv1d_update(given_x, states, weight, bias, activation, lengths, indices)
    assert y.shape == given_x.shape
    y = y.view_as(x)
    torch.testing.assert_close(y, expected * used[:, None, None], rtol=1e-4, atol=1e-5)
    assert torch.equal(states, expected_states)


def test_a_step_does_nothing_but_look_and_compute(monkeypatch):
    weight, bias = drawn(64, 4, grad=True), drawn(64, grad=True)
    wide = drawn(2, 1, 128).transpose(1, 2)
    given_x = drawn(2, 64), drawn(2, 64, 1), wide[:, 64:]
    monkeypatch.setattr("depthwise.torch.causal._update", None)
    for x, mode in product(given_x, (torch.no_grad, torch.inference_mode)):
        with mode():
            state = drawn(2, 64, 4)
            expected_state = state.clone()
            columns = x.reshape(2, 64, 1)
            expected = updated(columns, expected_state, weight, bias, "silu", None)
            version = None if state.is_inference() else state._version
            y = causal_conv1d_update(x, state, weight, bias, "silu")
            torch.testing.assert_close(y, expected.view(x.shape), rtol=1e-4, atol=1e-5)
            assert torch.equal(state, expected_state)
            assert version is None or state._version == version + 1


@pytest.mark.parametrize("activation", [None, "silu"])
@pytest.mark.parametrize("length", [0, 1, 2, 5])
def test_gradients_of_any_order(activation, length):
    torch.manual_seed(0)
    x, weight, bias = (drawn(*s, dtype=DOUBLE, grad=True) for s in ((2, 3, length), (3, 3), (3,)))
    initial = drawn(2, 3, 4, dtype=DOUBLE, grad=True)

    def with_states(x, weight, bias, initial):
        return causal_conv1d_fn(x, weight, bias, None, initial, True, activation=activation)

    def alone(x, weight):
        return causal_conv1d_fn(x, weight, return_final_states=True, activation=activation)

    for function, inputs in (with_states, (x, weight, bias, initial)), (alone, (x, weight)):
        assert gradcheck(function, inputs)
        assert gradgradcheck(function, inputs)
    if length == 5:
        numbered = lambda *three: causal_conv1d_fn(*three, SEVERAL, activation=activation)  # noqa: E731
        assert gradcheck(numbered, (x, weight, bias))
        assert gradgradcheck(numbered, (x, weight, bias))


TYPES = {torch.float32: 1e-4, DOUBLE: 1e-10, torch.bfloat16: 6e-2, torch.float16: 1e-2}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("last", [False, True])
def test_gradients_in_one_pass_are_those_that_are_recorded(dtype, last, monkeypatch):
    torch.manual_seed(0)
    passes, fused = [], causal_ops.fused
    monkeypatch.setattr(
        causal_ops, "fused", lambda *given: passes.append(fused(*given)) or passes[-1]
    )
    for length, activation, mode in product((1, 2, 9), (None, "silu"), range(3)):
        x = drawn(2, length, 6, dtype=dtype).transpose(1, 2) if last else drawn(2, 6, length)
        x = x.to(dtype).requires_grad_()
        weight, bias = drawn(6, 4, dtype=dtype, grad=True), drawn(6, dtype=dtype, grad=True)
        initial = drawn(2, 6, 5, dtype=dtype, grad=True) if mode == 1 else None
        seq_idx = torch.randint(-1, 2, (2, length)) if mode == 2 else None
        found = causal_conv1d_fn(x, weight, bias, seq_idx, initial, mode < 2, activation=activation)
        results = found if mode < 2 else (found,)
        inputs = [each for each in (x, weight, bias, initial) if each is not None]
        upper = [torch.randn_like(result) for result in results]
        once = torch.autograd.grad(results, inputs, upper, retain_graph=True)
        assert passes.pop() is not None
        recorded = torch.autograd.grad(results, inputs, upper, create_graph=True)
        assert passes.pop() is None
        for got, expected in zip(once, recorded, strict=True):
            torch.testing.assert_close(got, expected, rtol=TYPES[dtype], atol=TYPES[dtype])
        assert once[0].stride() == x.stride() or length == 1


def test_gradients_of_updates_go_through_the_states():
    x, weight, bias = (drawn(*s, dtype=DOUBLE, grad=True) for s in ((2, 3, 4), (3, 3), (3,)))
    initial = drawn(2, 3, 3, dtype=DOUBLE, grad=True)

    def stepwise(x, weight, bias, initial):
        state = initial * 1
        steps = [
            causal_conv1d_update(now[..., 0], state, weight, bias, "silu") for now in x.split(1, 2)
        ]
        return torch.stack(steps, 2), state

    assert gradcheck(stepwise, (x, weight, bias, initial))
    expected = causal_conv1d_fn(x, weight, bias, None, initial, True, activation="silu")
    torch.testing.assert_close(stepwise(x, weight, bias, initial), expected)
    with pytest.raises(ArrayError, match="gradients go through states that are all those of x"):
        causal_conv1d_update(x, initial * 1, weight, cache_seqlens=torch.zeros(2, dtype=torch.int))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_types_are_summed_in_float32(dtype):
    x, weight, bias = drawn(2, 6, 40).to(dtype), drawn(6, 4).to(dtype), drawn(6).to(dtype)
    state = drawn(2, 6, 4).to(dtype)
    wide, final = reference(*(t.float() for t in (x, weight, bias, state)), "silu")
    y = causal_conv1d_fn(x, weight, bias, initial_states=state, activation="silu")
    assert y.dtype == dtype
    torch.testing.assert_close(y, wide.to(dtype), rtol=1e-2, atol=1e-3)
    for parameters in (weight, bias), (weight.float(), bias.float()):
        before = state.clone()
        y = causal_conv1d_update(x, before, *parameters, "silu")
        torch.testing.assert_close(y, wide.to(dtype), rtol=1e-2, atol=1e-3)
        assert torch.equal(before, final.to(dtype))


def test_types_that_differ_are_computed_in_the_wider_one():
    x, weight, bias = drawn(2, 6, 9), drawn(6, 4, dtype=DOUBLE), drawn(6)
    y, final = causal_conv1d_fn(x, weight, bias, return_final_states=True, activation="silu")
    expected, _ = reference(x.double(), weight, bias.double(), None, "silu")
    assert y.dtype == final.dtype == torch.float32
    torch.testing.assert_close(y, expected.float(), rtol=1e-6, atol=1e-6)
    state = drawn(2, 6, 3, dtype=DOUBLE)
    expected, after = reference(x.double(), weight, None, state)
    torch.testing.assert_close(causal_conv1d_update(x, state, weight), expected.float())
    torch.testing.assert_close(state, after, rtol=0, atol=0)


X, WEIGHT, BIAS, STATE = torch.ones(2, 6, 5), torch.ones(6, 4), torch.ones(6), torch.ones(2, 6, 3)
WHOLE = torch.zeros(2, dtype=torch.int32)


@pytest.mark.parametrize(
    ("error", "said", "arguments"),
    [
        (ArrayError, "x is", {"x": X[0, 0]}),
        (ArrayError, "x is", {"x": X[:, :0]}),
        (ArrayError, "weight is", {"weight": WEIGHT[:5]}),
        (ArrayError, r"\.squeeze\(1\)", {"weight": WEIGHT[:, None]}),
        (ArrayError, "bias is", {"bias": BIAS[:1]}),
        (ArrayError, r"the state is .* = 3 or more", {"initial_states": STATE[..., 1:]}),
        (ArrayError, "the state is", {"initial_states": STATE[:1]}),
        (ArrayError, "final_states_out is", {"final_states_out": torch.ones(2, 6, 4)}),
        (DTypeError, "final_states_out is", {"final_states_out": STATE.int()}),
        (ArrayError, "seq_idx is", {"seq_idx": torch.zeros(2, 4, dtype=torch.int32)}),
        (DTypeError, "seq_idx has whole", {"seq_idx": torch.zeros(2, 5)}),
        (ArrayError, "no states", {"seq_idx": torch.zeros(2, 5).int(), "initial_states": STATE}),
        (SpecError, "activation is None, 'silu'", {"activation": "relu"}),
        (SpecError, "activation is", {"activation": []}),
        (DTypeError, "x is of floating", {"x": X.int(), "weight": WEIGHT.int(), "bias": None}),
    ],
)
def test_what_does_not_fit_is_refused(error, said, arguments):
    given = {"x": X, "weight": WEIGHT, "bias": BIAS} | arguments
    with pytest.raises(error, match=said):
        causal_conv1d_fn(**given)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize(
    ("error", "said", "arguments"),
    [
        (ArrayError, r"x is \(N, C\)", {"x": X[0, 0]}),
        (ArrayError, "x is", {"x": X[:, 1:1]}),
        (ArrayError, "weight is", {"weight": WEIGHT[:5]}),
        (ArrayError, "bias is", {"bias": BIAS[1:]}),
        (ArrayError, "conv_state is .*N = 2", {"x": X[:1].expand(2, 6, 5), "state": (3, 6, 3)}),
        (ArrayError, "conv_state is .*K - 1 = 3", {"state": (2, 6, 2)}),
        (ArrayError, "conv_state is", {"state": (2, 6)}),
        (DTypeError, "conv_state is of floating", {"dtype": torch.int32}),
        (ArrayError, "cache_seqlens is", {"cache_seqlens": WHOLE[:1]}),
        (DTypeError, "cache_seqlens has whole", {"cache_seqlens": WHOLE.float()}),
        (ArrayError, "conv_state_indices is", {"conv_state_indices": WHOLE[None]}),
        (SpecError, "activation is", {"activation": "relu"}),
    ],
)
def test_updates_that_do_not_fit_are_refused_and_states_stay(error, said, arguments, grad):
    given = {"x": X, "weight": WEIGHT.clone().requires_grad_(grad), "bias": BIAS} | arguments
    state = torch.ones(given.pop("state", (2, 6, 3)), dtype=given.pop("dtype", torch.float32))
    for steps in (given["x"], given["x"][..., 0]):
        with pytest.raises(error, match=said):
            causal_conv1d_update(conv_state=state, **(given | {"x": steps}))
    assert bool((state == 1).all())


@pytest.mark.parametrize(
    ("indices", "said"), [([0, 5], r"5 states.*\[5\]"), ([3, 3], "a state of its own")]
)
@pytest.mark.parametrize("rings", [None, WHOLE])
def test_indices_that_do_not_fit_are_refused_and_states_stay(indices, said, rings):
    state, numbers = torch.ones(5, 6, 3), torch.tensor(indices, dtype=torch.int32)
    with pytest.raises(ArrayError, match=said):
        causal_conv1d_update(X, state, WEIGHT, BIAS, None, rings, numbers)
    assert bool((state == 1).all())


def test_a_state_that_shares_memory_with_x_is_refused():
    state = torch.ones(2, 6, 4)
    for x in (state[..., 0].contiguous(), state[..., 0]):
        shared = x.untyped_storage().data_ptr() == state.untyped_storage().data_ptr()
        if shared:
            with pytest.raises(ArrayError, match="shares no memory"):
                causal_conv1d_update(x, state, WEIGHT)
            assert bool((state == 1).all())
        else:
            causal_conv1d_update(x, state.clone(), WEIGHT)
    assert causal_step.update(X.bool(), state, WEIGHT, None, None) is None
