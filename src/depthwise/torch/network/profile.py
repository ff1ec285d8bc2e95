"""A traced model run operator by operator: the shape of each result, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from depthwise.torch.network.tracing import Trace


def measure(trace: Trace, inputs: Sequence[Any], repeats: int = 3) -> None:
    """Keep in each node's `meta` the shape and type of its result, and its time in microseconds.

    The time is the shortest of some runs.
    """
    with torch.no_grad():
        for _ in range(repeats):
            _run(trace, inputs)


def _run(trace: Trace, inputs: Sequence[Any]) -> None:
    values: dict[fx.Node, Any] = dict(trace.constants)
    values.update(zip(trace.inputs, inputs, strict=True))
    remaining = {node: len(node.users) for node in trace.graph.nodes}
    for node in trace.graph.nodes:
        if node.op == "call_function":
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            start = time.perf_counter()
            values[node] = node.target(*args, **kwargs)
            passed = (time.perf_counter() - start) * 1e6
            node.meta["us"] = min(passed, node.meta.get("us", passed))
        if node in values and isinstance(values[node], Tensor):
            node.meta |= {"shape": tuple(values[node].shape), "dtype": values[node].dtype}
        for used in node.all_input_nodes:
            remaining[used] -= 1
            if not remaining[used] and used not in trace.constants:
                del values[used]
