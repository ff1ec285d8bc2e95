"""Random images for the inputs of any network, of sizes that are asked for or its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from depthwise.bench.options import Asked, Shape
from depthwise.errors import ModelError
from depthwise.measure.network_files import TOLERANCE
from depthwise.measure.worker import differences
from depthwise.network import agreement
from depthwise.problem.arrays import Array

_SEED = 0
_NEVER_RIGHT = 0.05
"""The part of the largest result by which none may differ, however far that is."""


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


def drawn(inputs: Sequence[Input], shapes: Mapping[str, Shape]) -> dict[str, Array]:
    """Return random images of these shapes, the same each time: whole numbers are 0 or 1.

    Raises:
        ModelError: an input takes something else than numbers, or there is none.
    """
    if not inputs:
        raise ModelError("a network is measured with images; got one without inputs")
    rng = np.random.default_rng(_SEED)
    found: dict[str, Array] = {}
    for each in inputs:
        try:
            kind = np.dtype(each.dtype or "object")
        except TypeError:
            kind = np.dtype(object)
        if kind.kind not in "fiub":
            raise ModelError(
                f"a network is measured with arrays of numbers; got {each.dtype}: {each}"
            )
        shape = shapes[each.name]
        draw = rng.standard_normal(shape) if kind.kind == "f" else rng.integers(0, 2, shape)
        found[each.name] = np.asarray(draw).astype(kind)
    return found


def check_results(results: Mapping[str, object]) -> None:
    """Refuse results that no others can be held against.

    Raises:
        ModelError: they are no arrays of numbers, or not finite.
    """
    for name, array in results.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
            raise ModelError(f"a network is measured by arrays of numbers; got other output {name}")
        if not np.all(np.isfinite(array)):
            raise ModelError(
                "a network is measured with random images for which its results are finite; got "
                f"others in {name}"
            )


def moved(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return images that differ from these by a rounding, up or down at random."""
    rng = np.random.default_rng(_SEED)
    found = dict(inputs)
    for name, array in inputs.items():
        if array.dtype.kind == "f":
            step = np.finfo(array.dtype).eps * rng.choice([-1, 1], array.shape)
            found[name] = (array * (1 + step)).astype(array.dtype)
    return found


def tolerance(depth: int, expected: Sequence[Array], moved: Sequence[Array]) -> float:
    """Return how far results may be from those expected, over the largest of these.

    Args:
        depth: how many layers have weights.
        expected: the results.
        moved: those for images that differ by a rounding: some networks amplify every rounding.
    """
    kinds = [each.dtype for each in expected if each.dtype.kind == "f"]
    epsilon = max((float(np.finfo(kind).eps) for kind in kinds), default=0.0)
    _, own = differences(moved, expected)
    most = max(TOLERANCE, agreement.tolerance(depth, epsilon))
    return max(most, min(agreement.NETWORKS_OWN * own, _NEVER_RIGHT))


def listed(arrays: Mapping[str, Array]) -> str:
    """Return the shapes of arrays as they are written on the command line."""
    return " ".join(f"{name}={','.join(map(str, x.shape))}" for name, x in arrays.items())
