"""Functions of each element in one pass: against the oracle, and what they touch."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812 (the name that everyone gives it)

import depthwise as dw
import steps
from depthwise.errors import ParseError, PlanError, SpecError
from depthwise.problem import reference
from depthwise.problem.dtypes import element
from depthwise.problem.elementwise import ElementwiseSpec
from depthwise.problem.links import MOST_LINKS, Link
from depthwise.problem.oracle import elementwise as oracle
from depthwise.problem.vocabulary import ACTIVATIONS, BINARY, OPERANDS, UNARY
from exact import COMPUTED
from strategies import elementwise_specs
from test_activations import numbers

UNITS = 8
"""How many units of rounding a function may be off, of its result and of its argument up to 6."""


def expected(spec, x, operands):
    """Return the oracle's result, and how far roundings may carry a kernel from it."""
    y, error = x.astype(np.float64), 0.0
    kept, computed = element(spec.dtype), element(spec.dtype).computed
    eps = computed.epsilon
    waiting = iter(operands)
    for link in spec.chain:
        given = [] if link.operand is None else [next(waiting)]
        one = ElementwiseSpec(
            channels=spec.channels, height=spec.height, width=spec.width, batch=spec.batch,
            dtype=spec.dtype, chain=(link,),
        )  # fmt: skip
        with np.errstate(all="ignore"):
            low, made, high = (reference.forward(one, y + d, *given) for d in (-error, 0, error))
            moved = np.maximum(np.abs(low - made), np.abs(high - made))
            error = moved + UNITS * eps * (np.abs(made) + np.minimum(np.abs(y), 6))
        y = made
    return y, error + (0 if kept is computed else rounding(kept, y))


def rounding(kept, y):
    """Return how far a number may lie from what it is in memory."""
    least = float(ml_dtypes.finfo(kept.numpy).smallest_subnormal)
    return np.maximum(kept.epsilon * np.abs(y), least)


def check(spec, plan=None):
    """Fail where a kernel is farther from the oracle than roundings carry it."""
    x, *operands, out = dw.random_problem(spec)
    dw.compile(spec, plan)(x, *operands, out=out)
    exact, error = expected(spec, x, operands)
    largest = float(ml_dtypes.finfo(element(spec.dtype).numpy).max)
    # Where a rounding decides on what is computed, as beside a pole, any result is right.
    sure = np.isfinite(error) & (np.abs(exact) + error < 0.1 * largest)
    with np.errstate(invalid="ignore"):
        off = np.abs(out.astype(np.float64) - exact) > error
    assert not (off | np.isnan(out))[sure].any(), (spec, out[off & sure], exact[off & sure])
    return sure.mean()


@settings(max_examples=60)
@given(elementwise_specs())
@example(
    dw.parse("elementwise n3 c7 h5 w9 nhwc mul.gate add.channel min.pixel max.image sub.scalar")
)
@example(dw.parse("elementwise c1 hw1 nhwc float64 rdiv.image"))
@example(dw.parse("elementwise c20011 hw1 nhwc add.channel mul.gate mul.pixel add.image relu"))
@example(dw.parse("elementwise n2 c20011 hw1 nhwc add.channel mul.gate mul.pixel"))
def test_results_are_the_oracles(spec):
    check(spec)


@pytest.mark.parametrize("operand", OPERANDS)
@pytest.mark.parametrize("function", BINARY)
def test_each_function_takes_each_kind_of_operand(function, operand):
    dtype = "float64" if operand == "pixel" else "float32"
    line = f"elementwise n2 c37 h5 w9 nhwc {dtype} {function}.{operand}"
    assert check(dw.parse(line)) > 0.9


