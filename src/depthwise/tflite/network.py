"""A file of TFLite as a model of ONNX, and as a network that can be called."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from onnx import ModelProto

from depthwise.errors import ModelError
from depthwise.network.network import Network
from depthwise.network.steps import State
from depthwise.onnx.inference import inferred
from depthwise.onnx.network import from_onnx
from depthwise.tflite import assignments, convolutions, elements, shapes
from depthwise.tflite.files import File, checked, read
from depthwise.tflite.translation import Translate, Translation

OPERATORS: Mapping[str, Translate] = {
    **convolutions.TABLE, **elements.TABLE, **shapes.TABLE, **assignments.TABLE,
}  # fmt: skip
"""What writes an operator, by its name."""


def from_tflite(
    source: str | os.PathLike[str] | bytes,
    sizes: Mapping[str, tuple[int, ...]] | Sequence[tuple[int, ...]] | None,
    threads: int | None,
) -> Network:
    """Return a network; see `loading.load`."""
    model, states = _translated(source)
    net = from_onnx(model, sizes, threads)
    return Network(replace(net.program, states=states), threads) if states else net


def as_onnx(source: str | os.PathLike[str] | bytes) -> ModelProto:
    """Return a file of TFLite as a model of ONNX, its variables as the last inputs and outputs.

    Raises:
        ModelError: it is damaged, or has operators that are none of ours.
        OSError: it cannot be read.
    """
    return _translated(source)[0]


def _translated(
    source: str | os.PathLike[str] | bytes,
) -> tuple[ModelProto, tuple[State, ...]]:
    """Return the same, and which of its inputs and outputs are states."""
    network = read(source)
    _check_operators(network)
    with checked("its operators"):
        translation = Translation(network)
        model = translation.model(OPERATORS)
        _check_shapes(model, translation)
        states = tuple(
            State(
                taken=len(network.inputs) + number, made=len(network.outputs) + number,
                initial=variable.initial,
            )
            for number, variable in enumerate(translation.variables.states())
        )  # fmt: skip
    return model, states


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


def _check_shapes(model: ModelProto, translation: Translation) -> None:
    """Refuse a file whose values have other shapes than it says, from which paddings followed.

    Raises:
        ModelError: it names the first.
    """
    found = inferred(model, translation.sizes(), fixed=True).shapes
    for name, shape in translation.stated().items():
        if found.get(name, shape) != shape:
            raise ModelError(
                f"values have the shapes that a file of TFLite says; got {found[name]} for "
                f"{name!r} of {shape}"
            )
