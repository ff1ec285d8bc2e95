"""The network that `depthwise.torch.optimize` returns."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from depthwise.errors import ArrayError, ModelError
from depthwise.torch.network.execution import Execution, Memory
from depthwise.torch.network.network import Network
from depthwise.torch.network.tracing import Trace
from depthwise.torch.optimize_report import Report
from depthwise.torch.registry import differentiated, unwatched

_MOST_EXECUTIONS = 16
_STRUCTURES = ("inputs", "outputs")


@dataclass(frozen=True)
class Signature:
    """How a model is called.

    Attributes:
        names: of the parameters of its `forward`, in order.
        inputs: the structure of its arguments.
        outputs: the structure of its result.
        sizes: for each input the sizes that it was traced with: a number for one that is fixed, a
            name for one that is not; None for what is no tensor.
        given: the example's inputs that are no tensors, by position.
        dtypes: the element types of the inputs.
    """

    names: tuple[str, ...]
    inputs: pytree.TreeSpec
    outputs: pytree.TreeSpec
    sizes: tuple[tuple[int | str, ...] | None, ...]
    given: dict[int, Any]
    dtypes: tuple[torch.dtype | None, ...]

    @classmethod
    def of(cls, model: nn.Module, traced: Trace, args: tuple[Any, ...]) -> Signature:
        """Return how a traced model is called."""
        flat, structure = pytree.tree_flatten((args, {}))
        tensors = [value if isinstance(value, Tensor) else None for value in flat]
        outputs = traced.program.call_spec.out_spec
        assert outputs is not None
        return cls(
            names=tuple(inspect.signature(model.forward).parameters),
            inputs=structure,
            outputs=outputs,
            sizes=tuple(map(_sizes, traced.inputs, tensors)),
            given={number: flat[number] for number, value in enumerate(tensors) if value is None},
            dtypes=tuple(None if value is None else value.dtype for value in tensors),
        )

    def __getstate__(self) -> dict[str, Any]:
        """Hold structures as objects that have them, which pickle as torch's own classes do not."""
        structures = {name: getattr(self, name) for name in _STRUCTURES}
        objects = {
            name: pytree.tree_unflatten(range(structure.num_leaves), structure)
            for name, structure in structures.items()
        }
        return {**vars(self), **objects}

    def __setstate__(self, state: dict[str, Any]) -> None:
        structures = {name: pytree.tree_structure(state[name]) for name in _STRUCTURES}
        vars(self).update(state, **structures)

    def flattened(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
        """Return the tensors and numbers of a call.

        Raises:
            ArrayError: they are not those that the network takes.
        """
        named = dict(zip(self.names, args, strict=False))
        if len(args) > len(self.names) or set(named) & set(kwargs):
            raise ArrayError(f"the network takes {', '.join(self.names)}; got {len(args)} inputs")
        given = {**named, **kwargs}
        inputs = tuple(given[name] for name in self.names if name in given)
        flat, structure = pytree.tree_flatten((inputs, {}))
        if len(inputs) != len(given) or structure != self.inputs:
            raise ArrayError(
                f"the network takes inputs like the example's, {self.inputs}; got {structure}"
            )
        found: dict[str, int] = {}
        for position, value in enumerate(flat):
            self._check(position, value, found)
        return flat

    def _check(self, position: int, value: Any, found: dict[str, int]) -> None:
        sizes = self.sizes[position]
        if sizes is None:
            if value != self.given[position]:
                raise ArrayError(
                    f"an input that is no tensor is the example's, {self.given[position]!r}; "
                    f"got {value!r}"
                )
            return
        if not isinstance(value, Tensor) or value.dtype != self.dtypes[position]:
            kind = getattr(value, "dtype", type(value).__name__)
            raise ArrayError(f"input {position} is a {self.dtypes[position]} tensor; got {kind}")
        fits = len(sizes) == value.dim() and all(
            size == (wanted if isinstance(wanted, int) else found.setdefault(wanted, size))
            for size, wanted in zip(value.shape, sizes, strict=True)
        )
        if not fits:
            fixed = ", ".join(map(str, sizes))
            raise ArrayError(
                f"input {position} has the sizes ({fixed}), of which the model fixed the numbers "
                f"(optimize it for the others); got {tuple(value.shape)}"
            )


def _sizes(node: fx.Node, given: Tensor | None) -> tuple[int | str, ...] | None:
    if given is None:
        return None
    return tuple(size if isinstance(size, int) else str(size) for size in node.meta["val"].shape)


class Optimized(nn.Module):
    """A network in evaluation mode on this package's kernels; call it as the model it was made of.

    It computes no gradients.  It can be saved, copied and exported; kernels are compiled anew where
    they are needed, for each batch and size once.
    """

    report: Report

    def __init__(self, network: Network, signature: Signature) -> None:
        super().__init__()
        self.network = network
        self.signature = signature
        self._start()
        self.eval()

    def _start(self) -> None:
        self._executions: dict[Any, Execution] = {}
        self._memory = Memory()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the model returns.

        Raises:
            ArrayError: the inputs are not like the example's, or a gradient is asked for.
            ModelError: the network is in training mode.
        """
        if self.training:
            raise ModelError("an optimized network infers (use .eval()); got training mode")
        inputs = self.signature.flattened(args, kwargs)
        tensors = [value for value in inputs if isinstance(value, Tensor)]
        if not unwatched(*tensors):
            results = self.network(*inputs)
        elif differentiated(*tensors):
            raise ArrayError(
                "an optimized network computes no gradients (use torch.no_grad() or .detach()); "
                "got an input that requires one"
            )
        else:
            results = self.execution(inputs)(inputs)
        return pytree.tree_unflatten(results, self.signature.outputs)

    def __str__(self) -> str:
        return str(self.report)

    def execution(self, inputs: Sequence[Any]) -> Execution:
        """Return what runs for inputs of these shapes, made at first use."""
        key = (*(tuple(value.shape) for value in inputs if isinstance(value, Tensor)),)
        found = self._executions.get(key)
        if found is None:
            if len(self._executions) >= _MOST_EXECUTIONS:
                self._executions.clear()
                self._memory = Memory()
            found = self._executions[key] = Execution(self.network, inputs, self._memory)
        return found

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        del state["_executions"], state["_memory"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._start()

    def _apply(self, fn: Any, recurse: bool = True) -> Optimized:
        del recurse
        for buffer in self.buffers():
            moved = cast(Tensor, fn(buffer[:0]))
            if (moved.dtype, moved.device) != (buffer.dtype, buffer.device):
                raise ModelError(
                    "an optimized network stays on the CPU in the type that it was made for; "
                    f"got {moved.dtype} on {moved.device}"
                )
        return self

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Refuse: weights are folded and packed.

        Raises:
            ModelError: always.
        """
        del state_dict, strict, assign
        raise ModelError(
            "an optimized network keeps its weights (load others into the model, then optimize it)"
        )


class ByParts(nn.Module):
    """A model of which only modules could be optimized; they are in their places in a copy of it.

    Attributes:
        model: the copy.
        report: see `Optimized`.
    """

    def __init__(self, model: nn.Module, report: Report) -> None:
        super().__init__()
        self.model, self.report = model, report
        self.eval()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the model returns."""
        return self.model(*args, **kwargs)

    def __str__(self) -> str:
        return str(self.report)
