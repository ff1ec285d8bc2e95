"""Arrays in files of NumPy's: .npy, and .npz, whose arrays are named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from depthwise.errors import ArrayError, DepthwiseError, ModelError
from depthwise.problem.arrays import Array

ONE, SEVERAL = ".npy", ".npz"


def array_in(path: Path) -> Array:
    """Return the array of a file.

    Raises:
        ArrayError: it is no .npy.
        ModelError: it cannot be read.
    """
    if path.suffix != ONE:
        raise ArrayError(f"an input is an array in a file {ONE}; got {path}")
    array: Array = read_file(path, lambda: np.load(path, allow_pickle=False))
    return array


def arrays_in(path: Path) -> dict[str, Array]:
    """Return the arrays of a .npz by their names.

    Raises:
        ModelError: it cannot be read.
    """

    def read() -> dict[str, Array]:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)

    found: dict[str, Array] = read_file(path, read)
    return found


def read_file(path: Path | str, read: Callable[[], Any]) -> Any:
    """Return what is read of a file.

    Raises:
        ModelError: it cannot be read; in words.
    """
    try:
        return read()
    except DepthwiseError:
        raise
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        why = " ".join(str(error).split())
        raise ModelError(f"a file is one that can be read; got {path}: {why}") from None
