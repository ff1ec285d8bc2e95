"""Quantized depthwise convolutions: every number as the oracle has it, on every instruction set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import depthwise as dw
from depthwise.machine.target import named
from depthwise.problem.reference import forward
from depthwise.problem.spec import ConvSpec
from depthwise.schedule import legal_plans
from strategies import depthwise_specs
from test_quantized import CPUS, arrays_of, check

LINES = (
    "depthwise c144 hw14 k3 p1 nhwc int8 bias",
    "depthwise c32 hw15 k3 s2 p0,1,0,1 nhwc uint8 bias table",
    "depthwise c10 hw9 k5 s2 p2 nhwc int8 bias",
    "depthwise c58 hw7 k3 p1 m2 nhwc uint8 bias",
    "depthwise c20 h9 w7 k3 p2 d2 nhwc uint8 reflect",
    "depthwise c40 h5 w30 k1x7 p0,3 nhwc uint8 bias",
    "depthwise c24 hw20 k13 p6 nhwc int8",
    "depthwise1d c40 l50 k7 p3 nlc uint8 bias",
    "depthwise1d c33 l40 k4 s2 p3,0 d3 nlc int8 table",
)


@st.composite
def quantized(draw: st.DrawFn) -> ConvSpec:
    spec = draw(depthwise_specs(size=20, kernel=7))
    layout = "NLC" if spec.kind == "depthwise1d" else "NHWC"
    dtype, table = draw(st.sampled_from(("uint8", "int8"))), draw(st.booleans())
    return replace(spec, layout=layout, dtype=dtype, activation=None, table=table)


@settings(max_examples=40)
@given(quantized(), st.integers(0, 99), st.booleans(), st.sampled_from(CPUS))
def test_sums_are_exact(spec: ConvSpec, seed: int, extreme: bool, cpu: str | None) -> None:
    check(spec, arrays_of(spec, seed, extreme), cpu)


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("line", LINES)
def test_sums_are_exact_on_two_threads(line: str, cpu: str | None) -> None:
    spec = dw.parse(line)
    assert isinstance(spec, ConvSpec)
    assert str(spec) == line
    check(spec, arrays_of(spec, 1, extreme=False), cpu, threads=2)


@settings(max_examples=16)
@given(quantized(), st.randoms(use_true_random=False), st.sampled_from(CPUS))
def test_any_legal_plan_is_exact(spec: ConvSpec, random: object, cpu: str | None) -> None:
    target = named(cpu)
    plan = random.choice(list(legal_plans(spec, target)))  # type: ignore[attr-defined]
    kernel = dw.compile(spec, plan, cpu)
    arrays = arrays_of(spec, 1, extreme=True)
    np.testing.assert_array_equal(kernel(*arrays), forward(spec, *arrays))


@settings(max_examples=12)
@given(quantized(), st.integers(1, 9), st.integers(1, 9), st.integers(1, 64), st.sampled_from(CPUS))
def test_no_tile_makes_a_result_wrong(
    spec: ConvSpec, tw: int, th: int, tc: int, cpu: str | None
) -> None:
    kernel = dw.compile(spec, dw.Plan("quantized_depthwise", tc=tc, tw=tw, th=th), cpu)
    arrays = arrays_of(spec, 2, extreme=False)
    np.testing.assert_array_equal(kernel(*arrays), forward(spec, *arrays))


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("zero", [0, 1, 126, 127, -127, -128])
def test_padding_stands_for_zero_whatever_the_zero_point(zero: int, dtype: str) -> None:
    spec = ConvSpec.depthwise(20, 6, 3, padding=2, layout="NHWC", dtype=dtype)
    arrays = arrays_of(spec, 4, extreme=False)
    zero += 128 if dtype == "uint8" else 0
    for place in (0, 1):
        arrays[spec.array_names.index("zeros")][place] = zero
    for cpu in CPUS:
        check(spec, arrays, cpu)


@settings(max_examples=16)
@given(
    quantized(), st.integers(0, 30), st.integers(0, 30), st.integers(1, 3), st.sampled_from(CPUS)
)
@example(dw.parse("depthwise c3 hw9 k3 p1 nhwc uint8 bias"), 4, 5, 2, "haswell")
def test_only_the_arrays_are_touched(
    guarded: object, spec: ConvSpec, more: int, most: int, runs: int, cpu: str | None
) -> None:
    if named(cpu).missing:
        pytest.skip(f"this machine is no {cpu}")
    if spec.layout == "NHWC":
        spec = spec.pitched({"x": spec.channels + more, "y": spec.out_channels + most})
    guarded.check(spec, runs=runs, cpu=cpu)  # type: ignore[attr-defined]


def test_bytes_are_multiplied_by_one_instruction_where_there_is_one() -> None:
    kernel = dw.compile("depthwise c32 hw9 k3 p1 nhwc uint8", target="alderlake")
    assert "vpdpbusd" in kernel.show("asm")
