"""A call of one of torch's functions as plain data: what a network saves of it, and read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from depthwise.errors import ModelError
from depthwise.torch.network.functions import function

_KINDS: dict[str, type] = {
    "dtype": torch.dtype,
    "device": torch.device,
    "layout": torch.layout,
    "memory_format": torch.memory_format,
}
"""What arguments may be beside numbers, words and lists, each written as a word."""


@dataclass(frozen=True)
class Ref:
    """The input of a number."""

    number: int


def filled(arguments: Any, value: Callable[[int], Any]) -> Any:
    """Return arguments with each reference replaced by its value."""
    if isinstance(arguments, Ref):
        return value(arguments.number)
    if isinstance(arguments, (tuple, list)):
        return type(arguments)([filled(each, value) for each in arguments])
    if isinstance(arguments, dict):
        return {name: filled(each, value) for name, each in arguments.items()}
    return arguments


@dataclass(frozen=True)
class FunctionCall:
    """A function of torch and its arguments, with a `Ref` for each input.

    Attributes:
        function: its name; see `functions`.
        args: by position.
        kwargs: by name.
    """

    function: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def title(self) -> str:
        """The function in short."""
        return self.function.removeprefix("torch.ops.")

    @property
    def takes(self) -> int:
        """How many inputs there are at least."""
        numbers = [0]
        filled([self.args, self.kwargs], lambda number: numbers.append(number + 1))
        return max(numbers)

    def __call__(self, value: Callable[[int], Any]) -> Any:
        """Compute, with `value(number)` for each input."""
        return self.callable(*filled(self.args, value), **filled(self.kwargs, value))

    @property
    def callable(self) -> Any:
        """The function itself."""
        return function(self.function)

    def written(self) -> bytes:
        """Return the call as JSON.

        Raises:
            ModelError: an argument is of a kind that cannot be saved.
        """
        plain = [self.function, _plain(list(self.args)), _plain(self.kwargs)]
        return json.dumps(plain).encode()


def read(payload: bytes) -> FunctionCall:
    """Return the call that `written` gave."""
    name, args, kwargs = json.loads(payload)
    return FunctionCall(name, tuple(_restored(args)), _restored(kwargs))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Ref):
        return {"ref": value.number}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {"dict": {name: _plain(each) for name, each in value.items()}}
    if isinstance(value, slice):
        return {"slice": _plain([value.start, value.stop, value.step])}
    for kind, allowed in _KINDS.items():
        if isinstance(value, allowed):
            return {kind: str(value).removeprefix("torch.")}
    raise ModelError(f"an operator's arguments are numbers, words and tensors; got {value!r}")


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return [_restored(each) for each in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "ref":
        return Ref(inner)
    if kind == "dict":
        return {name: _restored(each) for name, each in inner.items()}
    if kind == "slice":
        return slice(*_restored(inner))
    found = torch.device(inner) if kind == "device" else getattr(torch, inner)
    if not isinstance(found, _KINDS[kind]):
        raise TypeError(f"{inner!r} for a {kind}")
    return found
