"""The shapes and types of a model's values, by ONNX's own inference, and its constants folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import (
    ModelProto,
    NodeProto,
    SparseTensorProto,
    TensorProto,
    TypeProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)

from depthwise.errors import ModelError
from depthwise.network.graph import Codes
from depthwise.onnx.files import in_a_line
from depthwise.onnx.versions import graphs_in
from depthwise.problem.arrays import Array

_SMALL = 1024
"""Bytes of a constant up to which a shape may depend on its elements."""
_ROUNDS = 8
"""How often shapes are inferred anew, each time with more constants known."""
CHANCE = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli",
          "Multinomial")  # fmt: skip
"""The operators whose results are others in each call."""


@dataclass
class Inferred:
    """What is known of a model's values by name.

    Attributes:
        nodes: those that are left when everything constant is computed.
        constants: the arrays that are the same in each call.
        codes: the whole numbers that some of these were computed from.
        shapes: for inputs of the example's sizes.
        types: as ONNX has them.
    """

    nodes: list[NodeProto]
    constants: dict[str, Array]
    codes: dict[str, Codes] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    types: dict[str, TypeProto] = field(default_factory=dict)


def inferred(model: ModelProto, sizes: Mapping[str, tuple[int, ...]], *, fixed: bool) -> Inferred:
    """Return what is known of a model for inputs of these shapes.

    Args:
        model: a sound model.
        sizes: the shape of each input.
        fixed: whether inputs have these sizes in every call: then shapes are constants.

    Raises:
        ModelError: a node does not fit the shapes of what it takes.
    """
    graph = model.graph
    constants = {each.name: _array(each) for each in graph.initializer}
    constants |= {each.values.name: _dense(each) for each in graph.sparse_initializer}
    found = Inferred([_complete(node) for node in graph.node], constants)
    for _ in range(_ROUNDS):
        _infer(model, found, sizes)
        if not (_fold(model, found, fixed=fixed)):
            break
    for node in found.nodes:
        _check_window(node, found)
    return found


def _check_window(node: NodeProto, found: Inferred) -> None:
    """Refuse a convolution of less than a window, which ONNX's inference lets pass.

    Raises:
        ModelError: it names the node.
    """
    if node.op_type != "Conv" or node.domain not in ("", "ai.onnx"):
        return
    known = {**{name: array.shape for name, array in found.constants.items()}, **found.shapes}
    size, taps = (known.get(name, ())[2:] for name in node.input[:2])
    given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    if given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or len(size) != len(taps):
        return
    pads, step = given.get("pads", [0] * 2 * len(taps)), given.get("dilations", [1] * len(taps))
    for axis, (length, count) in enumerate(zip(size, taps, strict=True)):
        padded = length + pads[axis] + pads[axis + len(taps)]
        if 0 < padded < step[axis] * (count - 1) + 1:
            raise ModelError(
                f"the nodes of a model fit together; got Conv {node.name or node.output[0]!r} of "
                f"{padded} elements along an axis with a window of {count}, {step[axis]} apart"
            )


def _array(tensor: TensorProto) -> Array:
    try:
        array: Array = numpy_helper.to_array(tensor)
        return array
    except Exception as error:  # in several classes
        raise ModelError(
            f"a model has the elements of its weights; got {tensor.name!r}: {in_a_line(error)}"
        ) from None


def _dense(sparse: SparseTensorProto) -> Array:
    """Return an array of which a file has the elements that are not zero."""
    values, where = _array(sparse.values), _array(sparse.indices)
    made = np.zeros(tuple(sparse.dims), values.dtype)
    made[np.unravel_index(where, made.shape) if where.ndim == 1 else tuple(where.T)] = values
    return made


def _complete(node: NodeProto) -> NodeProto:
    """Return a node with the axes that it means, where ONNX's inference does not know them."""
    if node.op_type != "MeanVarianceNormalization" or node.attribute or node.domain:
        return node
    made = NodeProto()
    made.CopyFrom(node)
    made.attribute.append(helper.make_attribute("axes", [0, 2, 3]))
    return made


