"""The sizes of the inputs of any network: those that are asked for, or its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from depthwise.bench.options import Asked, Shape
from depthwise.errors import ModelError
from depthwise.problem.arrays import Array


@dataclass(frozen=True)
class Input:
    """What a network says of one of its inputs."""

    name: str
    sizes: Sequence[int | str | None] | None
    """Of its axes: a number, or a word or nothing for one that may be any; None or none at all
    where not even their number is known."""
    dtype: str | None
    """NumPy's name of its element type; None where it is no plain array."""

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(str(each or 'any') for each in self.sizes or ())})"


def shapes(inputs: Sequence[Input], asked: Asked) -> dict[str, Shape]:
    """Return the shapes of a network's inputs: those asked for, and its own where these are fixed.

    Args:
        inputs: of the network.
        asked: shapes of some of them, by name or in their order.

    Raises:
        ModelError: there is no such input, it has other sizes, or nobody says which it has.
    """
    names = [each.name for each in inputs]
    named = dict(asked) if isinstance(asked, Mapping) else dict(zip(names, asked, strict=False))
    if len(named) < len(asked) or not set(named) <= set(names):
        raise ModelError(
            f"the inputs of the network are {', '.join(names) or 'none'}, each once; got "
            f"{len(asked)}: {asked}"
        )
    return {each.name: _shape(each, named.get(each.name)) for each in inputs}


def _shape(one: Input, asked: Shape | None) -> Shape:
    own = tuple(one.sizes or ())
    fixed = tuple(size for size in own if isinstance(size, int))
    if asked is None:
        if len(fixed) < len(own) or one.sizes is None:
            example = ",".join(str(size if isinstance(size, int) else 1) for size in own)
            raise ModelError(
                f"open sizes of an input are given with --input, as --input {one.name}={example}; "
                f"got none for {one}"
            )
        return fixed
    fits = len(own) == len(asked) and all(
        size == given for size, given in zip(own, asked, strict=True) if isinstance(size, int)
    )
    if own and not fits:
        raise ModelError(f"an input has the sizes that the network takes, {one}; got {asked}")
    return asked


def listed(arrays: Mapping[str, Array]) -> str:
    """Return the shapes of arrays as they are written on the command line."""
    return " ".join(f"{name}={','.join(map(str, x.shape))}" for name, x in arrays.items())
