"""Constant arrays as C."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from depthwise.machine import c99_helpers
from depthwise.problem.arrays import Array

C_TYPES = {**c99_helpers.C_TYPES, "bool": "unsigned char"}
"""Of elements, by NumPy's names."""
_PER_LINE = {1: 24, 2: 16, 4: 8, 8: 4}
"""How many numbers a line has, by their bytes."""


def number(value: float, dtype: str) -> str:
    """Return a number as a constant of C, exact."""
    if dtype not in ("float32", "float64"):
        return f"{value:#x}u" if dtype == "uint64" else _whole(int(value), dtype)
    if not np.isfinite(value):
        return "NAN" if np.isnan(value) else "INFINITY" if value > 0 else "-INFINITY"
    text = f"{value:.9g}" if dtype == "float32" else f"{value:.17g}"
    whole = not set(text) & set(".e")
    return f"{text}{'.0' if whole else ''}{'f' if dtype == 'float32' else ''}"


def _whole(value: int, dtype: str) -> str:
    """Return a whole number, the least of its type as a difference: C has no constant for it."""
    if value == np.iinfo(dtype if dtype != "bool" else "uint8").min < 0:
        return f"({value + 1} - 1)"
    return str(value)


def definition(name: str, array: Array) -> Iterator[str]:
    """Yield the lines that define a constant array, of one axis."""
    kind = array.dtype.name
    yield f"const {C_TYPES[kind]} {name}[{array.size}] = {{"
    words = _words(array)
    width = _PER_LINE[array.dtype.itemsize]
    for start in range(0, array.size, width):
        yield f"  {', '.join(words[start : start + width])},"
    yield "};"


def _words(array: Array) -> Sequence[str]:
    kind, values = array.dtype.name, array.tolist()
    if array.dtype.kind in "iub" and array.dtype.itemsize == 1:
        return [str(int(value)) for value in values]
    if kind == "float32" and np.isfinite(array).all():  # as `number` does, of millions
        return [f"{value:.9g}f" if value % 1 else f"{value:.1f}f" for value in values]
    return [number(value, kind) for value in values]


def weights_file(title: str, header: str, names: Sequence[str], arrays: Sequence[Array]) -> str:
    """Return the file of C that defines constant arrays."""
    lines = chain.from_iterable(
        (*definition(name, array), "") for name, array in zip(names, arrays, strict=True)
    )
    needs_math = any(array.dtype.kind == "f" and not np.isfinite(array).all() for array in arrays)
    includes = [*["#include <math.h>"] * needs_math, f'#include "{header}"']
    if not arrays:  # a file of C has something
        return "\n".join([f"/* {title}: it has no constant arrays. */", *includes, ""])
    return "\n".join([f"/* {title}: constant arrays. */", *includes, "", *lines])


def weights_header(guard: str, names: Sequence[str], arrays: Sequence[Array]) -> str:
    """Return the header that declares constant arrays."""
    declared = [
        f"extern const {C_TYPES[array.dtype.name]} {name}[{array.size}];"
        for name, array in zip(names, arrays, strict=True)
    ]
    return "\n".join(
        [f"#ifndef {guard}", f"#define {guard}", "", "#include <stdint.h>", "", *declared, "",
         "#endif", ""]
    )  # fmt: skip