def _infer(model: ModelProto, found: Inferred, sizes: Mapping[str, tuple[int, ...]]) -> None:
    """Let ONNX infer all shapes, of a model without the elements of large constants."""
    graph = model.graph
    inputs = [_sized(each, sizes.get(each.name)) for each in graph.input]
    names = {each.name for each in inputs}
    large = [
        helper.make_tensor_value_info(name, _kind(array), array.shape)
        for name, array in found.constants.items()
        if array.nbytes > _SMALL and name not in names
    ]
    small = [
        numpy_helper.from_array(array, name)
        for name, array in found.constants.items()
        if array.nbytes <= _SMALL
    ]
    made = {name for node in found.nodes for name in node.output}
    outputs = _open([each for each in graph.output if each.name in made])
    bare = helper.make_graph(found.nodes, graph.name or "graph", [*inputs, *large], outputs, small)
    skeleton = helper.make_model(
        bare, opset_imports=model.opset_import, ir_version=model.ir_version
    )
    try:
        known = onnx.shape_inference.infer_shapes(skeleton, strict_mode=True, data_prop=True)
    except Exception as error:  # in several classes
        raise ModelError(f"the nodes of a model fit together; got {in_a_line(error)}") from None
    for each in (*known.graph.input, *known.graph.value_info, *known.graph.output):
        found.types[each.name] = each.type
        shape = _shape(each.type)
        if shape is not None:
            found.shapes[each.name] = shape


def _open(outputs: Sequence[ValueInfoProto]) -> list[ValueInfoProto]:
    """Return outputs without the sizes that a file says they have, which hold for other inputs."""
    found = []
    for each in outputs:
        made = ValueInfoProto()
        made.CopyFrom(each)
        if made.type.HasField("tensor_type"):
            made.type.tensor_type.ClearField("shape")
        found.append(made)
    return found


def _sized(port: ValueInfoProto, shape: tuple[int, ...] | None) -> ValueInfoProto:
    if shape is None:
        return port
    return helper.make_tensor_value_info(port.name, port.type.tensor_type.elem_type, shape)


def _kind(array: Array) -> int:
    return int(helper.np_dtype_to_tensor_dtype(array.dtype))


def _shape(kind: TypeProto) -> tuple[int, ...] | None:
    """Return the shape that a type says; None where it says not all of it."""
    if not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    axes = kind.tensor_type.shape.dim
    if not all(axis.HasField("dim_value") for axis in axes):
        return None
    return tuple(axis.dim_value for axis in axes)


def dtype_of(kind: TypeProto | None) -> str | None:
    """Return NumPy's name of the elements of a type; None where they are not known, or none."""
    if kind is None or not kind.HasField("tensor_type"):
        return None
    if kind.tensor_type.elem_type == TensorProto.UNDEFINED:
        return None
    return str(np.dtype(helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type)))


def _fold(model: ModelProto, found: Inferred, *, fixed: bool) -> bool:
    """Compute what depends on constants alone; whether there was something."""
    known = found.constants
    left: list[NodeProto] = []
    for node in found.nodes:
        made: dict[str, Array] | None = None
        if fixed and _is_shape(node) and node.input[0] in found.shapes:
            made = {node.output[0]: _shape_of(node, found.shapes[node.input[0]])}
        elif _is_constant(node, known):
            codes = _codes(node, known)
            found.codes |= codes
            values = {name: each.values() for name, each in codes.items()}
            made = values or _made(model, node, known)
        if made is None:
            left.append(node)
        else:
            known.update(made)
    folded = len(left) < len(found.nodes)
    found.nodes = left
    return folded


