"""LiteRT with its XNNPACK delegate; TensorFlow, beside it, writes the .tflite file."""

from __future__ import annotations

import importlib.metadata

import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from depthwise.bench.peers import parts, tensorflow
from depthwise.measure.engine import Array, Clock, Prepared
from depthwise.problem.problem import Problem


class Engine:
    """LiteRT's interpreter, channels last, input set before and output read after the clock."""

    name = "litert"
    variants = ("nhwc",)

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def version(self) -> str:
        """Return LiteRT's version."""
        return importlib.metadata.version("ai-edge-litert")

    def threads(self) -> int:
        """Return the count that each interpreter is made with."""
        return self._threads

    def rejects(self, spec: Problem, variant: str, clock: Clock) -> str | None:  # noqa: ARG002
        """Refuse float64, and what TensorFlow refuses."""
        if spec.dtype != "float32":
            return f"no {spec.dtype}"
        return tensorflow.LIMITS.reason(spec)

    def prepare(
        self,
        spec: Problem,
        variant: str,  # noqa: ARG002
        clock: Clock,
        arrays: tuple[Array, ...],
    ) -> Prepared:
        """Write the model and load it; NCHW arrays are transposed inside the call clock."""
        outside = parts.outside(spec, clock, "NHWC")
        x = parts.data(spec, arrays[0], outside)
        interpreter = Interpreter(
            model_content=_model(spec, arrays, x, outside), num_threads=self._threads
        )
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        result = interpreter.get_output_details()[0]["index"]
        return Prepared(
            interpreter.invoke,
            lambda: parts.result(spec, interpreter.get_tensor(result), outside),
            layout="NHWC",
            excluded="writing the model, weight packing, copies of input and output",
        )


def _model(spec: Problem, arrays: tuple[Array, ...], x: Array, outside: parts.Order) -> bytes:
    forward = tf.function(tensorflow.forward(spec, arrays, outside))
    function = forward.get_concrete_function(tf.TensorSpec(x.shape, x.dtype))
    model: bytes = tf.lite.TFLiteConverter.from_concrete_functions([function]).convert()
    return model
