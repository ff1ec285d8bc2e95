"""Kernels for every device that has a name, run by emulators against the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import depthwise as dw
from cross import result
from depthwise.machine.devices import DEVICES
from depthwise.machine.target import named
from depthwise.problem import reference

EMULATED = [name for name, target in DEVICES.items() if target.triple and "x86" not in name]
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
    "depthwise c4 m2 hw6 k3 p1 nhwc {}",
    "depthwise1d c24 l9 k4 p3,0 nlc {} bias",
]


def check(line: str, device: str, folder: Path) -> None:
    target = named(device)
    for seed, dtype in enumerate(("int8", "uint8") if "{}" in line else ("",)):
        spec = dw.parse(line.format(dtype))
        *arrays, _ = dw.random_problem(spec, seed)
        right = reference.forward(spec, *arrays).astype(spec.dtype_of("y"))
        got = result(spec, arrays, target, folder)
        if dtype:
            np.testing.assert_array_equal(got, right)
        else:
            rtol, atol = reference.tolerance(spec)
            np.testing.assert_allclose(got, right, rtol, atol)


@pytest.mark.parametrize("line", FEW)
@pytest.mark.parametrize("device", [name for name in EMULATED if name not in ALIKE])
def test_results_are_the_oracles(line: str, device: str, tmp_path: Path) -> None:
    check(line, device, tmp_path)
