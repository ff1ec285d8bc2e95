"""A family: the kinds of problem that share a type of specification, and what that type decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from depthwise.problem.counting import Cost
from depthwise.problem.dtypes import element
from depthwise.problem.problem import Problem

if TYPE_CHECKING:
    from numpy.random import Generator

S = TypeVar("S", bound=Problem)
Scale: TypeAlias = Callable[[Any, str], float]


def scale_of_weights(spec: Problem, name: str) -> float:
    """Return 1 / sqrt(products per output) for a weight, otherwise 1."""
    return float(prod(spec.operands[name][1:]) ** -0.5) if name.endswith("weight") else 1.0


def normal(spec: Problem, rng: Generator, scale: Scale = scale_of_weights) -> dict[str, Any]:
    """Return normally distributed arrays for x and the operands, by name; whole numbers evenly.

    Args:
        spec: the problem.
        rng: where they come from.
        scale: gives the standard deviation for an array of the problem.
    """
    shapes = zip(spec.array_names, (spec.input_shape, *spec.operands.values()), strict=True)
    found: dict[str, Any] = {}
    for name, shape in shapes:
        if (kind := element(spec.dtype_of(name))).is_integer:
            found[name] = rng.integers(*kind.range, shape, endpoint=True)
        else:
            found[name] = scale(spec, name) * rng.standard_normal(shape)
    return found


@dataclass(frozen=True, kw_only=True)
class Family(Generic[S]):
    """All that the package knows of a type of specification beside the specification itself."""

    specification: type[S]
    """The type."""
    kinds: tuple[str, ...]
    """The kinds of problem that it describes: the first words of their lines."""
    read: Callable[[str, Sequence[str], str], S]
    """`read(kind, tokens, text)` is the problem of a line: of its first word, of the others, and of
    the whole line, which errors print.  It raises ParseError and SpecError."""
    compute: Callable[[S, Mapping[str, NDArray[np.float64]]], NDArray[Any]]
    """The oracle: the output, in float64, of arrays in float64, named as `array_names` has them and
    of the problem's shapes."""
    products: Callable[[S], Sequence[float]]
    """Of each sum that is computed in turn, how many units of rounding its products may cost."""
    cost: Callable[[S], Cost]
    """What the problem costs."""
    random: Callable[[S, Generator], dict[str, NDArray[Any]]] = normal
    """Random data for x and the operands, by name."""
