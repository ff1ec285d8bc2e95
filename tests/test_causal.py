"""Causal convolution with state as a problem: against the oracle, and what it touches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812 (the name that everyone gives it)

import depthwise as dw
import steps
from depthwise.errors import DTypeError, ParseError, SpecError
from depthwise.problem import reference
from depthwise.problem.causal import CausalSpec
from depthwise.problem.oracle.causal import final_state
from strategies import causal_specs


def computed(spec: CausalSpec, threads: int) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Return the result of a kernel, the arrays it was given, and the state that it left."""
    *given, out = dw.random_problem(spec)
    kernel = dw.compile(spec)
    arrays = [array.copy() for array in given]
    steps.run_on_team(kernel, threads, arrays[0], kernel.pack(arrays[1:]), out)
    for name, before, after in zip(spec.array_names, given, arrays, strict=True):
        if name != "state":
            np.testing.assert_array_equal(before, after, name)
    return out, given, arrays[-1]


@settings(max_examples=80)
@given(causal_specs(), st.integers(1, 3))
@example(dw.parse("causal n3 c129 l1 k4 silu bias state3"), 2)
@example(dw.parse("causal n3 c129 l1 k4 nlc silu bias state5"), 2)
@example(dw.parse("causal n2 c17 l200 k64 d3 gelu state189"), 2)
@example(dw.parse("causal n2 c300 l37 k4 nlc float64 bias silu state3"), 3)
@example(dw.parse("causal c1 l1 k1"), 1)
@example(dw.parse("causal c5 l2 k31 state40"), 1)
@example(dw.parse("causal n2 c33 l1030 k3 relu"), 2)
def test_kernels_compute_what_the_oracle_does(spec: CausalSpec, threads: int) -> None:
    out, given, state = computed(spec, threads)
    wanted = reference.forward(spec, *given)
    np.testing.assert_allclose(out, wanted, *reference.tolerance(spec))
    if spec.state:
        named = dict(zip(spec.array_names, given, strict=True))
        np.testing.assert_array_equal(state, final_state(spec, named))


@settings(max_examples=25)
@given(causal_specs(), st.integers(1, 3))
@example(dw.parse("causal n2 c33 l1 k4 state3 bias silu"), 2)
@example(dw.parse("causal n2 c33 l1 k4 nlc state3 bias silu"), 2)
@example(dw.parse("causal c19 l70 k4 state3 float64"), 2)
@example(dw.parse("causal c9 l5 k33 d2 state70 nlc"), 2)
def test_kernels_touch_only_their_arrays(guarded, spec: CausalSpec, runs: int) -> None:
    guarded.check(spec, runs=runs)


@pytest.mark.parametrize(
    "line",
    ["n3 c70 l33 k4 silu", "n5 c300 l1 k4 silu state3", "n2 c300 l40 k4 nlc state5", "c40 l9 k12"],
)
def test_threads_and_the_order_of_tasks_change_nothing(line: str) -> None:
    steps.check_order(dw.parse(f"causal {line}"))


@given(causal_specs())
def test_a_line_is_read_back(spec: CausalSpec) -> None:
    assert dw.parse(str(spec)) == spec


@settings(max_examples=30)
@given(causal_specs(length=20, kernel=9, channels=20), st.data())
def test_sequences_cut_anywhere_are_the_whole_to_the_last_bit(
    spec: CausalSpec, data: st.DataObject
) -> None:
    spec = replace(spec, state=max(spec.state, spec.before, 1))
    whole, given, left = computed(spec, 1)
    time = spec.layout.index("L")
    lengths, state, pieces = [], given[-1].copy(), []
    while sum(lengths) < spec.length:
        lengths.append(data.draw(st.integers(1, spec.length - sum(lengths))))
    ends = np.cumsum(lengths)[:-1]
    for x in np.split(given[0], ends, axis=time):
        kernel = dw.compile(replace(spec, length=x.shape[time]))
        piece = np.full(x.shape, np.nan, x.dtype)
        kernel.run(np.ascontiguousarray(x), [*given[1:-1], state], piece, 1)
        pieces.append(piece)
    np.testing.assert_array_equal(np.concatenate(pieces, axis=time), whole)
    np.testing.assert_array_equal(state, left)


