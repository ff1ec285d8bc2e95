"""A model of ONNX as a network that can be called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from depthwise.network.network import Network
from depthwise.network.optimize import optimized
from depthwise.onnx.files import model_of
from depthwise.onnx.importing import imported
from depthwise.onnx.runtime import OnnxRuntime


def from_onnx(
    source: Any, shapes: Mapping[str, tuple[int, ...]] | None, threads: int | None
) -> Network:
    """Return a network; see `loading.load`."""
    graph, dialect = imported(model_of(source), shapes)
    return Network(optimized(graph, OnnxRuntime(dialect)), threads)