@pytest.mark.parametrize("function", ["min", "max"])
def test_a_number_that_is_none_is_never_lost(function):
    spec = dw.parse(f"elementwise c33 hw1 nhwc {function}.image")
    x, operand = np.ones((2, 33), np.float32)
    x[::2], operand[::3] = np.nan, np.nan
    got = dw.compile(spec)(x.reshape(1, 1, 1, 33), operand.reshape(1, 1, 1, 33)).ravel()
    np.testing.assert_array_equal(np.isnan(got), np.isnan(x) | np.isnan(operand))


OWN = {"abs": 0, "exp": 3, "sqrt": 1, "square": 1, "reciprocal": 1, "neg": 0, "erf": 8, "tanh": 4,
       "softplus": 6, "mish": 6, "gelu_tanh": 5}  # fmt: skip
"""How many units of the last place a result may be off."""


@pytest.mark.parametrize("dtype", COMPUTED)
@pytest.mark.parametrize("name", OWN)
def test_functions_are_exact_to_a_few_units_at_every_magnitude(name, dtype):
    x = numbers(dtype)
    spec = dw.parse(f"elementwise c16 h1 w{x.size // 16} nhwc {dtype} {name}")
    y = dw.compile(spec)(x.reshape(spec.input_shape)).ravel()
    with np.errstate(all="ignore"):
        exact = oracle.apply(name, x.astype(np.float64))
        rounded = exact.astype(dtype)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(exact))
    finite = np.isfinite(rounded) & np.isfinite(x)
    np.testing.assert_array_equal(y[~finite], rounded[~finite])
    x, y, exact = (array[finite].astype(np.float64) for array in (x, y, exact))
    bound = OWN[name] * np.spacing(np.abs(exact).astype(dtype)) + np.maximum(np.abs(x), 1) * (
        2 * np.finfo(dtype).tiny
    )
    if name == "gelu_tanh":  # whose exponent is rounded
        near = np.clip(x, -100, 100)
        exponent = np.minimum(1.6 * np.abs(near + 0.044715 * near**3), 1500)
        bound += 3 * np.finfo(dtype).eps * exponent * np.abs(exact)
    off = np.abs(y - exact) > bound
    assert not off.any(), (x[off], y[off], exact[off])


def test_each_function_is_tested_at_every_magnitude():
    assert {*OWN, *ACTIVATIONS} == set(UNARY)


TORCH = {
    "abs": torch.abs, "exp": torch.exp, "sqrt": torch.sqrt, "square": torch.square,
    "reciprocal": torch.reciprocal, "neg": torch.neg, "erf": torch.erf, "tanh": torch.tanh,
    "softplus": F.softplus, "mish": F.mish, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "add": torch.add, "sub": torch.sub, "rsub": torch.rsub, "mul": torch.mul, "div": torch.div,
    "rdiv": lambda x, operand: operand / x, "min": torch.minimum, "max": torch.maximum,
    "prelu": lambda x, slope: torch.where(x >= 0, x, slope * x),
}  # fmt: skip


@pytest.mark.parametrize("name", TORCH)
def test_the_oracle_is_what_torch_computes(name):
    spec = dw.parse(f"elementwise c40 hw9 nhwc float64 {name}{'.image' * (name in BINARY)}")
    x, *operands, _ = dw.random_problem(spec)
    wanted = TORCH[name](*map(torch.from_numpy, (x, *operands)))
    np.testing.assert_allclose(reference.forward(spec, x, *operands), wanted, 1e-12, 1e-13)


@settings(max_examples=8)
@given(elementwise_specs())
def test_neither_threads_nor_the_order_of_tasks_change_a_bit(spec):
    steps.check_order(spec)


@settings(max_examples=15)
@given(elementwise_specs(tame=True), st.integers(1, 3))
def test_only_their_arrays_are_touched(guarded, spec, runs):
    guarded.check(spec, None, runs=runs)


@given(elementwise_specs())
def test_a_line_is_read_back(spec):
    assert dw.parse(str(spec)) == spec


