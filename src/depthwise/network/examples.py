"""Random inputs for any network, the same each time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from depthwise.errors import ModelError
from depthwise.network.steps import Shape
from depthwise.problem.arrays import Array
from depthwise.problem.dtypes import is_numeric, is_real, numpy_type, rounding_of

_SEED = 0


def drawn(dtypes: Mapping[str, str | None], shapes: Mapping[str, Shape]) -> dict[str, Array]:
    """Return random inputs: whole numbers, which are indices as a rule, are 0 or 1.

    Args:
        dtypes: NumPy's name of each input's element type; None where it is no plain array.
        shapes: of each.

    Raises:
        ModelError: an input takes something else than numbers, or there is none.
    """
    if not dtypes:
        raise ModelError("a network is measured with arrays; got one without inputs")
    rng = np.random.default_rng(_SEED)
    found: dict[str, Array] = {}
    for name, dtype in dtypes.items():
        shape, kind = shapes[name], _kind(dtype)
        if not is_numeric(kind):
            sizes = ", ".join(map(str, shape))
            raise ModelError(
                f"a network is measured with arrays of numbers; got {dtype}: {name} ({sizes})"
            )
        draw = rng.standard_normal(shape) if is_real(kind) else rng.integers(0, 2, shape)
        found[name] = np.asarray(draw).astype(kind)
    return found


def _kind(dtype: str | None) -> np.dtype[np.generic]:
    """Return an element type; that of objects for what NumPy has none for."""
    try:
        return numpy_type(dtype or "object")
    except TypeError:
        return np.dtype(object)


def moved(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return inputs that differ from these by a rounding, up or down at random."""
    rng = np.random.default_rng(_SEED)
    found = dict(inputs)
    for name, array in inputs.items():
        if is_real(array.dtype):
            step = rounding_of(array.dtype) * rng.choice([-1, 1], array.shape)
            found[name] = (array * (1 + step)).astype(array.dtype)
    return found
