"""Small files of TFLite, written operator by operator, and what LiteRT computes of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

_TYPES = {
    np.dtype(word.lower()): number
    for word, number in vars(schema.TensorType).items()
    if word in ("FLOAT32", "FLOAT16", "FLOAT64", "BOOL", "UINT8", "INT8", "INT16", "INT32", "INT64")
}
_TYPES[np.dtype(object)] = schema.TensorType.RESOURCE
_rng = np.random.default_rng(0)


def noise(*shape: int, dtype: str = "float32") -> np.ndarray:
    return _rng.standard_normal(shape).astype(dtype)


def scales(scale, zero_point=0, axis: int = 0) -> schema.QuantizationParametersT:
    """Return how whole numbers stand for others; several scales are those along an axis."""
    each = np.atleast_1d(np.asarray(scale, np.float32))
    zeros = np.broadcast_to(np.asarray(zero_point, np.int64), each.shape)
    return schema.QuantizationParametersT(
        scale=each.tolist(), zeroPoint=zeros.tolist(), quantizedDimension=axis
    )


@dataclass
class Builder:
    """Writes a network; a tensor is a number."""

    tensors: list = field(default_factory=list)
    operators: list = field(default_factory=list)
    codes: list = field(default_factory=list)
    buffers: list = field(default_factory=lambda: [schema.BufferT()])
    inputs: list = field(default_factory=list)

    def tensor(
        self, shape: Sequence[int], dtype: Any = "float32", name: str = "", quantized: Any = None,
        signature: Sequence[int] | None = None, buffer: int = 0, sparsity: Any = None,
    ) -> int:  # fmt: skip
        self.tensors.append(
            schema.TensorT(
                shape=list(shape),
                type=_TYPES[np.dtype(dtype)],
                buffer=buffer,
                sparsity=sparsity,
                name=name or f"tensor{len(self.tensors)}",
                quantization=quantized,
                shapeSignature=None if signature is None else list(signature),
                hasRank=True,
            )
        )
        return len(self.tensors) - 1

    def input(self, *shape: int, **others: Any) -> int:
        number = self.tensor(shape, **others)
        self.inputs.append(number)
        return number

    def constant(self, array: Any, dtype: Any = None, **others: Any) -> int:
        lies = np.array(array, dtype)
        shape = others.pop("shape", lies.shape)
        self.buffers.append(schema.BufferT(data=np.frombuffer(lies.tobytes(), np.uint8)))
        return self.tensor(shape, lies.dtype, buffer=len(self.buffers) - 1, **others)

    def op(
        self, kind: str, inputs: Sequence[int], *outputs: Any, options: Any = None, **others: Any
    ) -> Any:
        """Add an operator; an output is a shape, or the number of a tensor."""
        made = [each if isinstance(each, int) else self.tensor(each, **others) for each in outputs]
        number = 0 if options is None else _number(options)
        self.operators.append(
            schema.OperatorT(
                opcodeIndex=self._code(kind),
                inputs=list(inputs),
                outputs=made,
                builtinOptionsType=number,
                builtinOptions=options,
            )
        )
        return made[0] if len(made) == 1 else made

    def variable(self, name: str) -> int:
        """Add what stands for a variable in this graph."""
        options = schema.VarHandleOptionsT(container="", sharedName=name)
        return self.op("VAR_HANDLE", [], (), dtype=object, options=options)

    def read(self, variable: int, shape: Sequence[int], **others: Any) -> int:
        return self.op(
            "READ_VARIABLE", [variable], shape, options=schema.ReadVariableOptionsT(), **others
        )

    def assign(self, variable: int, value: int) -> None:
        self.op("ASSIGN_VARIABLE", [variable, value], options=schema.AssignVariableOptionsT())

    def other(self) -> "Builder":
        """Return a second graph, to be given to `file`."""
        return Builder(codes=self.codes, buffers=self.buffers)

    def graph(self, outputs: Sequence[int], name: str) -> schema.SubGraphT:
        return schema.SubGraphT(
            tensors=self.tensors, inputs=self.inputs, outputs=list(outputs),
            operators=self.operators, name=name,
        )  # fmt: skip

    def file(self, *outputs: int, other: "Builder | None" = None) -> bytes:
        others = [] if other is None else [other.graph((), "other")]
        model = schema.ModelT(
            version=3, operatorCodes=self.codes, buffers=self.buffers, description="",
            subgraphs=[self.graph(outputs, "main"), *others],
        )  # fmt: skip
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _code(self, kind: str) -> int:
        custom = kind.removeprefix("CUSTOM ") if kind.startswith("CUSTOM ") else None
        number = schema.BuiltinOperator.CUSTOM if custom else getattr(schema.BuiltinOperator, kind)
        self.codes.append(
            schema.OperatorCodeT(
                deprecatedBuiltinCode=min(number, 127),
                builtinCode=number,
                customCode=custom,
                version=_VERSIONS.get(kind, 1),
            )
        )
        return len(self.codes) - 1


_VERSIONS = {
    "DEPTHWISE_CONV_2D": 2, "CONV_2D": 5, "TRANSPOSE_CONV": 3, "FULLY_CONNECTED": 5,
    "BROADCAST_TO": 2,
}  # fmt: skip
"""Of operators whose first one lacks dilations, biases or types."""


def _number(options: Any) -> int:
    return int(getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T")))


def by_litert(data: bytes, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return what LiteRT computes with its own kernels, those of XNNPACK left out."""
    return _computed(data, arrays, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)


def by_xnnpack(data: bytes, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return what LiteRT computes with XNNPACK."""
    return _computed(data, arrays, OpResolverType.BUILTIN)


def scales_of(data: bytes) -> list[tuple[float, int]]:
    """Return the scale and the zero point of a network's first input, and of its first output."""
    interpreter = Interpreter(model_content=data)
    ends = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    return [each["quantization"] for each in ends]


def _computed(data: bytes, arrays: Sequence[np.ndarray], kernels: Any) -> list[np.ndarray]:
    interpreter = Interpreter(
        model_content=data, num_threads=1, experimental_op_resolver_type=kernels
    )
    for each, array in zip(interpreter.get_input_details(), arrays, strict=True):
        interpreter.resize_tensor_input(each["index"], array.shape)
    interpreter.allocate_tensors()
    for each, array in zip(interpreter.get_input_details(), arrays, strict=True):
        interpreter.set_tensor(each["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]
