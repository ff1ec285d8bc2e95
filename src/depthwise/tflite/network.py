"""A file of TFLite as a model of ONNX, and as a network that can be called."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from onnx import ModelProto

from depthwise.errors import ModelError
from depthwise.network.network import Network
from depthwise.onnx.inference import inferred
from depthwise.onnx.network import from_onnx
from depthwise.tflite import convolutions, elements, shapes
from depthwise.tflite.files import File, checked, read
from depthwise.tflite.translation import Translate, Translation

OPERATORS: Mapping[str, Translate] = {**convolutions.TABLE, **elements.TABLE, **shapes.TABLE}
"""What writes an operator, by its name."""


def from_tflite(
    source: str | os.PathLike[str] | bytes,
    sizes: Mapping[str, tuple[int, ...]] | Sequence[tuple[int, ...]] | None,
    threads: int | None,
) -> Network:
    """Return a network; see `loading.load`."""
    return from_onnx(as_onnx(source), sizes, threads)


def as_onnx(source: str | os.PathLike[str] | bytes) -> ModelProto:
    """Return a file of TFLite as a model of ONNX.

    Raises:
        ModelError: it is damaged, or has operators that are none of ours.
        OSError: it cannot be read.
    """
    network = read(source)
    _check_operators(network)
    with checked("its operators"):
        translation = Translation(network)
        model = translation.model(OPERATORS)
        _check_shapes(model, translation, network)
    return model


def _check_operators(network: File) -> None:
    """Refuse operators that we do not write, all at once.

    Raises:
        ModelError: it names them.
    """
    strange = dict.fromkeys(each.kind for each in network.operators if each.kind not in OPERATORS)
    if strange:
        raise ModelError(
            "the operators of a file of TFLite are among those of docs/tflite.md (export the "
            f"network to ONNX, or without them); got {', '.join(strange)}"
        )


def _check_shapes(model: ModelProto, translation: Translation, network: File) -> None:
    """Refuse a file whose values have other shapes than it says, from which paddings followed.

    Raises:
        ModelError: it names the first.
    """
    names = [port.name for port in model.graph.input]
    tensors = [network.tensors[number] for number in network.inputs]
    sizes = {name: tensor.shape for name, tensor in zip(names, tensors, strict=True)}
    found = inferred(model, sizes, fixed=True).shapes
    for name, shape in translation.stated().items():
        if found.get(name, shape) != shape:
            raise ModelError(
                f"values have the shapes that a file of TFLite says; got {found[name]} for "
                f"{name!r} of {shape}"
            )
