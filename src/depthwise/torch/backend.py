"""`torch.compile(model, backend="depthwise")`: each graph that torch captures, on our kernels.

Weights are folded and packed, so a graph is taken only in inference, and its network is used only
while the weights are what they were.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, fx, nn

from depthwise.errors import DepthwiseError
from depthwise.torch.optimize import optimize

log = logging.getLogger(__name__)


def depthwise(graph: fx.GraphModule, example_inputs: Sequence[Any]) -> Callable[..., Any]:
    """Return what computes a graph of torch.compile.

    A graph that cannot be optimized is left to torch, which is logged with the reason.
    """
    if torch.is_grad_enabled() and any(_is_tracked(each) for each in example_inputs):
        return _left(graph, "gradients are recorded (use torch.no_grad() or inference_mode())")
    kept = [
        _is_weight(node, each) for node, each in zip(_inputs(graph), example_inputs, strict=True)
    ]
    given = tuple(each for each, weight in zip(example_inputs, kept, strict=True) if not weight)
    try:
        fast = _apart(lambda: optimize(_Bound(graph, example_inputs, kept), given))
    except DepthwiseError as error:
        return _left(graph, str(error))
    weights = [each for each, weight in zip(example_inputs, kept, strict=True) if weight]
    known = [(id(each), each._version) for each in weights]

    def run(*args: Any) -> Any:
        now = [(id(each), each._version) for each, weight in zip(args, kept, strict=True) if weight]
        if now != known:
            return graph(*args)
        return fast(*(each for each, weight in zip(args, kept, strict=True) if not weight))

    return run


def _apart(make: Callable[[], Any]) -> Any:
    """Return what a function makes on another thread: here, torch takes down what is asked."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(make).result()


def _left(graph: fx.GraphModule, reason: str) -> Callable[..., Any]:
    log.warning("a graph of %d operators is left to torch: %s", len(graph.graph.nodes), reason)
    return graph.forward


def _inputs(graph: fx.GraphModule) -> list[fx.Node]:
    return [node for node in graph.graph.nodes if node.op == "placeholder"]


def _is_tracked(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _is_weight(node: fx.Node, value: Any) -> bool:
    """Whether an input is a parameter or a buffer of the model, as torch marks them."""
    marked = node.meta.get("tensor_dict", {}).get("_dynamo_static_input_type")
    return isinstance(value, nn.Parameter) or marked is not None


class _Bound(nn.Module):
    """A graph with its weights, called with the other inputs."""

    def __init__(self, graph: fx.GraphModule, inputs: Sequence[Any], kept: Sequence[bool]) -> None:
        super().__init__()
        self.graph, self._kept = graph, tuple(kept)
        for number, (value, weight) in enumerate(zip(inputs, kept, strict=True)):
            if weight:
                self.register_buffer(f"weight{number}", value.detach())
        self.eval()

    def forward(self, *given: Any) -> Any:
        waiting = iter(given)
        return self.graph(
            *(
                self.get_buffer(f"weight{number}") if weight else next(waiting)
                for number, weight in enumerate(self._kept)
            )
        )
