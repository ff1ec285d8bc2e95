"""Kernels for every device that has a name, run by emulators against the oracle."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import depthwise as dw
from cross import instructions, result
from depthwise.errors import TargetError
from depthwise.machine import toolchains
from depthwise.machine.devices import DEVICES
from depthwise.machine.target import named
from depthwise.problem import reference

EMULATED = [name for name in DEVICES if named(name).triple and "x86" not in name]
ALIKE = {"cortex-a53", "cortex-a72", "cortex-m7"}
"""Whose code differs little from that of others."""

FEW = [
    "depthwise c5 hw6 k3 p1 nhwc bias relu6",
    "pointwise c10 o7 hw4 nhwc bias relu",
    "conv c3 o9 hw7 k3 s2 p1 nhwc bias",
    "pointwise c10 o13 hw4 nhwc {} bias residual",
    "conv c3 o9 hw7 k3 s2 p1 nhwc {} bias table",
    "depthwise c9 hw6 k3 p1 nhwc {} bias",
]
MORE = [
    "depthwise c5 hw6 k3 p1 bias relu",
    "depthwise1d c6 l12 k4 causal nlc bias",
    "conv c4 o6 hw6 k3 g2 p1 nhwc",
    "separable c8 o16 hw6 k3 p1 nhwc bias relu/relu6",
    "pointwise c20 o9 hw5 nhwc {} bias",
    "depthwise c4 m2 hw6 k3 p1 nhwc {}",
    "depthwise c8 h7 w8 k3 s2 p1 nhwc {} bias",
    "depthwise1d c24 l9 k4 p3,0 nlc {} bias",
    "gather c8,6 hw5 nhwc {} a[0:3] b[1:6]",
    "maxpool c9 hw6 k3 s2 p1 nhwc {}",
    "avgpool c9 hw6 k3 s2 p1 nhwc {}",
    "avgpool c9 hw6 k3 s2 p1 nhwc",
    "elementwise c7 hw5 nhwc mul.gate add.channel tanh",
    "lookup c13 hw5 nhwc {}",
    "qadd n2 c9 hw4 nhwc {}",
    "qmean n2 c15 hw5 nhwc {}",
    "linear n2 c7 h3 w4 to5x9 nhwc align_corners",
]


def check(line: str, device: str, folder: Path) -> None:
    target = named(device)
    for seed, dtype in enumerate(("int8", "uint8") if "{}" in line else ("",)):
        spec = dw.parse(line.format(dtype))
        *arrays, _ = dw.random_problem(spec, seed)
        narrow_bounds(spec, arrays, seed)
        right = reference.forward(spec, *arrays).astype(spec.dtype_of("y"))
        got = result(spec, arrays, target, folder)
        if dtype:
            np.testing.assert_array_equal(got, right)
        else:
            rtol, atol = reference.tolerance(spec)
            np.testing.assert_allclose(got, right, rtol, atol)


def narrow_bounds(spec, arrays, seed: int) -> None:
    """Let results end before the numbers of their type do, for every second seed."""
    if "bounds" in spec.operands and seed % 2:
        bounds = arrays[1 + list(spec.operands).index("bounds")]
        bounds[0] += 40
        bounds[1] -= 60


@pytest.mark.parametrize("line", FEW)
@pytest.mark.parametrize("device", [name for name in EMULATED if name not in ALIKE])
def test_results_are_the_oracles(line: str, device: str, tmp_path: Path) -> None:
    check(line, device, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("line", MORE)
@pytest.mark.parametrize("device", EMULATED)
def test_more_results_are_the_oracles(line: str, device: str, tmp_path: Path) -> None:
    check(line, device, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "line", "most"),
    [
        ("cortex-m4f", "pointwise c128 o128 hw6 nhwc int8 bias", 1.0),
        ("cortex-m7", "pointwise c64 o64 hw12 nhwc int8 bias", 1.15),
        ("cortex-m4f", "depthwise c8 hw48 k3 p1 nhwc int8 bias", 2.5),
        ("cortex-m7", "depthwise c64 hw12 k3 p1 nhwc int8 bias", 2.9),
        ("cortex-a76", "pointwise c128 o128 hw6 nhwc int8 bias", 0.12),
    ],
)
def test_a_product_takes_few_instructions(
    device: str, line: str, most: float, tmp_path: Path
) -> None:
    spec = dw.parse(line)
    *arrays, _ = dw.random_problem(spec)
    assert instructions(spec, arrays, named(device), tmp_path) <= most * dw.cost(spec).macs


def test_a_kernel_for_a_device_can_be_read_and_not_be_called() -> None:
    kernel = dw.compile("depthwise c8 hw9 k3 p1 nhwc int8 bias", target="cortex-m4f")
    assert "smlad" in kernel.show("asm")
    *arrays, _ = dw.random_problem(kernel.spec)
    with pytest.raises(TargetError, match="cortex-m4f needs thumbv7em, which this machine lacks"):
        kernel(*arrays)


def test_any_machine_has_no_code() -> None:
    with pytest.raises(TargetError, match="c has no machine code"):
        dw.compile("pointwise c8 o8 hw4 nhwc", target="c")


@pytest.mark.parametrize("device", ["cortex-m0plus", "armv7", "cortex-m4f", "wasm32", "riscv64"])
def test_whole_numbers_are_rounded_without_the_c_library(device: str) -> None:
    kernel = dw.compile("depthwise c8 hw9 k3 p1 nhwc int8 bias", target=device)
    assert "lrintf" not in kernel.show("asm")


def test_a_compiler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchains.shutil, "which", lambda _: None)
    with pytest.raises(TargetError, match=r"cortex-m7 needs arm-none-eabi-gcc, .*gcc-arm"):
        toolchains.found(named("cortex-m7"))
    monkeypatch.setitem(sys.modules, "ziglang", None)
    assert all(toolchains.lacking().values())


def test_each_device_has_a_toolchain_that_fits() -> None:
    for name in DEVICES:
        toolchain = toolchains._of(named(name))
        assert toolchain.compiler
        assert toolchain.archiver[-1].endswith("ar")
