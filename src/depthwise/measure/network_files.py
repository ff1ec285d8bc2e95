"""The files by which a network is given to engines, and its arrays; needs NumPy alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depthwise.measure.posed import aligned_copy
from depthwise.problem.arrays import Array, aligned
from depthwise.problem.dtypes import numpy_type

MODULE = "network.pt"
"""The network in eval mode, for PyTorch."""
EXPORTED = "network.pt2"
"""A link to what `torch.export.save` wrote, instead."""
ONNX = "network.onnx"
"""The same network for other engines, or a link to it."""
SAVED = "network.dw"
"""A link to what `Network.save` wrote, which ours alone reads."""
TOLERANCE = 1e-4
"""The largest difference of results over the largest result, float32 against float64."""
_ABOUT = "about.json"


@dataclass(frozen=True)
class Posed:
    """What is known of a network once its files are there."""

    export_seconds: float = 0.0
    """What the export of the ONNX file took."""
    macs: int | None = None
    """Multiply-accumulates of the whole batch, where somebody counted them."""
    tolerance: float = TOLERANCE
    """How far results may be from those expected, over the largest of these."""
    no_onnx: str | None = None
    """Why there is no ONNX file, where one was to be exported."""


def write(
    folder: Path,
    inputs: Mapping[str, Array],
    expected: Mapping[str, Array],
    dtypes: Mapping[str, str] | None = None,
    open_sizes: Mapping[str, int] | None = None,
) -> None:
    """Write the arrays of a network, named and in the order in which it takes and returns them.

    Args:
        folder: where to.
        inputs: the images.
        expected: the results that are right, e.g. logits.
        dtypes: of the results that engines return, where that is another than that of `expected`.
        open_sizes: the size that stands for each word in the shapes of the ONNX file's inputs.
    """
    for kind, arrays in (("input", inputs), ("expected", expected)):
        for number, array in enumerate(arrays.values()):
            np.save(folder / f"{kind}{number}.npy", array)
    outputs = {name: str(array.dtype) for name, array in expected.items()} | dict(dtypes or {})
    about = {"inputs": list(inputs), "outputs": outputs, "open_sizes": dict(open_sizes or {})}
    (folder / _ABOUT).write_text(json.dumps(about))


def inputs(folder: Path) -> dict[str, Array]:
    """Return the images by the names of the network's inputs."""
    names = _about(folder)["inputs"]
    return {name: aligned_copy(folder / f"input{k}.npy") for k, name in enumerate(names)}


def expected(folder: Path) -> tuple[Array, ...]:
    """Return the results that are expected."""
    count = len(_about(folder)["outputs"])
    return tuple(np.load(folder / f"expected{number}.npy") for number in range(count))


def outputs(folder: Path) -> dict[str, Array]:
    """Return an array for each result by the name of the output; those of floats hold NaN."""
    dtypes: dict[str, str] = _about(folder)["outputs"]
    shapes = [array.shape for array in expected(folder)]
    arrays = {
        name: aligned(shape, numpy_type(dtype))
        for (name, dtype), shape in zip(dtypes.items(), shapes, strict=True)
    }
    for array in arrays.values():
        array.fill(np.nan if array.dtype.kind == "f" else 0)
    return arrays


def open_sizes(folder: Path) -> dict[str, int]:
    """Return the size that stands for each word in the shapes of the ONNX file's inputs."""
    sizes: dict[str, int] = _about(folder)["open_sizes"]
    return sizes


def file(folder: Path) -> Path:
    """Return the file that the network came in, beside which its weights may lie."""
    saved = folder / SAVED
    return (saved if saved.exists() else folder / ONNX).resolve()


def _about(folder: Path) -> dict[str, Any]:
    about: dict[str, Any] = json.loads((folder / _ABOUT).read_text())
    return about