def test_the_longest_chain_is_read_back():
    link = Link("reciprocal")
    links = (Link("prelu", "channel"), *[link] * (MOST_LINKS - 1))
    sizes = {"channels": 2**10, "height": 2**8, "width": 2**7, "batch": 2**5}
    spec = ElementwiseSpec(chain=links, dtype="float64", **sizes)
    assert dw.parse(str(spec)) == spec


def test_costs_count_bytes_and_no_products():
    cost = dw.cost("elementwise n2 c96 hw56 nhwc mul.channel add.image mul.gate relu")
    moved = 3 * 2 * 96 * 56 * 56 + 96 + 2 * 96
    assert (cost.macs, cost.params, cost.bytes) == (0, 96, 4 * moved)


@pytest.mark.parametrize(
    ("text", "error", "why"),
    [
        ("elementwise c8 hw7 relu", ParseError, "is of nhwc images"),
        ("elementwise c8 hw7 nhwc", SpecError, r"chain is 1 to 20 functions; got \(\)"),
        ("elementwise c8 hw7 nhwc " + "abs " * 21, SpecError, "chain is 1 to 20 functions"),
        ("elementwise c8 hw7 nhwc mul", ParseError, "mul is one of mul.image, .*; got mul"),
        ("elementwise c8 hw7 nhwc mul.chanel", ParseError, "did you mean 'mul.channel'"),
        ("elementwise c8 hw7 nhwc relu.image", ParseError, "'relu.image' is not a token"),
        ("elementwise c8 hw7 nhwc relu bias", ParseError, "elementwise has c, hw or h and w"),
        ("elementwise hw7 nhwc relu", ParseError, "elementwise has c, hw or h and w"),
        ("elementwise c0 hw7 nhwc relu", SpecError, "sizes are at least 1; got c=0"),
        ("elementwise c65536 hw65536 nhwc relu", SpecError, "no array has more than"),
    ],
)
def test_what_cannot_be_is_refused(text, error, why):
    with pytest.raises(error, match=why):
        dw.parse(text)


@pytest.mark.parametrize("chain", [("relu",), [Link("relu")], (), None])
def test_a_chain_is_a_tuple_of_links(chain):
    with pytest.raises(SpecError, match=r"chain is 1 to 20 functions; got .*: elementwise c8 hw7"):
        ElementwiseSpec(channels=8, height=7, width=7, chain=chain)


@pytest.mark.parametrize("given", [("add",), ("relu", "image"), ("add", "row"), ("floor",)])
def test_a_link_is_a_function_that_there_is(given):
    with pytest.raises(SpecError, match=r"(function|operand) is one of"):
        Link(*given)


def test_operands_that_images_have_of_their_own_are_computed():
    spec = dw.parse("elementwise n2 c3 hw4 nhwc mul.gate tanh add.channel min.pixel div.scalar")
    assert spec.operands == {
        "operand1": (2, 1, 1, 3), "operand3": (3,), "operand4": (2, 4, 4, 1), "operand5": (1,),
    }  # fmt: skip
    assert spec.computed == ("operand1", "operand4")


def test_they_are_explained_and_shown():
    spec = "elementwise c8 hw7 nhwc mul.gate silu"
    assert dw.explain(spec) == {"elementwise": None}
    kernel = dw.compile(spec)
    assert "T.reads" in kernel.show("definition")
    assert "kernel" in kernel.show("llvm")
    with pytest.raises(PlanError):
        dw.compile(spec, "default")


@pytest.mark.parametrize("size", [1, 8191, 8192, 8193, 64 * 8192 + 31])
def test_tasks_meet_without_gap_or_overlap(size):
    spec = dw.parse(f"elementwise c1 h1 w{size} nhwc neg")
    x = np.arange(size, dtype=np.float32).reshape(spec.input_shape)
    out = np.full_like(x, math.nan)
    np.testing.assert_array_equal(dw.compile(spec)(x, out=out), -x)


def test_as_many_images_as_a_chain_may_have_are_taken():
    check(dw.parse("elementwise c5 hw3 nhwc" + " add.image" * MOST_LINKS))
