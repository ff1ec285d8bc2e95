"""Networks of the bench in whole numbers of 8 bits, each behind itself in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import ceil
from pathlib import Path

import numpy as np

from depthwise.bench.inference.files import OnnxFile
from depthwise.bench.inference.problem import NetworkProblem, Posable
from depthwise.measure import network_files
from depthwise.quantizing import quantize

DTYPE = "int8"
"""What such a network is called: its weights are int8, its activations uint8."""
_IMAGES = 8
"""From which the ranges of values are found, at least."""


def problems(
    networks: Iterable[NetworkProblem], folder: Path, step: Callable[[str], None]
) -> list[Posable]:
    """Return each network as a file of ONNX, once in float32 and once quantized.

    Args:
        networks: the networks.
        folder: where the files are written, and stay.
        step: called before each piece of work with words that name it.

    Raises:
        ModelError: the package of ONNX is not installed.
    """
    found: list[Posable] = []
    for problem in networks:
        step(f"quantize {problem}")
        here = folder / problem.network
        here.mkdir()
        problem.write(here)
        plain, whole = (folder / f"{problem.network}{end}" for end in (".onnx", f".{DTYPE}.onnx"))
        (here / network_files.ONNX).rename(plain)
        batch, *image = problem.input_shape
        shape = ceil(_IMAGES / batch) * batch, *image
        images = np.random.default_rng(problem.seed).standard_normal(shape, np.float32)
        quantize(plain, images).save(whole)
        found += [OnnxFile(plain, ()), OnnxFile(whole, ())]
    return found
