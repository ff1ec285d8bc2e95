"""Counts the MACs of whatever operators run, by the layer that they belong to."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from depthwise.torch.mac_rules import (
    GRADIENTS,
    PRODUCTS,
    Arguments,
    Macs,
    arguments_of,
    has_no_macs,
    name_of,
    product_macs,
)


class Counter(TorchDispatchMode):
    """Counts while it is entered.

    In the forward pass an operator belongs to the innermost module that is running, in the
    backward pass to the layer whose operator is being differentiated: autograd numbers the nodes
    of its graph as operators make them.

    The gradients of a product are products too.  One that reads a weight is the input gradient,
    another the weight gradient; a weight is whatever was computed without the model's inputs.

    Args:
        model: whose modules' names layers go by; hooks are added to it.
        inputs: what it will be called with.
    """

    supports_higher_order_operators = True

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs: dict[str, Macs] = collections.defaultdict(Macs)
        self.uncounted: collections.Counter[str] = collections.Counter()
        self._running: list[str] = []
        self._layers: dict[int | None, str] = {}  # of the nodes of autograd's graph
        self._operands: dict[int | None, tuple[bool, ...]] = {}  # which of a product's are weights
        self._from_inputs: dict[int, torch.UntypedStorage] = {}
        self._mark(inputs)
        for name, module in model.named_modules():
            self._watch(name, module)

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operator and count it."""
        output = func(*args, **(kwargs or {}))
        if isinstance(func, torch._ops.HigherOrderOperator):
            self.uncounted[func.name()] += 1  # type: ignore[no-untyped-call]
            return output
        arguments = arguments_of(func, args, kwargs or {})
        if not all(map(self._is_weight, _tensors(arguments))):
            self._mark(output)
        self._count(func, arguments, output)
        return output

    def _count(self, func: torch._ops.OpOverload, arguments: Arguments, output: Any) -> None:
        name, layer = name_of(func), self._layer()
        if name in GRADIENTS:
            self.macs[layer] += self._within(GRADIENTS[name](arguments))
        elif name in PRODUCTS:
            macs = product_macs(name, arguments, output)
            self.macs[layer] += self._attributed(name, arguments, macs)
        elif not has_no_macs(func, arguments):
            self.uncounted[name] += 1

    def _layer(self) -> str:
        layer = self._running[-1] if self._running else self._layers.get(_node_running(), "")
        if self._forward():
            self._layers.setdefault(_newest_node(), layer)
        return layer

    def _forward(self) -> bool:
        """Whether a forward pass runs, were it one that the backward pass recomputes."""
        return bool(self._running) or torch.is_grad_enabled()

    def _attributed(self, name: str, arguments: Arguments, macs: int) -> Macs:
        """Return a product's MACs as those of the forward pass or of one of the gradients."""
        operands = tuple(self._is_weight(arguments[operand]) for operand in PRODUCTS[name])
        if self._forward():
            self._operands.setdefault(_newest_node(), operands)
            return Macs(forward=macs)
        multiplied = self._operands.get(_node_running(), (False, True))
        of_weight = all(multiplied) or (any(multiplied) and not any(operands))
        return Macs(weight_gradient=macs) if of_weight else Macs(input_gradient=macs)

    def _within(self, gradients: Macs) -> Macs:
        """Return gradients' MACs as forward where a model computes them to get its outputs."""
        return Macs(forward=gradients.total) if self._running else gradients

    def _mark(self, results: Any) -> None:
        for tensor in _tensors(results):
            storage = tensor.untyped_storage()
            self._from_inputs[storage._cdata] = storage

    def _is_weight(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage()._cdata not in self._from_inputs

    def _watch(self, name: str, module: nn.Module) -> None:
        def enter(*_: Any) -> None:
            self._running.append(name)

        def leave(*_: Any) -> None:
            self._running.pop()

        module.register_forward_pre_hook(enter, prepend=True)
        module.register_forward_hook(leave, always_call=True)


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _newest_node() -> int:
    return torch._C._autograd._get_sequence_nr() - 1


def _node_running() -> int | None:
    node = torch._C._current_autograd_node()
    return None if node is None else node._sequence_nr()
