"""Small convolutional networks, and what `onnxruntime.quantization` makes of them.

    network = quantized("residual", form="qdq", activations="int8", per_channel=False)

All take images (2, 3, 20, 20); their weights are random.  Three forms of file are made: "qdq" and
"qoperator" as the quantizer writes them, and "fused", which is "qdq" without what quantizes the
result of a convolution or product for the activation after it.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from onnx_models import model, node, port

SHAPE = (2, 3, 20, 20)
CLASSES = 10
Form = Literal["qdq", "qoperator", "fused"]
FORMS: tuple[Form, ...] = ("qdq", "qoperator", "fused")
_ACTIVATIONS = ("Relu", "Clip", "HardSwish", "HardSigmoid", "Sigmoid", "Mul")
_TYPES = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}


def images(batches: int = 1, seed: int = 1) -> list[np.ndarray]:
    """Return images that the networks take, (2, 3, 20, 20)."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(SHAPE).astype(np.float32) for _ in range(batches)]


class _Draft:
    """Nodes one after the other; each method adds what it is named after to a value."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self._rng = np.random.default_rng(0)

    def add(self, operator: str, inputs: str, **attributes) -> str:
        output = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(node(operator, inputs, output, name=output, **attributes))
        return output

    def constant(self, array: np.ndarray | float) -> str:
        name = f"constant{len(self.constants)}"
        self.constants[name] = np.asarray(array, np.float32)
        return name

    def weight(self, outputs: int, *others: int) -> str:
        """Return a weight whose outputs are of different sizes, as trained ones are."""
        values = self._rng.standard_normal((outputs, *others)) / np.sqrt(np.prod(others))
        sizes = self._rng.uniform(0.3, 2, outputs).reshape(-1, *[1] * len(others))
        return self.constant(values * sizes)

    def conv(
        self, x: str, inputs: int, outputs: int, kernel: int = 1, stride: int = 1,
        groups: int = 1, bias: bool = True,
    ) -> str:  # fmt: skip
        names = [x, self.weight(outputs, inputs // groups, kernel, kernel)]
        if bias:
            names.append(self.constant(self._rng.standard_normal(outputs) / 4))
        return self.add(
            "Conv", " ".join(names), group=groups, kernel_shape=[kernel, kernel],
            strides=[stride, stride], pads=[kernel // 2] * 4,
        )  # fmt: skip

    def depthwise(self, x: str, channels: int, kernel: int = 3, stride: int = 1) -> str:
        return self.conv(x, channels, channels, kernel, stride, groups=channels)

    def relu(self, x: str) -> str:
        return self.add("Relu", x)

    def relu6(self, x: str) -> str:
        return self.add("Clip", f"{x} {self.constant(0)} {self.constant(6)}")

    def hardswish(self, x: str) -> str:
        return self.add("HardSwish", x)

    def silu(self, x: str) -> str:
        return self.add("Mul", f"{x} {self.add('Sigmoid', x)}")

    def classifier(self, x: str, channels: int) -> str:
        pooled = self.add("Flatten", self.add("GlobalAveragePool", x))
        bias = self.constant(self._rng.standard_normal(CLASSES) / 4)
        return self.add("Gemm", f"{pooled} {self.weight(CLASSES, channels)} {bias}", transB=1)

    def model(self, result: str) -> ModelProto:
        return model(self.nodes, [port("x", SHAPE)], [result], self.constants)


def _separable(activation: str) -> ModelProto:
    """Return a stem, and depthwise and pointwise convolutions, each with an activation."""
    draft = _Draft()
    activate = getattr(draft, activation)
    x = activate(draft.conv("x", 3, 8, 3, 2))
    x = activate(draft.depthwise(x, 8))
    x = activate(draft.conv(x, 8, 24))
    x = activate(draft.depthwise(x, 24, 5, 2))
    x = activate(draft.conv(x, 24, 32))
    return draft.model(draft.classifier(x, 32))


def _residual() -> ModelProto:
    """Return an inverted residual block whose input is added, and one whose is not."""
    draft = _Draft()
    x = draft.relu6(draft.conv("x", 3, 16, 3, 2))
    inside = draft.relu6(draft.conv(x, 16, 48))
    inside = draft.relu6(draft.depthwise(inside, 48))
    x = draft.add("Add", f"{x} {draft.conv(inside, 48, 16)}")
    inside = draft.relu6(draft.conv(x, 16, 48))
    inside = draft.relu6(draft.depthwise(inside, 48, 3, 2))
    x = draft.conv(inside, 48, 24, bias=False)
    return draft.model(draft.add("Softmax", draft.classifier(x, 24), axis=1))


def _branches() -> ModelProto:
    """Return branches that are concatenated: a convolution and two pools."""
    draft = _Draft()
    x = draft.relu(draft.conv("x", 3, 16, 3))
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    parts = (
        draft.relu(draft.conv(x, 16, 8, 3, 2)),
        draft.add("MaxPool", x, **window),
        draft.add("AveragePool", x, **window),
    )
    x = draft.add("Concat", " ".join(parts), axis=1)
    x = draft.relu(draft.conv(x, 40, 24, groups=2))
    return draft.model(draft.classifier(x, 24))


def _gated() -> ModelProto:
    """Return squeeze-and-excite, which multiplies channels."""
    draft = _Draft()
    x = draft.hardswish(draft.conv("x", 3, 16, 3, 2))
    x = draft.hardswish(draft.depthwise(x, 16, 5))
    gate = draft.relu(draft.conv(draft.add("GlobalAveragePool", x), 16, 8))
    gate = draft.add("HardSigmoid", draft.conv(gate, 8, 16), alpha=1 / 6, beta=0.5)
    x = draft.conv(draft.add("Mul", f"{x} {gate}"), 16, 24)
    return draft.model(draft.classifier(x, 24))


def _product() -> ModelProto:
    """Return a convolution and matrix products without one."""
    draft = _Draft()
    x = draft.add("Flatten", draft.relu(draft.conv("x", 3, 4, 3, 4)))
    x = draft.add("MatMul", f"{x} {draft.weight(100, 32)}")
    x = draft.relu(draft.add("Add", f"{x} {draft.constant(np.linspace(-1, 1, 32))}"))
    return draft.model(draft.add("MatMul", f"{x} {draft.weight(32, CLASSES)}"))


NETWORKS: Mapping[str, Callable[[], ModelProto]] = {
    "relu": lambda: _separable("relu"),
    "relu6": lambda: _separable("relu6"),
    "hardswish": lambda: _separable("hardswish"),
    "silu": lambda: _separable("silu"),
    "residual": _residual,
    "branches": _branches,
    "gated": _gated,
    "product": _product,
}
"""What makes each network in float32, by its name."""


@cache
def quantized(
    name: str, form: Form = "qdq", activations: Literal["uint8", "int8"] = "uint8",
    *, per_channel: bool = True,
) -> ModelProto:  # fmt: skip
    """Return a network of `NETWORKS` with weights of int8.

    Those of operators on whole numbers have 7 bits: where the processor has no dot products, ONNX
    Runtime adds pairs of products in 16 bits, which saturate.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "quantized.onnx"
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            quantize_static(
                NETWORKS[name](),
                file,
                _Reader(images(4, seed=2)),
                quant_format=QuantFormat.QOperator if form == "qoperator" else QuantFormat.QDQ,
                per_channel=per_channel,
                activation_type=_TYPES[activations],
                weight_type=QuantType.QInt8,
                reduce_range=form == "qoperator",
            )
        finally:
            logging.disable(before)
        made = onnx.load(file)
    if form == "fused":
        _fuse(made.graph)
    return made


def _fuse(graph: GraphProto) -> None:
    """Let activations take results of convolutions and products as they are."""
    by_output = {name: each for each in graph.node for name in each.output}
    for second in [each for each in graph.node if each.op_type == "DequantizeLinear"]:
        first = by_output.get(second.input[0])
        maker = by_output.get(first.input[0]) if first else None
        users = [each for each in graph.node if second.output[0] in each.input]
        if maker and users and all(_are_fused(maker, user) for user in users):
            for user in users:
                names = [maker.output[0] if n == second.output[0] else n for n in user.input]
                user.input[:] = names
            graph.node.remove(second)
            graph.node.remove(first)


def _are_fused(maker: NodeProto, user: NodeProto) -> bool:
    if maker.op_type == "Sigmoid":
        return user.op_type == "Mul" and maker.input[0] in user.input
    return maker.op_type in ("Conv", "Gemm", "MatMul") and user.op_type in _ACTIVATIONS


class _Reader(CalibrationDataReader):
    def __init__(self, batches: list[np.ndarray]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"x": batch}
