"""Activations as arithmetic: exact at every magnitude, alike in every lane, without a library."""

from __future__ import annotations

import platform
import re

import numpy as np
import pytest

import depthwise as dw
from depthwise.errors import TargetError
from depthwise.problem import reference
from depthwise.problem.vocabulary import ACTIVATIONS
from exact import COMPUTED

CPUS = {
    "x86_64": ["x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"],
    "aarch64": ["generic", "neoverse-n1"],
}.get(platform.machine(), [])

UNITS = {
    "relu": 0, "relu6": 0, "leaky_relu": 1, "hardsigmoid": 2, "hardswish": 3, "sigmoid": 4,
    "silu": 4, "gelu": 1,
}  # fmt: skip
"""How many units of the last place a result may be off."""
PHI_UNITS = 3
"""How many Phi(x) = gelu(x) / x may be off besides, in those of 1."""


def numbers(dtype):
    """Return numbers of every magnitude, infinities and NaN among them, and those near the ends."""
    bits = {"float32": np.uint32, "float64": np.uint64}[dtype]
    step = {"float32": 16381, "float64": 70368744177661}[dtype]
    everywhere = np.arange(2**18, dtype=bits) * bits(step)
    largest = np.log(np.finfo(dtype).max)
    near = np.linspace(0.95 * largest, 1.2 * largest, 2**13)
    small = np.linspace(-20, 20, 2**15)
    special = [0, 3, 6, np.inf, np.nan, np.finfo(dtype).max, np.finfo(dtype).tiny]
    given = np.concatenate([near, -near, small, special, np.negative(special)]).astype(dtype)
    found = np.concatenate([everywhere.view(dtype), given])
    return found[: found.size // 16 * 16]


def activated(text, x, plan=None, target=None):
    """Return the activation in which a convolution ends that leaves everything as it is."""
    spec = dw.parse(text)
    kernel = dw.compile(spec, plan, target)
    return kernel(x.reshape(spec.input_shape), np.ones(spec.weight_shape, spec.dtype))


@pytest.mark.parametrize("dtype", COMPUTED)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_results_are_exact_to_a_few_units_at_every_magnitude(name, dtype):
    x = numbers(dtype)
    y = activated(f"depthwise c16 h1 w{x.size // 16} k1 nhwc {dtype} {name}", x).ravel()
    with np.errstate(over="ignore", invalid="ignore"):
        exact = reference.activate(name, x)
        np.testing.assert_array_equal(np.isnan(y), np.isnan(exact.astype(dtype)))
        finite = np.isfinite(exact.astype(dtype)) & np.isfinite(x)
        np.testing.assert_array_equal(y[~finite], exact[~finite].astype(dtype))
    x, y, exact = (array[finite].astype(np.float64) for array in (x, y, exact))
    # Where e^-x is infinite, 1 / (1 + e^-x) is 0 instead of just below the normal numbers.
    bound = UNITS[name] * np.spacing(np.abs(exact).astype(dtype)) + np.abs(x) * np.finfo(dtype).tiny
    if name == "gelu":
        bound += PHI_UNITS * np.finfo(dtype).eps * np.abs(x)
    off = np.abs(y - exact) > bound
    assert not off.any(), (x[off], y[off], exact[off])


@pytest.mark.parametrize("dtype", COMPUTED)
@pytest.mark.parametrize(
    ("name", "at", "wanted"),
    [
        ("sigmoid", [0, 100, 800, -800], [0.5, 1, 1, 0]),
        ("silu", [0, 100, 800, -800], [0, 100, 800, 0]),
        ("gelu", [0, 100, -100, 1e30, -1e30], [0, 100, 0, 1e30, 0]),
        ("hardsigmoid", [-3, 0, 3], [0, 0.5, 1]),
        ("hardswish", [-3, 0, 3, 7], [0, 0, 3, 7]),
    ],
)
def test_what_is_representable_is_met(name, at, wanted, dtype):
    got = activated(f"depthwise c{len(at)} hw1 k1 nhwc {dtype} {name}", np.array(at, dtype))
    np.testing.assert_array_equal(got.ravel(), np.array(wanted, dtype))


PROGRAMS = [
    ("depthwise c35 h64 w5 k1 nhwc", None),
    ("depthwise c35 h64 w5 k1 nhwc", "default"),
    ("depthwise c64 h5 w35 k1", None),
    ("depthwise c64 h5 w35 k1", "general tw4"),
    ("depthwise c64 h5 w35 k1", "packed tc8 tw2"),
    ("pointwise c1 o35 h64 w5 nhwc", None),
]


@pytest.mark.parametrize("name", ["sigmoid", "silu", "gelu", "hardswish"])
def test_a_value_has_the_same_result_in_every_place_of_every_program(name):
    values = np.linspace(-30, 30, 64, dtype=np.float32)
    results = []
    for text, plan in PROGRAMS:
        spec = dw.parse(f"{text} {name}")
        x = np.repeat(values, np.prod(spec.input_shape) // 64)
        y = activated(f"{text} {name}", x, plan).reshape(64, -1)
        np.testing.assert_array_equal(y, y[:, :1] * np.ones_like(y))
        results.append(y[:, 0])
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


def assembly(text, cpu):
    try:
        return dw.compile(text, target=cpu).show("asm")
    except TargetError:
        pytest.skip(f"archspec does not know {cpu}")


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize(
    ("name", "called"),
    [
        *((f"{dtype} {name}", set()) for dtype in COMPUTED for name in ("sigmoid", "silu")),
        ("float32 gelu", set()),
        ("float64 gelu", {"erf"}),
    ],
)
def test_no_library_is_called(name, called, cpu):
    text = assembly(f"depthwise c19 h3 w5 k1 nhwc {name}", cpu)
    assert set(re.findall(r"^\s*(?:callq?|bl)\s+\*?(\w+)", text, re.MULTILINE)) == called


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the instructions are x86-64's")
@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("text", ["depthwise c32 hw8 k1 nhwc", "pointwise c16 o32 hw8 nhwc"])
@pytest.mark.parametrize("name", ["sigmoid", "silu", "gelu"])
def test_everything_runs_in_vectors(name, text, cpu):
    instructions = set(re.findall(r"^\s+([a-z]\w+)", assembly(f"{text} {name}", cpu), re.MULTILINE))
    assert {"divps", "vdivps"} & instructions
    assert not {i for i in instructions if re.fullmatch(r"v?(add|mul|div|min|max|fn?m.*)ss", i)}
