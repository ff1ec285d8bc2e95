"""In which version of ONNX's operators nodes are written for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx.defs
from onnx import GraphProto, NodeProto

NEWEST = 26
"""The newest version that ONNX Runtime takes, which is 1.31's."""


def written_opset(nodes: Iterable[NodeProto], opset: int) -> int:
    """Return the version of a file, or the newest one that is known where nodes are the same in it.

    Args:
        nodes: all of them.
        opset: the version that they are written in.
    """
    if not NEWEST < opset <= onnx.defs.onnx_opset_version():
        return opset
    return max([NEWEST, *(_since(node, opset) for node in _all(nodes))])


def _all(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for graph in graphs_in(node):
            yield from _all(graph.node)


def graphs_in(proto: NodeProto) -> list[GraphProto]:
    """Return the graphs that a node has as attributes: the branches of If, the body of Loop."""
    return [
        graph
        for attribute in proto.attribute
        for graph in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs)
    ]


def _since(node: NodeProto, opset: int) -> int:
    """Return the version from which on an operator is what it is."""
    if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type):
        return 0
    return int(onnx.defs.get_schema(node.op_type, max_inclusive_version=opset).since_version)
