"""Quantized convolutions on ARM: the instructions for dot products, run by QEMU."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cross import result
from depthwise.machine.target import named
from depthwise.problem import reference
from depthwise.problem.parse import parse
from depthwise.programs.writers import programs
from depthwise.schedule import default_plan
from test_quantized import arrays_of

CPUS = {"cortex-a72": "none", "neoverse-n1": "signed quads", "neoverse-v1": "quads"}
"""What each has for products of whole numbers."""
TARGETS = {cpu: replace(named("aarch64"), cpu=cpu, dots=dots) for cpu, dots in CPUS.items()}
EMULATOR = "qemu-aarch64", "-cpu", "max"
INSTRUCTIONS = {"neoverse-n1": r"\bsdot\b", "neoverse-v1": r"\b(?:usdot|sudot)\b"}

PROBLEMS = [
    "pointwise c20 o13 hw5 nhwc {} bias",
    "pointwise n2 c9 o40 h3 w7 nhwc {} bias residual",
    "pointwise c16 o8 hw6 nhwc {} table",
    "conv c3 o17 hw11 k3 s2 p1 nhwc {} bias",
    "conv c5 o6 hw9 k3 p2 d2 nhwc {}",
    "depthwise c21 hw9 k3 p1 nhwc {} bias",
    "depthwise n2 c8 hw12 k5 s2 p2 nhwc {} bias table",
    "depthwise c3 m2 hw8 k3 p1 nhwc {} bias",
    "depthwise1d c24 l19 k4 p3,0 nlc {} bias",
    "depthwise c32 hw7 k3 p2 d2 nhwc {} real",
]


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("line", PROBLEMS)
def test_results_are_the_oracles(line: str, dtype: str, cpu: str, tmp_path: Path) -> None:
    spec = parse(line.format(dtype))
    for arrays in (arrays_of(spec, 3, extreme=False), arrays_of(spec, 1, extreme=True)):
        right = reference.forward(spec, *arrays).astype(spec.dtype_of("y"))
        found = result(spec, arrays, TARGETS[cpu], tmp_path, emulator=EMULATOR)
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("cpu", INSTRUCTIONS)
@pytest.mark.parametrize(
    "line", ["pointwise c64 o32 hw8 nhwc {}", "depthwise c32 hw8 k3 p1 nhwc {}"]
)
def test_products_are_the_instructions_for_them(line: str, cpu: str) -> None:
    for dtype in ("uint8", "int8"):
        spec, target = parse(line.format(dtype)), TARGETS[cpu]
        (program,) = programs(spec, default_plan(spec, target), target)
        assembly = program.built.assembly
        assert len(re.findall(INSTRUCTIONS[cpu], assembly)) >= 8
        assert not re.search(r"\bs?mla\b", assembly)
