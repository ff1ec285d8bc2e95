"""From a trained network to one that runs on our kernels: the page to read first.

model -> trace -> simplify -> absorb -> join -> steps
"""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from depthwise.torch.network.absorb import absorb
from depthwise.torch.network.blocks import join
from depthwise.torch.network.network import lowered
from depthwise.torch.network.optimized import Optimized, Signature
from depthwise.torch.network.profile import measure
from depthwise.torch.network.simplify import simplify
from depthwise.torch.network.tracing import Trace, trace


def optimize(model: nn.Module, example_input: Any, *, tune: bool = False) -> Optimized:
    args = example_input if isinstance(example_input, tuple) else (example_input,)
    traced = trace(model, args)
    flat = pytree.tree_leaves(args)
    measure(traced, flat)
    simplify(traced)
    absorb(traced)
    join(traced)
    return Optimized(lowered(traced), _signature(model, traced, args))


def _signature(model: nn.Module, traced: Trace, args: tuple[Any, ...]) -> Signature:
    flat, structure = pytree.tree_flatten((args, {}))
    tensors = {number: value for number, value in enumerate(flat) if isinstance(value, Tensor)}
    names = tuple(inspect.signature(model.forward).parameters)
    return Signature(
        names=names,
        inputs=structure,
        outputs=traced.program.call_spec.out_spec,
        sizes=tuple(
            _sizes(node.meta["val"], flat[number]) for number, node in enumerate(traced.inputs)
        ),
        given={number: value for number, value in enumerate(flat) if number not in tensors},
        dtypes=tuple(value.dtype if isinstance(value, Tensor) else None for value in flat),
    )


def _sizes(traced: Any, given: Any) -> tuple[int | str, ...] | None:
    if not isinstance(given, Tensor):
        return None
    return tuple(size if isinstance(size, int) else str(size) for size in traced.shape)