@pytest.mark.parametrize("state", [0, 6, 9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["", " nlc"])
def test_torch_computes_the_same(layout: str, dtype: str, state: int) -> None:
    told = f" state{state}" * bool(state)
    spec = dw.parse(f"causal n2 c21 l40 k4 d2{layout} {dtype} bias silu{told}")
    out, given, left = computed(spec, 2)

    def sequences(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array.swapaxes(1, 2) if layout else array)

    before = sequences(given[-1]) if state else torch.zeros(2, 21, 6, dtype=getattr(torch, dtype))
    together = torch.cat([before, sequences(given[0])], 2)
    weight, bias = map(torch.from_numpy, given[1:3])
    wanted = F.silu(F.conv1d(together, weight, bias, dilation=2, groups=21))[..., -40:]
    np.testing.assert_allclose(sequences(out), wanted, *reference.tolerance(spec))
    if state:
        np.testing.assert_array_equal(sequences(left), together[..., -state:])


def test_what_is_no_number_reaches_no_earlier_time_and_no_other_channel() -> None:
    spec = dw.parse("causal n2 c37 l50 k4 silu state3")
    x, weight, state, out = dw.random_problem(spec)
    x[1, 20, 30] = np.nan
    dw.compile(spec).run(x, [weight, state], out, 1)
    assert np.argwhere(np.isnan(out)).tolist() == [[1, 20, time] for time in range(30, 34)]
    assert not np.isnan(state).any()


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        ("causal c4 l9", ParseError, r"causal needs k \(kernel\)"),
        ("causal c4 k4", ParseError, r"causal needs l \(length\)"),
        ("causal l9 k4", ParseError, r"causal needs c \(channels\)"),
        ("causal c4 l9 k4 p3", ParseError, "causal has no padding"),
        ("causal c4 l9 k4 s2", ParseError, "causal has no stride"),
        ("causal c4 l9 k4 statex", ParseError, "'statex' is not a token"),
        ("causal c4 l9 k4 state3 state3", ParseError, "state is given once; got 2"),
        ("causal c4 l9 k4 nhwc", SpecError, "layout is one of NCL, NLC"),
        ("causal c4 l9 k4 int8", DTypeError, "dtype is one of float32, .*; got 'int8'"),
        ("causal c4 l9 k4 state2", SpecError, r"d \* \(k - 1\) = 3, or more; got 2: causal c4"),
        ("causal c4 l9 k4 d2 state5", SpecError, r"d \* \(k - 1\) = 6, or more; got 5"),
        ("causal c4 l9 k1 state-1", SpecError, r"d \* \(k - 1\) = 0, or more; got -1"),
        ("causal c4 l0 k4", SpecError, "sizes are at least 1; got .*l=0"),
        ("causal c4 l9 k0", SpecError, "sizes are at least 1; got .*k=0"),
        ("causal c4 l9 k4 d0", SpecError, "sizes are at least 1; got .*d=0"),
        ("causal n0 c4 l9 k4", SpecError, "sizes are at least 1; got n=0"),
        ("causal c99999 l99999 k4", SpecError, "no array has more than"),
    ],
)
def test_what_is_no_causal_convolution_is_refused(line: str, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        dw.parse(line)


def test_cost() -> None:
    cost = dw.cost("causal n2 c64 l100 k4 bias silu state3")
    assert (cost.macs, cost.params) == (2 * 64 * 100 * 4, 64 * 4 + 64)
    assert cost.bytes == 4 * (2 * 2 * 64 * 100 + 2 * 2 * 64 * 3 + cost.params)
    without = dw.cost("causal n2 c64 l100 k4 bias silu")
    assert without.bytes == 4 * (2 * 2 * 64 * 100 + cost.params)
