"""Which layers cost a network's results most, and which are left in float for that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from depthwise.errors import ModelError
from depthwise.onnx.accuracy import compared, results
from depthwise.onnx.quantizable import Layer
from depthwise.onnx.quantizer import Quantizer
from depthwise.onnx.samples import Samples

IMAGES = 16
"""How many images the errors of single layers are measured with, or a few more in whole calls."""


def errors(
    quantizer: Quantizer, layers: Sequence[Layer], samples: Samples, threads: int,
    step: Callable[[str], None],
) -> dict[str, float]:  # fmt: skip
    """Return the relative error of the results when each layer alone is quantized, by its name.

    Args:
        quantizer: of the model.
        layers: of it.
        samples: as many as this takes (`IMAGES`).
        threads: of each call.
        step: called before each layer.
    """
    wanted = list(results(quantizer.model, samples, threads))
    found = {}
    for number, layer in enumerate(layers, 1):
        step(f"layer {number} of {len(layers)}: {layer.name}")
        alone = quantizer.alone(layer.name)
        found[layer.name] = compared(wanted, results(alone, samples, threads)).error
    return found


def left_in_float(
    costs: Mapping[str, float], tolerance: float, error: Callable[[Sequence[str]], float]
) -> list[str]:
    """Return the fewest of the layers that cost most with which the results are near enough.

    Args:
        costs: of each layer.
        tolerance: the relative error that results may have.
        error: what it is when some layers are left in float.

    Raises:
        ModelError: they are near enough only if all layers are left in float.
    """
    order = sorted(costs, key=lambda name: -costs[name])
    low, high = 0, len(order)
    tried: dict[int, float] = {}
    while low < high:
        count = (low + high) // 2 if tried else 0
        tried[count] = error(order[:count])
        low, high = (low, count) if tried[count] <= tolerance else (count + 1, high)
    if low == len(order):
        raise ModelError(
            f"a tolerance leaves layers that can be quantized; got {tolerance:g}, and with one "
            f"quantized layer of {len(order)} the relative error of the results is "
            f"{tried[low - 1]:.2g}"
        )
    return order[:low]
