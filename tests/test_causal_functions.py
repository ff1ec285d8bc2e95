"""`causal_conv1d` and `causal_conv1d_update`: sequences, chunks and states however they lie."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import depthwise as dw
from depthwise.errors import ArrayError, DTypeError, SpecError
from depthwise.problem import reference
from depthwise.problem.causal import CausalSpec
from depthwise.problem.oracle.causal import final_state
from strategies import causal_specs

Array = NDArray[Any]
SPECS = causal_specs(length=24, kernel=9, channels=20)
C, K = 7, 4
WEIGHT, BIAS = np.random.default_rng(1).standard_normal((2, C, K), np.float32)
BIAS = BIAS[:, 0].copy()


def arrays_of(spec: CausalSpec) -> dict[str, Array]:
    """Return the arrays of a problem by name, a state among them."""
    *arrays, _ = dw.random_problem(spec)
    return dict(zip(spec.array_names, arrays, strict=True))


def how(spec: CausalSpec) -> dict[str, Any]:
    """Return the arguments of a problem beside its arrays."""
    return {
        "activation": spec.activation, "layout": spec.layout, "dilation": spec.dilation,
    }  # fmt: skip


def with_state(spec: CausalSpec) -> CausalSpec:
    return replace(spec, state=max(spec.state, spec.before, 1))


def sequences(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def whole(x: Array, state: Array | None = None, **attributes: Any) -> Array:
    """Return what the oracle makes of x (N, C, L)."""
    spec = CausalSpec(
        channels=x.shape[1], length=x.shape[2], kernel=K, batch=len(x), bias=True,
        state=0 if state is None else state.shape[2], **attributes,
    )  # fmt: skip
    states = [] if state is None else [state]
    return reference.forward(spec, x, WEIGHT[:, None], BIAS, *states)


def close(got: Any, expected: Array) -> None:
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


@settings(max_examples=40)
@given(SPECS, st.booleans(), st.integers(1, 3))
def test_functions_compute_what_the_oracle_does(
    spec: CausalSpec, of_three_axes: bool, threads: int
) -> None:
    spec = with_state(spec)
    given = arrays_of(spec)
    expected, left = reference.forward(spec, *given.values()), final_state(spec, given)
    weight = given["weight"] if of_three_axes else given["weight"][:, 0]
    x, bias, before = given["x"], given.get("bias"), given["state"].copy()
    y, final = dw.causal_conv1d(
        x, weight, bias, initial_state=given["state"], return_final_state=True, threads=threads,
        **how(spec),
    )  # fmt: skip
    np.testing.assert_allclose(y, expected, *reference.tolerance(spec))
    np.testing.assert_array_equal(final, left)
    np.testing.assert_array_equal(given["state"], before)
    again = dw.causal_conv1d_update(x, given["state"], weight, bias, threads=threads, **how(spec))
    np.testing.assert_array_equal(again, y)
    np.testing.assert_array_equal(given["state"], left)


@settings(max_examples=30)
@given(SPECS, st.data())
def test_chunks_cut_anywhere_are_the_whole_to_the_last_bit(
    spec: CausalSpec, data: st.DataObject
) -> None:
    spec = with_state(spec)
    given, time = arrays_of(spec), spec.layout.index("L")
    x, weight, bias = given["x"], given["weight"], given.get("bias")
    cuts = sorted(data.draw(st.lists(st.integers(0, spec.length), max_size=4)))
    starts_with_zeros = data.draw(st.booleans())
    state = np.zeros_like(given["state"]) if starts_with_zeros else given["state"].copy()
    initial = None if starts_with_zeros else state.copy()
    expected, left = dw.causal_conv1d(
        x, weight, bias, initial_state=initial, return_final_state=True, **how(spec)
    )
    pieces = [
        dw.causal_conv1d_update(piece, state, weight, bias, **how(spec))
        for piece in np.split(x, cuts, axis=time)
    ]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=time), expected)
    last = [slice(None)] * 3
    last[time] = slice(state.shape[time] - left.shape[time], None)
    np.testing.assert_array_equal(state[tuple(last)], left)


@pytest.mark.parametrize("layout", ["NCL", "NLC"])
def test_steps_of_two_axes_are_steps_of_three(layout: str) -> None:
    x, state = sequences(5, C), sequences(5, C, 6).copy()
    axis = layout.index("L")
    state = state if layout == "NCL" else np.ascontiguousarray(state.swapaxes(1, 2))
    again = state.copy()
    y = dw.causal_conv1d_update(x, state, WEIGHT, BIAS, layout=layout, activation="silu")
    three = np.expand_dims(x, axis)
    y3 = dw.causal_conv1d_update(three, again, WEIGHT, BIAS, layout=layout, activation="silu")
    assert y.shape == x.shape
    assert y3.shape == three.shape
    np.testing.assert_array_equal(y, y3.squeeze(axis))
    np.testing.assert_array_equal(state, again)


def test_no_state_is_one_of_zeros() -> None:
    x = sequences(2, C, 9)
    plain, left = dw.causal_conv1d(x, WEIGHT, BIAS, return_final_state=True)
    zeros = np.zeros((2, C, K - 1), np.float32)
    of_zeros, as_left = dw.causal_conv1d(
        x, WEIGHT, BIAS, initial_state=zeros, return_final_state=True
    )
    np.testing.assert_array_equal(plain, of_zeros)
    np.testing.assert_array_equal(left, as_left)
    np.testing.assert_array_equal(plain, dw.causal_conv1d(x, WEIGHT, BIAS))
    np.testing.assert_array_equal(plain[0], dw.causal_conv1d(x[0], WEIGHT, BIAS))
    close(plain, whole(x))


@pytest.mark.parametrize("x_layout", ["NCL", "NLC"])
@pytest.mark.parametrize("length", [0, 1, 2, 9])
def test_sequences_shorter_than_the_kernel_and_none_at_all(length: int, x_layout: str) -> None:
    turned = x_layout == "NLC"
    x, state = sequences(2, C, length), sequences(2, C, 5)
    given = (np.ascontiguousarray(a.swapaxes(1, 2)) if turned else a for a in (x, state))
    sequence, before = given
    y, final = dw.causal_conv1d(
        sequence, WEIGHT, BIAS, initial_state=before, return_final_state=True, layout=x_layout
    )
    assert y.shape == sequence.shape
    assert final.shape == before.shape
    together = np.concatenate([state, x], axis=2)[:, :, -5:]
    np.testing.assert_array_equal(final.swapaxes(1, 2) if turned else final, together)
    if length:
        close(y.swapaxes(1, 2) if turned else y, whole(x, state))
    updated = before.copy()
    np.testing.assert_array_equal(
        dw.causal_conv1d_update(sequence, updated, WEIGHT, BIAS, layout=x_layout), y
    )
    np.testing.assert_array_equal(updated, final)


def test_a_batch_of_none() -> None:
    x, state = sequences(0, C, 5), sequences(0, C, 3)
    y, final = dw.causal_conv1d(x, WEIGHT, BIAS, return_final_state=True)
    assert (y.shape, final.shape) == (x.shape, state.shape)
    assert dw.causal_conv1d_update(x, state, WEIGHT, BIAS).shape == x.shape
    assert dw.causal_conv1d_update(x[:, :, 0], state, WEIGHT, BIAS).shape == (0, C)


LENGTHS = [0, 5, 0, 1, 3, 0, 2, 11, 0]
ENDS = np.cumsum([0, *LENGTHS])


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_sequences_behind_one_another_are_each_its_own(given: bool, turned: bool) -> None:
    x, states = sequences(1, C, ENDS[-1]), sequences(len(LENGTHS), C, 4)
    layout = "NLC" if turned else "NCL"

    def laid(array: Array) -> Array:
        return np.ascontiguousarray(array.swapaxes(1, 2)) if turned else array

    y, final = dw.causal_conv1d(
        laid(x), WEIGHT, BIAS, initial_state=laid(states) if given else None,
        return_final_state=True, cu_seqlens=ENDS, activation="silu", layout=layout,
    )  # fmt: skip
    for number, (start, end) in enumerate(pairwise(ENDS)):
        each, left = dw.causal_conv1d(
            laid(x[:, :, start:end]), WEIGHT, BIAS, return_final_state=True, layout=layout,
            initial_state=laid(states[number : number + 1]) if given else None, activation="silu",
        )  # fmt: skip
        np.testing.assert_array_equal(laid(y)[:, :, start:end] if turned else y[:, :, start:end],
                                      laid(each) if turned else each)  # fmt: skip
        np.testing.assert_array_equal(final[number], left[0])


def test_states_of_sequences_behind_one_another_are_updated_where_they_are() -> None:
    x, pool = sequences(1, C, ENDS[-1]), sequences(20, C, 3)
    chosen = np.random.default_rng(2).permutation(20)[: len(LENGTHS)]
    before = pool.copy()
    y = dw.causal_conv1d(
        x, WEIGHT, BIAS, initial_state=pool, final_state_out=pool, state_indices=chosen,
        cu_seqlens=ENDS,
    )  # fmt: skip
    expected, left = dw.causal_conv1d(
        x, WEIGHT, BIAS, initial_state=before[chosen], return_final_state=True, cu_seqlens=ENDS
    )
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(pool[chosen], left)
    others = np.setdiff1d(np.arange(20), chosen)
    np.testing.assert_array_equal(pool[others], before[others])


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint8, list])
def test_another_number_begins_another_sequence(kind: Any) -> None:
    x = sequences(2, C, 9)
    numbers = [[3, 3, 3, 3, 3, 1, 2, 2, 2], [0, 0, 0, 0, 0, 0, 0, 0, 0]]
    y = dw.causal_conv1d(
        x, WEIGHT, BIAS, seq_idx=numbers if kind is list else np.array(numbers, kind)
    )
    pieces = [x[:1, :, :5], x[:1, :, 5:6], x[:1, :, 6:]]
    first = np.concatenate([dw.causal_conv1d(each, WEIGHT, BIAS) for each in pieces], axis=2)
    np.testing.assert_array_equal(y[0], first[0])
    np.testing.assert_array_equal(y[1:], dw.causal_conv1d(x[1:], WEIGHT, BIAS))


@pytest.mark.parametrize("length", [1, 6])
def test_states_are_chosen_from_a_pool(length: int) -> None:
    x, pool = sequences(3, C, length), sequences(8, C, 3)
    chosen, before = np.array([6, 0, 3]), pool.copy()
    expected, left = dw.causal_conv1d(
        x, WEIGHT, BIAS, initial_state=pool[chosen], return_final_state=True
    )
    read = dw.causal_conv1d(x, WEIGHT, BIAS, initial_state=pool, state_indices=chosen)
    np.testing.assert_array_equal(read, expected)
    np.testing.assert_array_equal(pool, before)
    y = dw.causal_conv1d_update(x, pool, WEIGHT, BIAS, state_indices=chosen)
    np.testing.assert_array_equal(y, expected)
    before[chosen] = left
    np.testing.assert_array_equal(pool, before)


def test_sequences_may_read_one_state_and_write_others() -> None:
    x, pool = sequences(3, C, 5), sequences(2, C, 3)
    _, final = dw.causal_conv1d(
        x, WEIGHT, initial_state=pool, state_indices=[1, 1, 0], return_final_state=True
    )
    y = dw.causal_conv1d(x, WEIGHT, initial_state=pool, state_indices=[1, 1, 0])
    np.testing.assert_array_equal(y, dw.causal_conv1d(x, WEIGHT, initial_state=pool[[1, 1, 0]]))
    np.testing.assert_array_equal(final, x[:, :, -3:])


def views(array: Array) -> dict[str, Array]:
    """Return the same values (N, C, L) as they may lie in memory."""
    n, c, length = array.shape
    wide = np.zeros((n, c + 3, length + 5), array.dtype)
    wide[:, 2 : 2 + c, 4 : 4 + length] = array
    half = np.zeros((n, c, 2 * length), array.dtype)
    half[:, :, ::2] = array
    return {
        "whole": array.copy(),
        "turned": np.ascontiguousarray(array.swapaxes(1, 2)).swapaxes(1, 2),
        "batch last": np.ascontiguousarray(array.transpose(1, 2, 0)).transpose(2, 0, 1),
        "inside another": wide[:, 2 : 2 + c, 4 : 4 + length],
        "every second": half[:, :, ::2],
        "backwards": array[:, :, ::-1].copy()[:, :, ::-1],
        "from the last": array[::-1].copy()[::-1],
    }


@pytest.mark.parametrize("name", views(sequences(1, 1, 1)))
@pytest.mark.parametrize("length", [1, 9])
@pytest.mark.parametrize("layout", ["NCL", "NLC"])
def test_arrays_may_lie_in_memory_as_they_like(layout: str, length: int, name: str) -> None:
    x, state = sequences(2, C, length), sequences(2, C, 4)
    expected, left = whole(x, state, activation="silu"), np.concatenate([state, x], 2)[:, :, -4:]

    def seen(array: Array) -> Array:
        return array if layout == "NCL" else array.swapaxes(1, 2)

    common: dict[str, Any] = {"activation": "silu", "layout": layout}
    for x_name, x_view in views(x).items():
        before, out = views(state)[name], views(np.full_like(x, np.nan))[name]
        y = dw.causal_conv1d(
            seen(x_view), WEIGHT, BIAS, initial_state=seen(before), out=seen(out), **common
        )
        assert np.shares_memory(y, out), x_name
        close(seen(y), expected)
        final = views(np.full_like(state, np.nan))[name]
        y, told = dw.causal_conv1d(
            seen(x_view), WEIGHT, BIAS, initial_state=seen(before), final_state_out=seen(final),
            return_final_state=True, **common,
        )  # fmt: skip
        assert np.shares_memory(told, final)
        np.testing.assert_array_equal(final, left)
        close(seen(y), expected)
        y = dw.causal_conv1d_update(seen(x_view), seen(before), WEIGHT, BIAS, **common)
        close(seen(y), expected)
        np.testing.assert_array_equal(before, left)


@pytest.mark.parametrize("name", ["every second", "backwards", "from the last"])
def test_weights_and_biases_may_lie_as_they_like(name: str) -> None:
    x, state = sequences(2, C, 9), sequences(2, C, 3)
    weight = views(WEIGHT[None])[name][0]
    bias = views(np.ascontiguousarray(BIAS[None, None]))[name][0, 0]
    assert name == "from the last" or not bias.flags.c_contiguous
    for _ in range(2):
        close(dw.causal_conv1d(x, weight, bias, initial_state=state), whole(x, state))


def test_what_lies_beside_a_view_is_not_written() -> None:
    pool = np.full((6, C + 2, 9), 5, np.float32)
    state, x = pool[1:4, 1 : C + 1, 2:7], sequences(3, C, 2)
    state[...] = sequences(3, C, 5)
    expected = np.concatenate([state, x], axis=2)[:, :, -5:]
    dw.causal_conv1d_update(x, state, WEIGHT)
    np.testing.assert_array_equal(state, expected)
    outside = np.ones(pool.shape, bool)
    outside[1:4, 1 : C + 1, 2:7] = False
    assert (pool[outside] == 5).all()


def test_tensors_give_tensors_and_their_states_are_updated() -> None:
    x, state = sequences(2, C, 5), sequences(2, C, 3)
    tensors = torch.from_numpy(x.copy()), torch.from_numpy(state.copy())
    y = dw.causal_conv1d_update(*tensors, torch.from_numpy(WEIGHT), torch.from_numpy(BIAS))
    assert isinstance(y, torch.Tensor)
    np.testing.assert_array_equal(y, dw.causal_conv1d_update(x, state, WEIGHT, BIAS))
    np.testing.assert_array_equal(tensors[1], state)


def test_streams_of_several_threads_are_each_their_own() -> None:
    x, count = sequences(4, C, 200), 4
    expected = dw.causal_conv1d(x, WEIGHT, BIAS, activation="silu")
    found: list[list[Array]] = [[] for _ in range(count)]

    def stream(number: int) -> None:
        state = np.zeros((1, C, K - 1), np.float32)
        for time in range(200):
            piece = np.ascontiguousarray(x[number : number + 1, :, time])
            found[number].append(
                dw.causal_conv1d_update(piece, state, WEIGHT, BIAS, activation="silu")
            )

    threads = [threading.Thread(target=stream, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(count):
        np.testing.assert_array_equal(np.stack(found[number], axis=2)[0], expected[number])


X, STATE, POOL = sequences(2, C, 5), sequences(2, C, 3), sequences(4, C, 3)
READ_ONLY = POOL[:2].copy()
READ_ONLY.flags.writeable = False
WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a shorter state": (
        {"state": STATE[:, :, :2]}, SpecError, r"d \* \(k - 1\) = 3, or more; got 2",
    ),
    "other channels": ({"state": sequences(2, C + 1, 3)}, ArrayError, rf"{C} channels"),
    "fewer states": ({"state": STATE[:1]}, ArrayError, "has 2 sequences"),
    "a state of two axes": ({"state": STATE[0]}, ArrayError, "the state has 3 axes"),
    "another layout": ({"state": sequences(2, 3, C)}, ArrayError, "the state has 2 sequences"),
    "a state of float64": ({"state": STATE.astype("f8")}, DTypeError, "the state has the dtype"),
    "a read-only state": ({"state": READ_ONLY}, ArrayError, "writable; got a read-only"),
    "a state whose elements share memory": (
        {"state": np.lib.stride_tricks.as_strided(STATE.copy(), STATE.shape, (4, 4, 4))},
        ArrayError, "has memory for each element",
    ),
    "out whose elements share memory": (
        {"out": np.lib.stride_tricks.as_strided(X.copy(), X.shape, (4, 4, 4))}, ArrayError,
        "out has memory for each element",
    ),
    "a state in x": (
        {"x": POOL[:2], "state": POOL[1:3]}, ArrayError, "shares no memory with another array",
    ),
    "a state in out": ({"out": "state"}, ArrayError, "shares no memory|shape of x"),
    "a dilation too far": ({"dilation": 2}, SpecError, r"d \* \(k - 1\) = 6, or more; got 3"),
    "a dilation of none": ({"dilation": 0}, SpecError, "sizes are at least 1; got .*d=0"),
    "an unknown activation": ({"activation": "swish2"}, SpecError, "got 'swish2'"),
    "an unknown layout": ({"layout": "NHWC"}, SpecError, "layout is one of NCL, NLC"),
    "a weight of another size": ({"weight": WEIGHT[:-1]}, ArrayError, rf"with C = {C}"),
    "a weight of no taps": ({"weight": WEIGHT[:, :0]}, ArrayError, "none empty"),
    "a weight of float64": ({"weight": WEIGHT.astype("f8")}, DTypeError, "weight has the dtype"),
    "a bias of another size": ({"bias": BIAS[:-1]}, ArrayError, rf"bias is \(C,\) with C = {C}"),
    "x of one axis": ({"x": X[0, 0]}, ArrayError, r"or \(N, C\), got shape|got shape \(5,\)"),
    "x of whole numbers": ({"x": X.astype("i4")}, DTypeError, "int32"),
    "x of no channels": ({"x": X[:, :0]}, ArrayError, "x has channels"),
    "no array": ({"x": [[1.0]]}, DTypeError, "x is"),
    "out of another shape": ({"out": X[:, :, 1:].copy()}, ArrayError, "out has the shape of x"),
    "out of float64": ({"out": X.astype("f8")}, DTypeError, "out has the dtype of x"),
    "out that is x": ({"out": X}, ArrayError, "overlap|memory"),
    "an index out of range": (
        {"state": POOL, "state_indices": [4, 0]}, ArrayError, r"one of 4, numbered from 0; got .*4",
    ),
    "a negative index": ({"state": POOL, "state_indices": [-1, 0]}, ArrayError, "got .*-1"),
    "an index twice": (
        {"state": POOL, "state_indices": [2, 2]}, ArrayError, "a state of its own; got",
    ),
    "too few indices": (
        {"state": POOL, "state_indices": [1]}, ArrayError, "one number for each of 2 sequences",
    ),
    "indices that are no numbers": (
        {"state": POOL, "state_indices": [0.0, 1.0]}, DTypeError, "state_indices has whole numbers",
    ),
    "no threads": ({"threads": 0}, SpecError, "threads are at least 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused_and_no_state_has_changed(name: str) -> None:
    spoilt, error, words = WRONG[name]
    given: dict[str, Any] = {"x": X, "state": STATE, "weight": WEIGHT, "bias": BIAS, **spoilt}
    if isinstance(given.get("out"), str):
        given["out"] = given["state"]
    before = given["state"].copy()
    with pytest.raises(error, match=words):
        dw.causal_conv1d_update(**given)
    np.testing.assert_array_equal(given["state"], before)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"cu_seqlens": [0, 3]}, ArrayError, "ends with the length of x, 9; got"),
        ({"cu_seqlens": [1, 9]}, ArrayError, "begins with 0"),
        ({"cu_seqlens": [0, 5, 4, 9]}, ArrayError, "never falls"),
        ({"cu_seqlens": []}, (ArrayError, DTypeError), "cu_seqlens"),
        ({"cu_seqlens": [0.0, 9.0]}, DTypeError, "cu_seqlens has whole numbers"),
        ({"cu_seqlens": [[0, 9]]}, ArrayError, "where sequences lie in one row"),
        ({"cu_seqlens": [0, 9], "seq_idx": np.zeros((1, 9), int)}, ArrayError, "got both"),
        ({"seq_idx": np.zeros((1, 8), int)}, ArrayError, r"\(1, 9\); got shape \(1, 8\)"),
        ({"seq_idx": np.zeros((1, 9))}, DTypeError, "seq_idx has whole numbers"),
        (
            {"seq_idx": np.zeros((1, 9), int), "return_final_state": True}, ArrayError,
            "seq_idx tells apart have no states",
        ),
        (
            {"seq_idx": np.zeros((1, 9), int), "initial_state": np.zeros((1, C, 3), "f4")},
            ArrayError, "seq_idx tells apart have no states",
        ),
        ({"state_indices": [0]}, ArrayError, "those of initial states; got none"),
        (
            {"cu_seqlens": [0, 4, 9], "initial_state": np.zeros((1, C, 3), "f4")}, ArrayError,
            "has 2 sequences",
        ),
        ({"final_state_out": np.zeros((1, C, 2), "f4")}, SpecError, "3, or more; got 2"),
        ({"final_state_out": np.zeros((1, C, 0), "f4")}, ArrayError, "final_state_out has 1"),
        ({"final_state_out": np.zeros((1, C, 3))}, DTypeError, "final_state_out has the dtype"),
    ],
)  # fmt: skip
def test_sequences_and_states_that_do_not_fit_are_refused(
    given: dict[str, Any], error: Any, words: str
) -> None:
    with pytest.raises(error, match=words):
        dw.causal_conv1d(sequences(1, C, 9), WEIGHT, **given)


def test_a_final_state_that_is_a_view_of_the_initial_one_is_refused() -> None:
    state = sequences(2, C, 3)
    before = state.copy()
    with pytest.raises(ArrayError, match="shares no memory with another array"):
        dw.causal_conv1d(X, WEIGHT, initial_state=state, final_state_out=state[:])
    np.testing.assert_array_equal(state, before)
