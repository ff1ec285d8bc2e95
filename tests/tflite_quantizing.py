"""Networks of TFLite in 8 bits, made of those in float32 by what LiteRT computes of some images.

As TFLite's converter does: images have one scale, symmetric weights one for each channel.
"""

from collections.abc import Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tflite_files import scales

_OPERATORS = {value: name for name, value in vars(schema.BuiltinOperator).items()
              if isinstance(value, int)}  # fmt: skip
_CHANNELS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "TRANSPOSE_CONV": 0}
"""The axis of weights that has a scale for each place."""
_PRODUCTS = {**_CHANNELS, "FULLY_CONNECTED": None}
_KEEP = {"MAX_POOL_2D", "AVERAGE_POOL_2D", "PAD", "RESHAPE", "CONCATENATION", "RESIZE_BILINEAR",
         "RESIZE_NEAREST_NEIGHBOR", "TRANSPOSE", "STRIDED_SLICE", "SPLIT", "SLICE",
         "DEPTH_TO_SPACE"}  # fmt: skip
"""The operators whose results have the scale of what they take."""
_FIXED = {"SOFTMAX": (1 / 256, -128), "LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}
"""The scale and the zero point of what others make."""
_VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "PRELU": 1,
             "RESHAPE": 1, "HARD_SWISH": 1}  # fmt: skip
"""The first of each operator that takes numbers of 8 bits; 2 of most."""


def quantized(data: bytes, images: Sequence[np.ndarray], dtype: str = "int8") -> bytes:
    """Return a network in 8 bits.

    Args:
        data: one of float32, of one input.
        images: what it may be called with.
        dtype: of images: int8, or uint8 with weights of uint8 of one scale.
    """
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    (graph,) = model.subgraphs
    ranges = _ranges(data, images, len(graph.tensors))
    kinds = [_OPERATORS[code.builtinCode or code.deprecatedBuiltinCode]
             for code in model.operatorCodes]  # fmt: skip
    weights = {}
    for operator in graph.operators:
        kind = kinds[operator.opcodeIndex]
        if kind in _PRODUCTS:
            place = 2 if kind == "TRANSPOSE_CONV" else 0
            bias = operator.inputs[place + 2 if place else 2 :][:1]
            weights[operator.inputs[1]] = (_PRODUCTS[kind], operator.inputs[place], bias)
        elif kind in _KEEP:
            _join(ranges, [n for n in (*operator.inputs, *operator.outputs) if n in ranges])
    biases = {number for *_, bias in weights.values() for number in bias}
    for number, tensor in enumerate(graph.tensors):
        array = _constant(model, tensor)
        if tensor.type != schema.TensorType.FLOAT32 or number in biases:
            continue
        if number in weights and dtype == "int8":
            axis = weights[number][0]
            _make(model, tensor, array, *_symmetric(array, axis), "int8")
        elif array is not None or number in ranges:
            low, high = ranges[number]["of"] if array is None else (array.min(), array.max())
            _make(model, tensor, array, *_scale(low, high, dtype), None, dtype)
    for operator in graph.operators:
        if kinds[operator.opcodeIndex] in _FIXED:
            step, zero = _FIXED[kinds[operator.opcodeIndex]]
            zero += 128 if dtype == "uint8" else 0
            graph.tensors[operator.outputs[0]].quantization = scales(step, zero)
    for number, (_, image, bias) in weights.items():
        for each in bias:
            steps = np.float64(graph.tensors[image].quantization.scale) * np.float64(
                graph.tensors[number].quantization.scale
            )
            tensor = graph.tensors[each]
            array = np.round(_constant(model, tensor) / steps).astype(np.int32)
            tensor.type = schema.TensorType.INT32
            tensor.quantization = scales(steps)
            _store(model, tensor, array)
    for code, kind in zip(model.operatorCodes, kinds, strict=True):
        code.version = max(code.version, _VERSIONS.get(kind, 2))
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _ranges(data: bytes, images: Sequence[np.ndarray], count: int) -> dict:
    """Return the least and the largest element of each tensor that is computed."""
    interpreter = Interpreter(
        model_content=data, experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )  # fmt: skip
    interpreter.allocate_tensors()
    found: dict = {}
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
        interpreter.invoke()
        for number in range(count):
            try:
                array = interpreter.get_tensor(number)
            except ValueError:  # of one that nothing computes
                continue
            low, high = found.get(number, {"of": (0.0, 0.0)})["of"]
            found[number] = {"of": (min(low, float(array.min(initial=0))),
                                    max(high, float(array.max(initial=0))))}  # fmt: skip
    return found


def _join(ranges: dict, numbers: list[int]) -> None:
    """Give tensors one range, which each of them then has in common."""
    lows, highs = zip(*(ranges[number]["of"] for number in numbers), strict=True)
    same = {id(ranges[number]) for number in numbers}
    shared = {"of": (min(lows), max(highs))}
    for number, each in ranges.items():
        if id(each) in same:
            ranges[number] = shared


def _constant(model, tensor) -> np.ndarray | None:
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data) or tensor.type != schema.TensorType.FLOAT32:
        return None
    return np.asarray(data, np.uint8).tobytes() and np.frombuffer(
        np.asarray(data, np.uint8).tobytes(), np.float32
    ).reshape(tensor.shape)


def _symmetric(array: np.ndarray, axis: int | None) -> tuple[np.ndarray, np.ndarray, int | None]:
    others = None if axis is None else tuple(n for n in range(array.ndim) if n != axis)
    steps = np.maximum(np.abs(array).max(axis=others), 1e-6) / 127
    return np.atleast_1d(steps), np.zeros(steps.size, np.int64), axis


def _scale(low: float, high: float, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    low, high = min(low, 0.0), max(high, 1e-6)
    step = np.float32((high - low) / 255)
    least = np.iinfo(dtype).min
    return np.array([step]), np.array([int(np.clip(round(least - low / step), least, least + 255))])


def _make(model, tensor, array, steps, zeros, axis, dtype: str) -> None:
    """Make numbers of 8 bits of a tensor."""
    tensor.type = schema.TensorType.INT8 if dtype == "int8" else schema.TensorType.UINT8
    tensor.quantization = scales(steps, zeros, axis or 0)
    if array is not None:
        shape = [-1 if n == axis else 1 for n in range(array.ndim)] if len(steps) > 1 else [1]
        limits = np.iinfo(dtype)
        made = np.round(array / steps.reshape(shape)) + zeros.reshape(shape)
        _store(model, tensor, np.clip(made, limits.min, limits.max).astype(dtype))


def _store(model, tensor, array: np.ndarray) -> None:
    """Give a tensor a buffer of its own, which others may share."""
    model.buffers.append(schema.BufferT(data=np.frombuffer(array.tobytes(), np.uint8)))
    tensor.buffer = len(model.buffers) - 1