def _codes(node: NodeProto, known: Mapping[str, Array]) -> dict[str, Codes]:
    """Return the whole numbers that a constant is computed from, by its name, if it is."""
    if node.op_type != "DequantizeLinear" or node.domain not in ("", "ai.onnx"):
        return {}
    given = {each.name: each.i for each in node.attribute}
    array, scale = known[node.input[0]], known[node.input[1]]
    whole = array.dtype.kind in "iu" and scale.dtype == np.float32 and not given.get("block_size")
    axis, each = given.get("axis", 1) % max(array.ndim, 1), scale.size > 1
    if not whole or array.ndim == 0 or (each and scale.shape != (array.shape[axis],)):
        return {}
    zero = known[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros_like(scale)
    if zero.size not in (1, scale.size):
        return {}
    zeros = np.broadcast_to(zero.reshape(-1).astype(np.int32), scale.reshape(-1).shape)
    return {node.output[0]: Codes(array, scale.reshape(-1), zeros, axis)}


def settle(model: ModelProto, found: Inferred, other: Inferred) -> None:
    """Fold what is computed of sizes that are the same for inputs of other sizes.

    Args:
        model: a sound model.
        found: what is known of it for an example.
        other: the same for another example, in which every size that may be another is.
    """
    pairs: dict[str, tuple[Array, Array]] = {}
    for node in found.nodes:
        taken, known = (node.input[0] if node.input else ""), found.constants
        if _is_shape(node) and taken in found.shapes and taken in other.shapes:
            first, second = (_shape_of(node, each.shapes[taken]) for each in (found, other))
            pairs[node.output[0]] = first, second
        elif node.op_type in _PICKS and taken in pairs and all(n in known for n in node.input[1:]):
            made = [_made(model, node, {**known, taken: each}) for each in pairs[taken]]
            if made[0] is not None and made[1] is not None:
                pairs[node.output[0]] = made[0][node.output[0]], made[1][node.output[0]]
    same = {name: first for name, (first, second) in pairs.items() if np.array_equal(first, second)}
    found.constants |= same
    found.nodes = [node for node in found.nodes if node.output[0] not in same]
    while same and _fold(model, found, fixed=False):
        pass


_PICKS = ("Gather", "Slice", "Squeeze", "Unsqueeze", "Cast", "Identity")
"""What picks some of the elements of an array, or changes their type."""


def _is_shape(node: NodeProto) -> bool:
    return node.op_type == "Shape" and node.domain in ("", "ai.onnx")


def _shape_of(node: NodeProto, shape: tuple[int, ...]) -> Array:
    ends = {each.name: each.i for each in node.attribute}
    return np.array(shape[ends.get("start", 0) : ends.get("end", len(shape))], np.int64)


def _is_constant(node: NodeProto, known: Mapping[str, Array]) -> bool:
    """Whether a node takes nothing but constants, and makes the same of them in each call."""
    if node.op_type in (*CHANCE, "Dropout") or node.domain not in ("", "ai.onnx"):
        return False
    return not graphs_in(node) and all(not name or name in known for name in node.input)


def _stated(node: NodeProto) -> Array | None:
    """Return the array that a node is which states one as a tensor; None for all others."""
    if node.op_type != "Constant" or [each.name for each in node.attribute] != ["value"]:
        return None
    return _array(node.attribute[0].t)


def _made(
    model: ModelProto, node: NodeProto, known: Mapping[str, Array]
) -> dict[str, Array] | None:
    """Return the arrays that a node makes of constants, by ONNX's reference; None if it cannot."""
    if (stated := _stated(node)) is not None:
        return {node.output[0]: stated}
    from onnx.reference import ReferenceEvaluator  # whose import takes long

    taken = {name: known[name] for name in node.input if name in known}
    names = [name for name in node.output if name]
    graph = helper.make_graph(
        [node], "constant",
        [helper.make_tensor_value_info(n, _kind(a), a.shape) for n, a in taken.items()],
        [helper.make_empty_tensor_value_info(name) for name in names],
    )  # fmt: skip
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    try:
        made = ReferenceEvaluator(alone).run(None, taken)
    except Exception:  # whatever the reference raises on what it does not know
        return None
    if not all(isinstance(each, (np.ndarray, np.generic)) for each in made):
        return None  # sequences, and what may be missing
    return dict(zip(names, map(np.asarray, made), strict=True))
