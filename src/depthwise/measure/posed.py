"""A problem as the benchmark poses it: its arrays, and what the oracle expects of them.

What an inverted residual adds is its own input, as in a network: one array, read once.
"""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np

from depthwise.measure import streams
from depthwise.problem.arrays import Array, aligned
from depthwise.problem.costs import cost
from depthwise.problem.data import never_written, random_problem
from depthwise.problem.dtypes import element
from depthwise.problem.problem import Problem

_EXPECTED = "expected.npy"


def adds_input(spec: Problem) -> bool:
    """Whether the residual of the problem is the input itself."""
    of_its_kind = spec.kind == "inverted" and "residual" in spec.operands
    return of_its_kind and spec.input_shape == spec.output_shape


def arrays(spec: Problem, seed: int = 0) -> tuple[Array, ...]:
    """Return the arrays of `random_problem`; a residual that is the input is the same array."""
    return _sharing(spec, random_problem(spec, seed))


def write(folder: Path, spec: Problem, seed: int = 0) -> None:
    """Write the arrays and what the oracle expects of them, for `read` in other processes."""
    *given, _ = arrays(spec, seed)
    for number, array in enumerate(given):
        np.save(folder / f"{number}.npy", array)
    np.save(folder / _EXPECTED, streams.expected(spec, given))


def read(folder: Path, spec: Problem) -> tuple[tuple[Array, ...], Array]:
    """Return what `arrays` does, and the expected result, which stays in its file."""
    y = never_written(spec)
    given = [
        aligned_copy(folder / f"{number}.npy", element(spec.dtype_of(name)).numpy)
        for number, name in enumerate(spec.array_names)
    ]
    return _sharing(spec, (*given, y)), np.load(folder / _EXPECTED, mmap_mode="r")


def least_bytes(spec: Problem) -> int:
    """Return the bytes that move at least: every array once."""
    again = prod(spec.input_shape) if adds_input(spec) else 0
    return cost(spec).bytes - again * spec.element.bytes


def _sharing(spec: Problem, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """Put the input in the place of a residual that is the input."""
    x, *operands, y = arrays
    if adds_input(spec):
        operands[list(spec.operands).index("residual")] = x
    return (x, *operands, y)


def aligned_copy(file: Path, dtype: str | None = None) -> Array:
    """Return the array of a file in memory that begins with a cache line.

    Args:
        file: as `np.save` writes it.
        dtype: the type of its elements, which files do not tell of types that are not NumPy's own.
    """
    stored = np.load(file, mmap_mode="r")
    stored = stored.view(dtype or stored.dtype)
    copy = aligned(stored.shape, stored.dtype)
    copy[...] = stored
    return copy
