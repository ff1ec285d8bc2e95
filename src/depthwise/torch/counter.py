"""Counts the MACs of whatever operators run, by the layer that they belong to."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from depthwise.torch.mac_rules import (
    BLOCKS,
    GRADIENTS,
    PRODUCTS,
    Arguments,
    Macs,
    arguments_of,
    has_no_macs,
    name_of,
    product_macs,
)


class _Origin(IntEnum):
    """What a tensor was computed from: the last of these that had a part in it."""

    WEIGHTS = 0
    INPUTS = 1
    GRADIENTS = 2


class Counter(TorchDispatchMode):
    """Counts while it is entered.

    In the forward pass an operator belongs to the innermost module that is running, in the
    backward pass to the layer whose operator is being differentiated: autograd numbers the nodes
    of its graph as operators make them.

    A product that reads a gradient is one: the input gradient where the other operand is a weight,
    otherwise the weight gradient.  A weight is whatever was computed without the model's inputs.
    A product of the backward pass that reads no gradient is computed for the second time.

    Args:
        model: whose modules' names layers go by; calling them is replaced.
        inputs: what it will be called with.
    """

    supports_higher_order_operators = True

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs: dict[str, Macs] = collections.defaultdict(Macs)
        self.uncounted: collections.Counter[str] = collections.Counter()
        self._backward = False
        self._running: list[str] = []
        self._layers: dict[int | None, str] = {}  # of the nodes of autograd's graph
        self._operands: dict[int | None, list[_Origin]] = {}  # of the products that made them
        self._origins: dict[int, tuple[_Origin, torch.UntypedStorage]] = {}
        self._mark(inputs, _Origin.INPUTS)
        for name, module in model.named_modules():
            self._watch(name, module)

    def begin_backward(self, gradients: Any) -> None:
        """Count what follows as the backward pass, from these gradients of the outputs."""
        self._backward = True
        self._mark(gradients, _Origin.GRADIENTS)

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operator and count it."""
        output = func(*args, **(kwargs or {}))
        origin = max(map(self._origin, _tensors((args, kwargs))), default=_Origin.WEIGHTS)
        self._mark(output, origin)
        if isinstance(func, torch._ops.HigherOrderOperator):
            self.uncounted[func.name()] += 1  # type: ignore[no-untyped-call]
        else:
            self._count(func, arguments_of(func, args, kwargs or {}), output, origin)
        return output

    def _count(
        self, func: torch._ops.OpOverload, arguments: Arguments, output: Any, origin: _Origin
    ) -> None:
        name, layer = name_of(func), self._layer()
        if name in PRODUCTS:
            macs = product_macs(name, arguments, output)
            operands = [self._origin(arguments[operand]) for operand in PRODUCTS[name]]
            counted = self._product(macs, operands)
        elif name in BLOCKS:
            counted = self._recorded(BLOCKS[name](arguments, output))
        elif name in GRADIENTS:
            counted = GRADIENTS[name](arguments)
            if origin < _Origin.GRADIENTS:
                counted = self._recorded(counted.total)
        else:
            if not has_no_macs(func, arguments):
                self.uncounted[name] += 1
            return
        self.macs[layer] += counted

    def _layer(self) -> str:
        layer = self._running[-1] if self._running else self._layers.get(_node_running(), "")
        self._layers.setdefault(_newest_node(), layer)
        return layer

    def _product(self, macs: int, operands: list[_Origin]) -> Macs:
        if _Origin.GRADIENTS not in operands:
            self._operands.setdefault(_newest_node(), operands)
            return self._recorded(macs)
        multiplied = self._operands.get(_node_running(), [_Origin.INPUTS, _Origin.WEIGHTS])
        of_weights = [origin == _Origin.WEIGHTS for origin in multiplied]
        if all(of_weights) or (any(of_weights) and _Origin.WEIGHTS not in operands):
            return Macs(weight_gradient=macs)
        return Macs(input_gradient=macs)

    def _recorded(self, macs: int) -> Macs:
        return Macs(recomputed=macs) if self._backward else Macs(forward=macs)

    def _mark(self, values: Any, origin: _Origin) -> None:
        for tensor in _tensors(values):
            storage = tensor.untyped_storage()
            self._origins[storage._cdata] = origin, storage

    def _origin(self, tensor: Tensor) -> _Origin:
        origin, _ = self._origins.get(tensor.untyped_storage()._cdata, (_Origin.WEIGHTS, None))
        return origin

    def _watch(self, name: str, module: nn.Module) -> None:
        def called(*args: Any, **kwargs: Any) -> Any:
            self._running.append(name)
            try:
                return module._call_impl(*args, **kwargs)
            finally:
                self._running.pop()

        # Not a hook: blocks are computed in parts where a part has hooks.
        module._compiled_call_impl = called


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _newest_node() -> int:
    return torch._C._autograd._get_sequence_nr() - 1


def _node_running() -> int | None:
    node = torch._C._current_autograd_node()
    return None if node is None else node._sequence_nr()
