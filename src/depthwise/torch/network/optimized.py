"""The network that `depthwise.torch.optimize` returns."""

from __future__ import annotations

import copy
import inspect
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from depthwise.errors import ArrayError, ModelError
from depthwise.network.execution import Workspaces
from depthwise.network.saved.file import write
from depthwise.network.weights import PackedWeights
from depthwise.torch.network.network import Network
from depthwise.torch.network.ready import Ready
from depthwise.torch.network.saving import program_of
from depthwise.torch.network.sealed import sealed
from depthwise.torch.network.tracing import Trace, is_open
from depthwise.torch.optimize_report import Report
from depthwise.torch.registry import differentiated, unwatched

_MOST_EXECUTIONS = 16
_STRUCTURES = ("inputs", "outputs")


@dataclass(frozen=True)
class Signature:
    """How a model is called.

    Attributes:
        names: of its arguments in order, those of `*name` as name[0], name[1] and so on.
        inputs: the structure of its arguments.
        outputs: the structure of its result.
        sizes: for each input the sizes that it was traced with: a number for one that is fixed, a
            name for one that is not; None for what is no tensor.
        given: the example's inputs that are no tensors, by position.
        dtypes: the element types of the inputs.
        guards: see `Trace`.
    """

    names: tuple[str, ...]
    inputs: pytree.TreeSpec
    outputs: pytree.TreeSpec
    sizes: tuple[tuple[int | str, ...] | None, ...]
    given: dict[int, Any]
    dtypes: tuple[torch.dtype | None, ...]
    guards: tuple[str, ...]

    @classmethod
    def of(cls, model: nn.Module, traced: Trace, args: tuple[Any, ...]) -> Signature:
        """Return how a traced model is called."""
        flat, structure = pytree.tree_flatten((args, {}))
        tensors = [value if isinstance(value, Tensor) else None for value in flat]
        outputs = traced.program.call_spec.out_spec
        assert outputs is not None
        return cls(
            names=tuple(islice(_names(model), len(args))),
            inputs=structure,
            outputs=outputs,
            sizes=tuple(map(_sizes, traced.inputs, tensors)),
            given={number: flat[number] for number, value in enumerate(tensors) if value is None},
            dtypes=tuple(None if value is None else value.dtype for value in tensors),
            guards=traced.guards,
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
        given = {**dict(zip(self.names, args, strict=False)), **kwargs}
        if len(args) + len(kwargs) != len(self.names) or set(given) != set(self.names):
            raise ArrayError(
                f"the network takes what the example has: {', '.join(self.names)}; got "
                f"{len(args)} inputs by position and {', '.join(kwargs) or 'none'} by name"
            )
        flat, structure = pytree.tree_flatten((tuple(given[name] for name in self.names), {}))
        if structure != self.inputs:
            raise ArrayError(
                f"the network takes inputs like the example's, {self.inputs}; got {structure}"
            )
        found: dict[str, int] = {}
        for position, value in enumerate(flat):
            self._check(position, value, found)
        return flat

    def check_guards(self, flat: Sequence[Any]) -> None:
        """Refuse sizes at which the model may compute something else.

        Raises:
            ArrayError: the model took another way through its code for the example.
        """
        args, _ = pytree.tree_unflatten(list(flat), self.inputs)
        given: dict[str, Any] = {}
        for name, value in zip(self.names, args, strict=True):
            first, starred, _ = name.partition("[")
            given[first] = [*given.get(first, ()), value] if starred else value
        for guard in self.guards:
            if not eval(guard, {"torch": torch, "math": math}, {"L": given}):
                shapes = [tuple(value.shape) for value in flat if isinstance(value, Tensor)]
                raise ArrayError(
                    f"the network takes sizes for which {guard}, as for the example (optimize the "
                    f"model for others); got {', '.join(map(str, shapes))}"
                )

    def _check(self, position: int, value: Any, found: dict[str, int]) -> None:
        sizes = self.sizes[position]
        if sizes is None:
            if isinstance(value, Tensor) or value != self.given[position]:
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
            fixed = ", ".join(str(size) if isinstance(size, int) else "any" for size in sizes)
            raise ArrayError(
                f"input {position} has the sizes ({fixed}) of the example (optimize the model for "
                f"others); got {tuple(value.shape)}"
            )


def _names(model: nn.Module) -> Iterator[str]:
    """Yield the names of the arguments of a model by position, without an end where it has none."""
    for parameter in inspect.signature(model.forward).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            yield from (f"{parameter.name}[{number}]" for number in count())
        yield parameter.name


def _sizes(node: fx.Node, given: Tensor | None) -> tuple[int | str, ...] | None:
    if given is None:
        return None
    return tuple(str(size) if is_open(size) else int(size) for size in node.meta["val"].shape)


def _kinds(args: tuple[Any, ...]) -> Any:
    """Return all that a call depends on of its arguments but their values; None for some kinds."""
    if all(type(value) is Tensor for value in args):
        return tuple((value.shape, value.dtype) for value in args)
    return None


class _Finished(nn.Module):
    """A module whose weights are folded and packed: they stay what and where they are."""

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Be pickled with a digest."""
        del protocol
        return sealed(self)

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def __copy__(self) -> Any:
        twin = type(self).__new__(type(self))
        twin.__setstate__(self.__getstate__())  # type: ignore[no-untyped-call]
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        twin = memo[id(self)] = type(self).__new__(type(self))
        twin.__setstate__(copy.deepcopy(self.__getstate__(), memo))  # type: ignore[no-untyped-call]
        return twin

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        del recurse
        for tensor in (*self.parameters(), *self.buffers()):
            moved = cast(Tensor, fn(tensor.detach().flatten()[:0]))
            if (moved.dtype, moved.device) != (tensor.dtype, tensor.device):
                raise ModelError(
                    "an optimized network stays on the CPU in the type that it was made for; "
                    f"got {moved.dtype} on {moved.device}"
                )
        return self

    def _load_from_state_dict(self, *_: Any) -> None:
        raise ModelError(
            "an optimized network keeps its weights (load others into the model, then optimize it)"
        )

    def _check_mode(self) -> None:
        if self.training:
            raise ModelError("an optimized network infers (use .eval()); got training mode")


class Optimized(_Finished):
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
        self._executions: dict[Any, Ready] = {}
        self._seen: dict[Any, Ready] = {}
        """Those for arguments that are nothing but tensors, which were found to fit."""
        self._memory, self._weights = Workspaces(), PackedWeights()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the model returns.

        Raises:
            ArrayError: the inputs are not like the example's, or a gradient is asked for.
            ModelError: the network is in training mode.
        """
        self._check_mode()
        key = None if kwargs else _kinds(args)
        ready = self._seen.get(key)
        if ready is not None and unwatched(*args) and not differentiated(*args):
            return pytree.tree_unflatten(ready(args), self.signature.outputs)
        if torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return self.forward(*args, **kwargs)
        inputs = self.signature.flattened(args, kwargs)
        tensors = [value for value in inputs if isinstance(value, Tensor)]
        if not unwatched(*tensors):
            self.signature.check_guards(inputs)
            results = self.network(*inputs)
        elif differentiated(*tensors):
            raise ArrayError(
                "an optimized network computes no gradients (use torch.no_grad() or .detach()); "
                "got an input that requires one"
            )
        elif any(0 in value.shape for value in tensors):
            self.signature.check_guards(inputs)
            results = self.network(*inputs)
        else:
            ready = self.ready(inputs)
            if key is not None:
                self._seen[key] = ready
            results = ready(inputs)
        return pytree.tree_unflatten(results, self.signature.outputs)

    def save(self, file: str | os.PathLike[str], *, with_code: bool = False) -> None:
        """Write the network to a file that `depthwise.load` takes; see `network.Network.save`.

        It needs torch there only where it leaves operators to torch; nothing in it is pickled.
        What is loaded takes arrays, and returns them, in the order in which torch flattens the
        arguments and the result.

        Args:
            file: where to; a regular file is replaced whole.
            with_code: take along the machine code of the kernels for the example.

        Raises:
            ModelError: it takes or returns something else than tensors, leaves to torch what a
                file may not name, or machine code cannot be made here.
            DepthwiseError: the file cannot be written; what was there is left.
        """
        write(program_of(self.network, self.signature.guards), Path(file), with_code=with_code)

    def __str__(self) -> str:
        return str(self.report)

    def ready(self, inputs: Sequence[Any]) -> Ready:
        """Return what runs for inputs of these shapes, made at first use."""
        key = (*(tuple(value.shape) for value in inputs if isinstance(value, Tensor)),)
        found = self._executions.get(key)
        if found is None:
            self.signature.check_guards(inputs)
            if len(self._executions) >= _MOST_EXECUTIONS:
                self._executions.clear()
                self._seen.clear()
                self._memory = Workspaces()
            found = Ready(self.network, inputs, self._weights, self._memory)
            self._executions[key] = found
        return found

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        for name in ("_executions", "_seen", "_memory", "_weights"):
            del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._start()


class ByParts(_Finished):
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
        """Return what the model returns.

        Raises:
            ModelError: the network is in training mode.
        """
        self._check_mode()
        return self.model(*args, **kwargs)

    def save(self, file: str | os.PathLike[str], *, with_code: bool = False) -> None:
        """Refuse to write what is Python to a file of `Optimized.save`.

        Raises:
            ModelError: always.
        """
        del with_code
        raise ModelError(
            "a network in a file was read as a whole, and this one module by module: "
            f"torch.save(network, {os.fspath(file)!r}) keeps it, as a pickle"
        )

    def __str__(self) -> str:
        return str(self.report)
