"""What is computed of quantized images: every number as the oracle has it, on every CPU."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

import depthwise as dw
import steps
from cpus import X86
from depthwise.errors import DTypeError, ParseError, SpecError
from depthwise.machine.target import named
from depthwise.problem.quantized_images import MOST_PIXELS, QUANTIZED_KINDS, QuantizedSpec
from depthwise.problem.reference import forward
from strategies import quantized_specs

_CPUS = (None, "haswell", "skylake-avx512", "icelake-client", "nehalem")
CPUS = tuple(cpu for cpu in _CPUS if not named(cpu).missing)
LINES = (
    "quantize c37 hw9 nhwc uint8",
    "dequantize c37 hw9 nhwc int8",
    "lookup c133 hw9 nhwc int8",
    "qadd n2 c37 hw9 nhwc uint8",
    "qmul n2 c37 hw9 nhwc int8",
    "qmul n3 c24 hw5 nhwc uint8 gate",
    "qmean n2 c150 hw9 nhwc int8",
)


def check(spec: QuantizedSpec, arrays: list[np.ndarray], cpu: str | None = None) -> np.ndarray:
    kernel = dw.compile(spec, target=cpu)
    got = kernel(*arrays)
    assert got.dtype == spec.dtype_of("y")
    np.testing.assert_array_equal(got, forward(spec, *arrays))
    return got


def problem(line: str, seed: int = 0) -> tuple[QuantizedSpec, dict[str, np.ndarray]]:
    """Return a problem with random arrays by name."""
    spec = dw.parse(line)
    assert isinstance(spec, QuantizedSpec)
    return spec, dict(zip(spec.array_names, dw.random_problem(spec, seed), strict=False))


@settings(max_examples=60)
@given(quantized_specs(), st.integers(0, 99), st.booleans(), st.sampled_from(CPUS))
@example(dw.parse("lookup c4096 hw1 nhwc uint8"), 0, False, None)
@example(dw.parse("qmean c1000 hw7 nhwc uint8"), 0, True, "haswell")
def test_results_are_the_oracles(
    spec: QuantizedSpec, seed: int, extreme: bool, cpu: str | None
) -> None:
    arrays = dict(zip(spec.array_names, dw.random_problem(spec, seed), strict=False))
    if extreme:
        for name in {"x", "other"} & {*arrays}:
            shape = arrays[name].shape
            arrays[name][...] = np.random.default_rng(seed).choice(spec.element.range, shape)
    check(spec, [*arrays.values()], cpu)


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("line", LINES)
def test_each_kind_is_exact_on_each_cpu(line: str, cpu: str | None) -> None:
    spec, arrays = problem(line)
    results = check(spec, [*arrays.values()], cpu)
    assert len(np.unique(results)) > 20


@pytest.mark.parametrize("line", LINES)
def test_neither_threads_nor_the_order_of_tasks_change_a_bit(line: str) -> None:
    spec, _ = problem(line)
    steps.check_order(replace(spec, height=40, width=41))


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("kind", [kind for kind in QUANTIZED_KINDS if kind != "lookup"])
def test_every_zero_point_is_taken_rightly(kind: str, dtype: str) -> None:
    spec, arrays = problem(f"{kind} c33 hw3 nhwc {dtype}")
    kernel, (least, most) = dw.compile(spec), spec.element.range
    name = "zero" if "zero" in arrays else "zeros"
    for zero in range(least, most + 1):
        arrays[name][...] = [least + most - zero, zero, zero][: arrays[name].size]
        given = [*arrays.values()]
        np.testing.assert_array_equal(kernel(*given), forward(spec, *given))


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("size", [1, 7, 23, 256, 1031])
def test_every_number_is_looked_up(size: int, dtype: str, cpu: str | None) -> None:
    spec, arrays = problem(f"lookup c{size} h1 w256 nhwc {dtype}")
    numbers = np.arange(size * 256).astype(dtype)
    arrays["x"][...] = numbers.reshape(spec.input_shape)
    got = check(spec, [*arrays.values()], cpu).ravel()
    places = numbers.astype(int) - spec.element.range[0]
    np.testing.assert_array_equal(got, arrays["table"][places])


@pytest.mark.skipif(not X86, reason="these are instructions of x86-64")
@pytest.mark.parametrize(("cpu", "instruction", "others"), [
    ("icelake-client", r"vperm[it]2b", "vpinsrb"),
    ("skylake-avx512", r"vpshufb\s+%zmm", "vperm[it]2b|vpinsrb"),
    ("haswell", r"vpshufb\s+%ymm", "zmm|vpinsrb"),
])  # fmt: skip
def test_tables_are_looked_up_in_vectors(cpu: str, instruction: str, others: str) -> None:
    code = dw.compile("lookup c64 hw16 nhwc uint8", target=cpu).show("asm")
    assert re.search(instruction, code)
    assert not re.search(others, code)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("line", [line for line in LINES if not line.startswith("lookup")])
def test_scales_of_every_size_round_and_clip_right(line: str, scale: float) -> None:
    spec, arrays = problem(line)
    for name in {"scale", "factor", "factors"} & {*arrays}:
        arrays[name][...] = scale * np.array([1, 1.37])[: arrays[name].size]
    check(spec, [*arrays.values()])


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_halves_are_rounded_to_even_and_what_is_no_number_to_the_least(
    dtype: str, cpu: str | None
) -> None:
    spec, arrays = problem(f"quantize c16 hw1 nhwc {dtype}")
    least, most = spec.element.range
    arrays["scale"][...], arrays["zero"][...] = 0.5, 10
    x = [-1.25, -0.75, -0.25, -0.0, 0.25, 0.75, 1.25, 1e30, -1e30, np.inf, -np.inf, np.nan, 1e-40]
    wanted = [8, 8, 10, 10, 10, 12, 12, most, least, most, least, least, 10]
    arrays["x"].ravel()[: len(x)] = x
    got = check(spec, [*arrays.values()], cpu).ravel()
    assert got[: len(x)].tolist() == wanted


def test_bounds_are_kept() -> None:
    for line in LINES[3:]:
        spec, arrays = problem(line)
        bounds = np.quantile(check(spec, [*arrays.values()]), (0.2, 0.8)).astype(int)
        arrays["bounds"][...] = bounds
        got = check(spec, [*arrays.values()])
        assert [got.min(), got.max()] == bounds.tolist()


def test_the_largest_sum_of_a_mean_is_exact() -> None:
    spec, arrays = problem(f"qmean c1 h{MOST_PIXELS // 4096} w4096 nhwc uint8")
    arrays["x"][...], arrays["zeros"][...], arrays["scale"][...] = 255, 0, 0.5
    assert check(spec, [*arrays.values()]).item() == 128


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize(("kind", "operator"), [
    ("quantize", "QuantizeLinear"), ("dequantize", "DequantizeLinear"),
])  # fmt: skip
def test_onnx_computes_the_same(kind: str, operator: str, dtype: str) -> None:
    spec, arrays = problem(f"{kind} c37 hw9 nhwc {dtype}")
    node = onnx.helper.make_node(operator, ["x", "scale", "zero"], ["y"])
    given = {"x": arrays["x"], "scale": arrays["scale"][0], "zero": arrays["zero"][0].astype(dtype)}
    (wanted,) = ReferenceEvaluator(node).run(None, given)
    np.testing.assert_array_equal(check(spec, [*arrays.values()]), wanted)


def test_costs_count_the_bytes_of_each_type() -> None:
    cost = dw.cost("quantize c8 hw4 nhwc uint8")
    assert (cost.macs, cost.params, cost.bytes) == (0, 2, 5 * 128 + 8)
    assert dw.cost("qadd c8 hw4 nhwc int8").bytes == 3 * 128 + 8 + 12 + 8


def test_the_second_image_is_computed() -> None:
    assert dw.parse("qmul n2 c8 hw4 nhwc int8 gate").operands["other"] == (2, 1, 1, 8)
    assert dw.parse("qadd c8 hw4 nhwc int8").computed == ("other",)
    assert dw.parse("lookup c8 hw4 nhwc int8").computed == ()


def test_arrays_are_of_types_of_their_own() -> None:
    spec, arrays = problem("dequantize c8 hw4 nhwc int8")
    with pytest.raises(DTypeError, match="x has the problem's dtype int8; got float32"):
        dw.compile(spec)(arrays["x"].astype(np.float32), arrays["scale"], arrays["zero"])


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        ("lookup c8 hw4 uint8", ParseError, "lookup is of nhwc images"),
        ("lookup c8 hw4 nhwc", ParseError, "lookup needs dtype"),
        ("lookup hw4 nhwc int8", ParseError, "lookup needs c"),
        ("lookup c8 nhwc int8", ParseError, "lookup needs h"),
        ("lookup c8 hw4 nhwc uint8 bias", ParseError, "lookup has no bias"),
        ("lookup c8 hw4 nhwc float32", DTypeError, "dtype is one of int8, uint8; got 'float32'"),
        ("qmul c8 hw4 nhwc uint8 gate gate", ParseError, "gate is given once"),
        ("qadd c8 hw4 nhwc uint8 gate", SpecError, "a gate is that of a qmul: qadd c8 hw4"),
        ("qmul c8 hw4 nhwc uint8 gate other@9", SpecError, "pitches are of x, y"),
        ("qmean c8 hw4 nhwc uint8 y@9", SpecError, "pitches are of x"),
        ("qmean c8 hw4000 nhwc uint8", SpecError, "at most 8388608 pixels; got 16000000"),
        ("qadd c0 hw4 nhwc uint8", SpecError, "sizes are at least 1; got c=0"),
        ("qadd c65536 hw65536 nhwc int8", SpecError, "no array has more than"),
    ],
)
def test_what_cannot_be_is_refused(line: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        dw.parse(line)
