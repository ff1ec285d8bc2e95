"""A model of ONNX as a network that can be called."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from onnx import ModelProto

from depthwise.errors import ModelError
from depthwise.network.network import Network
from depthwise.network.optimize import optimized
from depthwise.network.steps import Call, Program
from depthwise.onnx.causal import without_causal
from depthwise.onnx.files import model_of
from depthwise.onnx.importing import imported, input_names
from depthwise.onnx.quantized import as_qdq
from depthwise.onnx.runtime import OnnxRuntime


def from_onnx(
    source: Any,
    shapes: Mapping[str, tuple[int, ...]] | Sequence[tuple[int, ...]] | None,
    threads: int | None,
) -> Network:
    """Return a network; see `loading.load`."""
    try:
        model = as_qdq(without_causal(model_of(source)))
        graph, dialect = imported(model, _named(model, shapes))
        program = optimized(graph, OnnxRuntime(dialect))
    except UnicodeError as error:
        raise ModelError(f"the names in a model are text in UTF-8; got {error}") from None
    _check_runtime(program)
    return Network(program, threads)


def _named(
    model: ModelProto, shapes: Mapping[str, tuple[int, ...]] | Sequence[tuple[int, ...]] | None
) -> Mapping[str, tuple[int, ...]] | None:
    """Return shapes by the names of the inputs.

    Raises:
        ModelError: there are more or fewer.
    """
    if shapes is None or isinstance(shapes, Mapping):
        return shapes
    names = input_names(model)
    if len(shapes) != len(names):
        raise ModelError(
            f"a shape is given for each input, which are {', '.join(names) or 'none'}; got "
            f"{', '.join(map(str, shapes))}"
        )
    return dict(zip(names, shapes, strict=True))


def _check_runtime(program: Program) -> None:
    """Refuse a network of which ONNX Runtime computes a part, where it is not installed.

    Raises:
        ModelError: it names the operators.
    """
    calls = [step.work for step in program.steps if isinstance(step.work, Call)]
    if not calls or importlib.util.find_spec("onnxruntime") is not None:
        return
    models = [ModelProto.FromString(call.payload) for call in calls]
    operators = sorted({node.op_type for model in models for node in model.graph.node})
    raise ModelError(
        "what no kernel computes is computed by ONNX Runtime (pip install onnxruntime); it is not "
        f"installed; got {', '.join(operators)}"
    )
