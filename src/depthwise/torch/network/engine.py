"""Torch as the engine of networks that were read from it: one operator at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from depthwise.errors import ModelError
from depthwise.network.engine import Counts, check_counts
from depthwise.network.graph import Node, Value
from depthwise.problem.arrays import Array, as_tensor
from depthwise.torch.network.calls import FunctionCall, read
from depthwise.torch.network.constants import as_array, lent
from depthwise.torch.network.functions import is_pure
from depthwise.torch.network.tracing import is_view
from depthwise.torch.network.writing import written


class TorchEngine:
    """See `network.engine.Engine`."""

    name = "torch"
    takes_whole_graphs = False
    shares_memory = True

    def write(
        self, nodes: Sequence[Node], inputs: Sequence[Value], outputs: Sequence[Value],
        images: frozenset[Value],
    ) -> bytes:  # fmt: skip
        """Return a node as JSON."""
        del outputs, images
        (node,) = nodes
        return written(node, inputs).written()

    def title(self, nodes: Sequence[Node]) -> str:
        """Return the name of the function."""
        (node,) = nodes
        given = list(dict.fromkeys(value for value in node.inputs if value is not None))
        return written(node, given).title

    def runner(self, payload: bytes, threads: int, counts: Counts) -> Bound:
        """Return a function with its arguments; torch runs it on the team's threads."""
        del threads
        return Bound(_called(payload, counts))

    def compute(self, payload: bytes, given: Sequence[Any], makes: int) -> list[Any]:
        """See `Engine.compute`."""
        call = _called(payload, (len(given), makes))
        with torch.no_grad():
            result = call([_native(each) for each in given].__getitem__)
        return [as_array(result) if isinstance(result, Tensor) else result]

    def result(self, value: Any, *, inside: bool) -> Any:
        """Return a tensor that is the caller's to keep."""
        return value.clone() if inside and isinstance(value, Tensor) else value


def _called(payload: bytes, counts: Counts) -> FunctionCall:
    """Return a function with its arguments, of which a step of these counts has all."""
    call = read(payload)
    takes, _ = counts
    check_counts(counts, (max(takes, call.takes), 1))
    return call


def _native(value: Any) -> Any:
    return as_tensor(value) if isinstance(value, np.ndarray) else value


class FileEngine(TorchEngine):
    """Torch as the engine of networks in files: arrays in and out, and functions that compute.

    A file may be anybody's, so it names no others (`functions.is_pure`).
    """

    def runner(self, payload: bytes, threads: int, counts: Counts) -> OfFile:
        """See `TorchEngine.runner`.

        Raises:
            ModelError: the payload is no call, or one of a function that does more than compute.
        """
        del threads
        return OfFile(_checked(payload, counts))

    def compute(self, payload: bytes, given: Sequence[Any], makes: int) -> list[Any]:
        """See `Engine.compute`."""
        bound = OfFile(_checked(payload, (len(given), makes)))
        (result,) = bound.run(given)
        return [as_array(result) if isinstance(result, Tensor) else result]

    def result(self, value: Any, *, inside: bool) -> Any:
        """Return an array of its own: the memory may be the network's, the file's or an input's."""
        del inside
        return np.array(as_array(value)) if isinstance(value, Tensor) else value


def _checked(payload: bytes, counts: Counts) -> FunctionCall:
    """Return the call in a file, which computes and does nothing else."""
    try:
        call = _called(payload, counts)
        pure = is_pure(call.function)
    except ModelError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ModelError(f"a call of torch is one that net.save wrote; got {error!r}") from None
    if not pure:
        raise ModelError(
            f"a network in a file calls functions of torch that compute; got {call.function}"
        )
    return call


class Bound:
    """A call bound to memory; see `Runner`."""

    _native = staticmethod(_native)

    def __init__(self, call: FunctionCall) -> None:
        self._call = call
        self._placed: dict[int, Any] = {}
        self._target: Tensor | None = None

    def place(self, position: int, array: Array) -> None:
        """See `Runner`."""
        with torch.inference_mode(False):  # what is made in this mode serves no other
            self._placed[position] = self._native(array)

    def place_output(self, position: int, array: Array) -> None:
        """See `Runner`."""
        del position
        with torch.inference_mode(False):
            self._target = as_tensor(array)

    def settled(self) -> list[Any] | None:
        """Return the result where it is a view of memory that is known."""
        if self._target is not None or not is_view(self._call.callable):
            return None
        with torch.inference_mode(False), torch.no_grad():
            result = self._call(self._placed.__getitem__)
        if not isinstance(result, Tensor) or not self._lies_in_place(result):
            return None
        return [result]

    def _lies_in_place(self, result: Tensor) -> bool:
        """Whether a result lies in the memory of what it was made of (`to` and others may copy)."""
        placed = [each for each in self._placed.values() if isinstance(each, Tensor)]
        starts = [each.untyped_storage().data_ptr() for each in placed]
        return result.untyped_storage().data_ptr() in starts

    def run(self, given: Sequence[Any]) -> list[Any]:
        """See `Runner`."""
        placed = self._placed
        value: Callable[[int], Any] = lambda n: placed[n] if n in placed else given[n]  # noqa: E731
        result = self._call(value)
        if self._target is None:
            return [result]
        self._target.copy_(result)
        return [None]


class OfFile(Bound):
    """A call in a file, bound to memory: of arrays, and refused in words where torch refuses it."""

    @staticmethod
    def _native(value: Any) -> Any:
        return lent(value) if isinstance(value, np.ndarray) else value

    def settled(self) -> list[Any] | None:
        """See `Bound.settled`."""
        try:
            return super().settled()
        except Exception as error:  # torch's operators raise anything
            raise _refused(error) from None

    def run(self, given: Sequence[Any]) -> list[Any]:
        """See `Bound.run`."""
        if torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return self.run(given)
        try:
            return super().run([*map(self._native, given)])
        except Exception as error:  # torch's operators raise anything
            raise _refused(error) from None


def _refused(error: Exception) -> ModelError:
    said = " ".join(str(error).split())
    return ModelError(f"what no kernel computes is computed by torch; it says: {said}")
