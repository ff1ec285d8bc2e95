"""A model of ONNX from a file, from bytes or as it is: whole, with its weights, and sound."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path

import onnx.inliner
import onnx.version_converter
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, external_data_helper

from depthwise.errors import ModelError
from depthwise.onnx.versions import graphs_in

_OLDEST = 7
"""The opset from which on ONNX Runtime has all operators."""
_LARGEST = 2**31 - 1
"""The bytes from which on a model cannot be one message."""


def model_of(source: str | os.PathLike[str] | bytes | ModelProto) -> ModelProto:
    """Return a model.

    Raises:
        ModelError: it is none of ONNX, truncated, or its weights are missing.
        OSError: the file cannot be read.
    """
    content: bytes | None = None
    home: Path | None = None
    if isinstance(source, ModelProto):
        model = source
    elif isinstance(source, bytes):
        content, model = source, _parsed(source, "the bytes given")
    else:
        path = Path(source)
        content, home = path.read_bytes(), path.parent
        model = _parsed(content, str(path))
    whole = not _read_weights(model, home)
    _check(model, content if whole else None)
    return _converted(_inlined(model))


def is_quantized(model: ModelProto) -> bool:
    """Whether a model computes with whole numbers that stand for real ones."""
    return any(_rounds(node) for node in model.graph.node)


def _rounds(node: NodeProto) -> bool:
    return str(node.op_type).startswith(("QuantizeLinear", "QLinear"))


def _parsed(data: bytes, name: str) -> ModelProto:
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(f"a model is a file of ONNX, whole; got {name}: {error}") from None
    if not model.graph.node and not model.graph.output:
        raise ModelError(f"a model is a file of ONNX with a graph; got none in {name}")
    return model


def _read_weights(model: ModelProto, home: Path | None) -> bool:
    """Read the weights that lie in files of their own, beside the model; whether there are any."""
    apart = [
        each
        for each in external_data_helper._get_all_tensors(model)
        if external_data_helper.uses_external_data(each)
    ]
    if apart and home is None:
        raise ModelError(
            f"a model whose weights lie in files of their own is loaded from its file; got "
            f"{len(apart)} such weights, the first {apart[0].name!r}"
        )
    for tensor in apart:
        try:
            external_data_helper.load_external_data_for_tensor(tensor, str(home))
        except Exception as error:  # checks of paths and sizes, in several classes
            raise ModelError(
                f"the weights of a model lie beside it in {home}; got {tensor.name!r}: {error}"
            ) from None
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
    return bool(apart)


def _check(model: ModelProto, content: bytes | None) -> None:
    """Refuse what is no model.

    Args:
        model: with all its weights.
        content: the same as bytes, where there are any; to make them takes long.

    Raises:
        ModelError: with the words of ONNX's own checker.
    """
    if (model.ByteSize() if content is None else len(content)) > _LARGEST:
        return  # its checker takes no such messages
    shapeless = list(_shapeless(model.graph))
    for port in shapeless:  # as many files leave it; the checker does not
        port.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(model if shapeless or content is None else content)
    except Exception as error:  # words that are no text, too
        raise ModelError(f"a model keeps ONNX's rules; got {in_a_line(error)}") from None
    finally:
        for port in shapeless:
            port.type.tensor_type.ClearField("shape")


def _shapeless(graph: GraphProto) -> Iterator[ValueInfoProto]:
    """Yield the inputs and outputs of a graph, and of graphs in it, of which no rank is known."""
    for port in (*graph.input, *graph.output):
        kind = port.type.tensor_type
        if port.type.HasField("tensor_type") and not kind.HasField("shape"):
            yield port
    for node in graph.node:
        for inner in graphs_in(node):
            yield from _shapeless(inner)


def _inlined(model: ModelProto) -> ModelProto:
    """Return a model without functions of its own."""
    if not model.functions:
        return model
    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as error:  # in several classes
        raise ModelError(f"functions of a model can be inlined; got {in_a_line(error)}") from None


def _converted(model: ModelProto) -> ModelProto:
    """Return a model whose operators are of an opset that ONNX Runtime has them of.

    Raises:
        ModelError: they are older, and ONNX cannot convert them.
    """
    opset = max((each.version for each in model.opset_import if not each.domain), default=_OLDEST)
    if opset >= _OLDEST:
        return model
    numbers = {each.name for each in model.graph.initializer if math.prod(each.dims) == 1}
    for node in model.graph.node:
        if _is_mistaken(node, numbers):
            raise ModelError(
                f"a model that broadcasts along an axis is of opset {_OLDEST} or newer; got "
                f"{opset} and {node.op_type} {node.name or node.output[0]!r}"
            )
    try:
        return onnx.version_converter.convert_version(model, _OLDEST)
    except Exception as error:  # in several classes
        raise ModelError(
            f"a model's operators are of opset {_OLDEST} or newer, or ONNX converts them; got "
            f"{opset}: {in_a_line(error)}"
        ) from None


def _is_mistaken(node: NodeProto, numbers: AbstractSet[str]) -> bool:
    """Whether ONNX's conversion may let a node broadcast along another axis than it did.

    It takes any axis for the first, and knows nothing of slopes for each channel.
    """
    given = {each.name: each.i for each in node.attribute}
    slopes = node.op_type == "PRelu" and node.input[1] not in numbers
    return slopes or bool(given.get("broadcast") and given.get("axis"))


def in_a_line(error: BaseException) -> str:
    """Return what an error says without line breaks."""
    return " ".join(str(error).split())
