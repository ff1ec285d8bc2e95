"""What a trace computes of constants alone, as a parametrized weight, computed once."""

from __future__ import annotations

import torch
from torch import Tensor, fx
from torch._ops import OpOverload

from depthwise.torch.network.operators import is_in_place, name_of
from depthwise.torch.network.tracing import Trace


@torch.no_grad()
def fold_constants(trace: Trace) -> None:
    """Add to the constants of a trace what depends on them alone."""
    for node in list(trace.graph.nodes):
        needed = node.all_input_nodes
        if not needed or not isinstance(node.target, OpOverload) or name_of(node) == "sym_size":
            continue
        changed = any(map(is_in_place, (node, *node.users)))
        if not changed and all(each in trace.constants for each in needed):
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), trace.constants.__getitem__)
            value = node.target(*args, **kwargs)
            if isinstance(value, Tensor):
                trace.constants[node] = value
