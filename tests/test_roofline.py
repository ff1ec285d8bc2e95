"""The limits: what the probes compute, and what is concluded from their times (given here)."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable

import numpy as np
import pytest

from depthwise.errors import InternalError, SpecError
from depthwise.kernel import code
from depthwise.machine import target
from depthwise.measure import roofline
from depthwise.measure.roofline import Copy, Roofline
from depthwise.programs import build, probes

KIB = 2**10


def example() -> Roofline:
    copies = (Copy(16 * KIB, 200.0, "L1"), Copy(64 * KIB, 50.0, "L2"), Copy(256 * KIB, 50.0, "L2"))
    return Roofline(1, "float32", "some-cpu", peak_gflops=100.0, copies=copies)


@pytest.mark.parametrize(
    ("footprint_kib", "gbytes_per_s"),
    [(1, 200.0), (16, 200.0), (32, 100.0), (64, 50.0), (128, 50.0), (256, 50.0), (10**6, 50.0)],
)
def test_bandwidth_between_the_points_is_geometric_and_ends_flat(
    footprint_kib: int, gbytes_per_s: float
) -> None:
    assert example().bandwidth(footprint_kib * KIB) == pytest.approx(gbytes_per_s)


def test_the_limit_is_the_slower_of_arithmetic_and_copy() -> None:
    assert example().limit_us(flops=2e6, nbytes=16 * KIB) == pytest.approx(20.0)
    assert example().limit_us(flops=10, nbytes=64 * KIB) == pytest.approx(64 * KIB / 50e3)


def test_levels_hold_the_best_bandwidth_of_each() -> None:
    assert example().levels() == {"L1": 200.0, "L2": 50.0}


def test_plain_data_for_json() -> None:
    assert json.loads(json.dumps(example().as_dict()))["copies"][0] == {
        "footprint_bytes": 16 * KIB,
        "gbytes_per_s": 200.0,
        "level": "L1",
    }


def test_a_smaller_footprint_reaches_what_a_larger_one_does() -> None:
    caches = {"L1": 32, "L2": 128}
    points = roofline.curve([(16, 90.0), (32, 80.0), (64, 95.0), (512, 10.0)], caches)
    assert points == (
        Copy(16, 95.0, "L1"),
        Copy(32, 95.0, "L1"),
        Copy(64, 95.0, "L2"),
        Copy(512, 10.0, "memory"),
    )


def test_footprints_reach_from_half_the_first_cache_beyond_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(target, "caches", lambda: {"L1": 32 * KIB, "L2": 512 * KIB})
    assert roofline.levels(threads=4) == {"L1": 128 * KIB, "L2": 512 * KIB}
    assert roofline.footprints(threads=4) == [64 * KIB << n for n in range(6)]


def test_footprints_without_known_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "caches", dict)
    sizes = roofline.footprints(threads=1)
    assert (sizes[0], sizes[-1]) == (roofline.SMALLEST, roofline.LARGEST)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_chain_computes_each_step_on_every_lane(dtype: str) -> None:
    machine = target.host()
    registers = machine.vector_registers - probes.SPARE_REGISTERS
    x = np.random.default_rng(0).random((2, registers, machine.lanes(dtype))).astype(dtype)
    y = np.full_like(x, np.nan)
    code.loaded(
        build.build({build.SYMBOL: probes.fma_chain(machine, dtype, tasks=2, steps=3)}, machine)
    ).run(2, x, y)
    np.testing.assert_allclose(y, ((x / 2 + 1) / 2 + 1) / 2 + 1, rtol=1e-6)


def test_the_chain_of_products_computes_each_step_on_every_lane() -> None:
    machine = target.host()
    registers = machine.vector_registers - probes.SPARE_REGISTERS
    shape = (2, registers, machine.lanes("int32"))
    x = np.random.default_rng(0).integers(-(2**31), 2**31, shape, np.int32)
    y = np.zeros_like(x)
    program = probes.product_chain(machine, tasks=2, steps=3)
    code.loaded(build.build({build.SYMBOL: program}, machine)).run(2, x, y)
    expected = x.astype(np.uint32)
    for _ in range(3):
        if machine.dots == "none":
            factor = np.uint32(probes.FACTOR)
            expected = expected * factor + np.uint32(probes.FIXED) * (np.uint32(1) - factor)
        else:
            elements = expected.view(np.uint8).reshape(*shape, 4).astype(np.int64)
            expected = expected + (elements @ np.array(probes.WEIGHTS)).astype(np.uint32)
    np.testing.assert_array_equal(y, expected.view(np.int32))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names of instructions")
@pytest.mark.parametrize(
    ("cpu", "instructions"),
    [
        ("cascadelake", {"vpdpbusd": 28}),
        ("skylake-avx512", {"vpmaddubsw": 28, "vpmaddwd": 28, "vpaddd": 28}),
        ("haswell", {"vpmaddubsw": 12, "vpmaddwd": 12, "vpaddd": 12}),
        ("nehalem", {"pmulld": 12, "paddd": 12}),
    ],
)
def test_the_chain_is_of_the_instructions_that_a_target_has(
    cpu: str, instructions: dict[str, int]
) -> None:
    machine = target.named(cpu)
    program = probes.product_chain(machine, tasks=1, steps=10**6)
    words = build.build({build.SYMBOL: program}, machine).assembly.split()
    for instruction, count in instructions.items():
        assert words.count(instruction) in (count, 2 * count), instruction


def test_the_peak_of_whole_numbers_is_that_of_their_products(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(roofline, "sample", run_once)
    monkeypatch.setattr(roofline, "footprints", lambda _: [16 * KIB])
    steps: list[str] = []
    measured = roofline.measure(1, "uint8", step=steps.append)
    machine = target.host()
    lanes = (machine.vector_registers - probes.SPARE_REGISTERS) * machine.lanes("int32")
    products = 1 if machine.dots == "none" else 4
    operations = 2 * products * lanes * roofline.CHAIN_STEPS
    assert measured.peak_gflops == pytest.approx(operations / 1e-3 / 1e9)
    assert steps[0] == "peak rate of products of bytes"


def test_the_copy_copies() -> None:
    machine = target.host()
    lanes = probes.COPY_REGISTERS * machine.lanes("float32")
    x = np.random.default_rng(0).random((2, 5, lanes), np.float32)
    y = np.full_like(x, np.nan)
    code.loaded(
        build.build({build.SYMBOL: probes.copy(machine, tasks=2, vectors=5, repeats=2)}, machine)
    ).run(2, x, y)
    np.testing.assert_array_equal(-x, y)


def test_the_copy_is_repeated_and_no_call() -> None:
    machine = target.host()
    once, often = (
        build.build({build.SYMBOL: probes.copy(machine, 2, 500, repeats)}, machine).assembly
        for repeats in (1, 12345)
    )
    assert "memcpy" not in often
    assert "12345" in often
    assert "12345" not in once


def run_once(run: Callable[[], object], _repeats: int) -> list[float]:
    """Take the place of the clock: every call lasts a millisecond."""
    run()
    return [1000.0, 2000.0]


def test_rates_are_work_over_the_fastest_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "sample", run_once)
    monkeypatch.setattr(roofline, "footprints", lambda _: [16 * KIB, 32 * KIB])
    steps: list[str] = []
    measured = roofline.measure(1, "float32", step=steps.append)
    machine = target.host()
    accumulators = machine.vector_registers - probes.SPARE_REGISTERS
    flops = 2 * accumulators * machine.lanes("float32") * roofline.CHAIN_STEPS
    assert measured.peak_gflops == pytest.approx(flops / 1e-3 / 1e9)
    assert [copy.gbytes_per_s for copy in measured.copies] == pytest.approx(
        [roofline.CALL_BYTES / 1e-3 / 1e9] * 2
    )
    assert steps == ["peak FMA rate", "copy of 16 KiB", "copy of 32 KiB"]


def test_a_probe_that_does_nothing_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "sample", lambda _run, _repeats: [1.0])
    monkeypatch.setattr(roofline, "footprints", lambda _: [16 * KIB])
    with pytest.raises(InternalError, match="the FMA chain tends to 2; got nan"):
        roofline.measure(1)


def test_more_threads_than_there_can_be_are_refused():
    with pytest.raises(SpecError, match="threads is at most 2147483647"):
        roofline.measure(10**20)
