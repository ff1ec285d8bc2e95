"""A model quantized by ONNX Runtime's quantizer, and what is done before and after.

Activations become uint8 with a scale and zero point for each value, weights int8 with a scale for
each output channel, biases int32.
"""

from __future__ import annotations

import copy
import itertools
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator, MutableSequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx.shape_inference
import onnx.version_converter
from onnx import GraphProto, ModelProto, NodeProto

from depthwise.errors import ModelError
from depthwise.onnx.calibration import silent
from depthwise.onnx.files import in_a_line
from depthwise.onnx.quantizable import QUANTIZED, chosen

OPSET = 13
"""The first whose scales may differ from channel to channel."""


_OPTIONS = {
    "ForceQuantizeNoInputCheck": True,  # pools and moves too, which are chosen
    "QDQKeepRemovableActivations": True,  # a ReLU stays, as every activation does
}


_EXACT = frozenset(("Relu", "Clip", "LogSoftmax", "Softmax"))
"""What takes the sums of a layer as they are: clamps, which are part of its kernel, and what makes
probabilities of the results of the last one."""


def prepared(model: ModelProto) -> ModelProto:
    """Return a model as it is quantized: batch norms and constants folded, its nodes named.

    Raises:
        ModelError: ONNX cannot convert its operators to `OPSET`, or ONNX Runtime refuses it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "prepared.onnx")
        try:
            given = _converted(model).SerializeToString()
            onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
            ready = onnx.shape_inference.infer_shapes(onnx.load(options.optimized_model_filepath))
        except Exception as error:  # in several classes
            raise ModelError(
                f"a model that is quantized is one that ONNX Runtime takes; it says: "
                f"{in_a_line(error)}"
            ) from None
    _name_nodes(ready.graph)
    return ready


@dataclass(frozen=True, kw_only=True)
class Quantizer:
    """A model, ready for any of its layers to be quantized.

    Attributes:
        model: from `prepared`.
        ranges: of its values, from `calibration.ranges`.
        reduce_range: whether weights are cut to 7 bits.
        fused: whether nothing is quantized between a layer and its activation; else what
            activations take is quantized as well, but for those that clamp.
    """

    model: ModelProto
    ranges: Any
    reduce_range: bool = False
    fused: bool = False

    def without(self, float_layers: Collection[str]) -> ModelProto:
        """Return the model with all layers quantized but some, by their names."""
        return self._quantized(chosen(self.model, float_layers))

    def alone(self, layer: str) -> ModelProto:
        """Return the model with one layer quantized."""
        return self._quantized([layer])

    def _quantized(self, names: Collection[str]) -> ModelProto:
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        with silent():
            quantizer = QDQQuantizer(
                copy.deepcopy(self.model),
                per_channel=True,
                reduce_range=self.reduce_range,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QUInt8,
                tensors_range=self.ranges,
                nodes_to_quantize=list(names),
                nodes_to_exclude=[],
                op_types_to_quantize=sorted(QUANTIZED),
                extra_options=_OPTIONS,
            )
            quantizer.quantize_model()
            quantizer.model.topological_sort()
        made: ModelProto = quantizer.model.model
        _relieve(made.graph, names, fused=self.fused)
        _forget_domains(made)
        del made.graph.value_info[:]  # which can be inferred
        return made


def _relieve(graph: GraphProto, names: Collection[str], *, fused: bool) -> None:
    """Leave values in float that no quantized node takes, nor, unless `fused`, an activation.

    Results of the network are float either way.
    """
    makers = {output: node for node in graph.node for output in node.output}
    users = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            users[name].append(node)
    for second in [each for each in graph.node if each.op_type == "DequantizeLinear"]:
        first = makers.get(second.input[0])
        takers = users[second.output[0]]
        if first is None or any(each.name in names for each in takers):
            continue
        if not fused and any(each.op_type not in _EXACT for each in takers):
            continue
        maker = makers[first.input[0]]
        if second.output[0] in {each.name for each in graph.output}:
            _rename(maker.output, first.input[0], second.output[0])
        for each in takers:
            _rename(each.input, second.output[0], first.input[0])
        graph.node.remove(second)
        if len(users[first.output[0]]) == 1:
            graph.node.remove(first)


def _rename(names: MutableSequence[str], old: str, new: str) -> None:
    for position, name in enumerate(names):
        if name == old:
            names[position] = new


def _converted(model: ModelProto) -> ModelProto:
    opset = max((each.version for each in model.opset_import if not each.domain), default=OPSET)
    return model if opset >= OPSET else onnx.version_converter.convert_version(model, OPSET)


def _name_nodes(graph: GraphProto) -> None:
    """Give each node a name of its own."""
    taken = {node.name for node in graph.node}
    seen = {""}
    for node in graph.node:
        if node.name in seen:
            node.name = next(name for name in _names(node) if name not in taken)
        seen.add(node.name)
        taken.add(node.name)


def _names(node: NodeProto) -> Iterator[str]:
    yield node.output[0]
    for number in itertools.count(2):
        yield f"{node.output[0]} {number}"


def _forget_domains(model: ModelProto) -> None:
    """Declare those domains of operators alone that the nodes have."""
    used = {node.domain for node in model.graph.node}
    for each in [each for each in model.opset_import if each.domain not in {"", *used}]:
        model.opset_import.remove(each)
