"""What a single value of a problem may be; every refusal says what was given, whatever it was."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Iterable, Mapping
from numbers import Real

import numpy as np

from depthwise.errors import DTypeError, SpecError
from depthwise.problem.dtypes import element
from depthwise.problem.vocabulary import OTHER_NAMES, Pair

MAX_ELEMENTS = 2**31 - 1
"""Generated code indexes each tensor with 32-bit integers; no size or count is larger."""
MAX_STEP = 2**20
"""The farthest from output to output or tap to tap, which it multiplies by tiles of vectors."""

_LONGEST = 120


def itemsize(dtype: str) -> int:
    """Return the bytes of an element, its type given by name."""
    return element(dtype).bytes


def nbytes(shape: tuple[int, ...], dtype: str) -> int:
    """Return the bytes of an array of elements of the type of that name."""
    return math.prod(shape) * itemsize(dtype)


def shown(value: object) -> str:
    """Return `value` as errors print it: its repr in one line, cut short where it is long."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a repr may raise anything, as that of an integer of 5000 digits does
        text = f"<unprintable {type(value).__name__}>"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def whole(name: str, value: object) -> int:
    """Return `value` as an int; refuse what is not a whole number of at most 32 bits."""
    try:
        if isinstance(value, (bool, np.bool_)):  # an index too, the second until NumPy 2.3
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise SpecError(f"{name} is a whole number; got {shown(value)}") from None
    if abs(number) > MAX_ELEMENTS:
        raise SpecError(f"{name} is at most {MAX_ELEMENTS} in size; got {shown(number)}")
    return number


def pair(name: str, value: object) -> Pair:
    """Return (value, value), or the two whole numbers that `value` already is."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise SpecError(f"{name} is one number or two; got {shown(value)}")
        return whole(name, value[0]), whole(name, value[1])
    both = whole(name, value)
    return both, both


def real(name: str, value: object) -> float:
    """Return `value` as a float; refuse what is not a finite number of 0 or more."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not 0 <= value <= sys.float_info.max:  # type: ignore[operator]
        raise SpecError(f"{name} is 0 or more, a finite number; got {shown(value)}")
    return float(value)  # type: ignore[arg-type]


def meant(given: object, words: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" with the word that is most like what was given, "" for none."""
    from difflib import get_close_matches

    known = {word.lower(): word for word in words}
    if not isinstance(given, str):
        return ""
    others = {other.lower(): word.lower() for other, word in OTHER_NAMES.items()}
    like = get_close_matches(given.lower(), known, n=1)
    found = known.get(others.get(given.lower(), ""), known[like[0]] if like else "")
    return f" (did you mean {found!r}?)" if found else ""


def word(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Refuse what is not one of the words allowed."""
    if not (isinstance(value, str) and value in allowed):
        error = DTypeError if name == "dtype" else SpecError
        got = f"{shown(value)}{meant(value, allowed)}"
        raise error(f"{name} is one of {', '.join(allowed)}; got {got}")


def flag(name: str, value: object) -> None:
    """Refuse what is neither True nor False."""
    if not isinstance(value, bool):
        raise SpecError(f"{name} is True or False; got {shown(value)}")


def below_one(sizes: Mapping[str, int]) -> str:
    """Return those of some sizes that are below 1, as errors have them; "" where none is."""
    return " ".join(f"{name}={size}" for name, size in sizes.items() if size < 1)


def check_sizes(sizes: Mapping[str, int], problem: object) -> None:
    """Refuse sizes below 1.

    Raises:
        SpecError: with the problem's line.
    """
    if small := below_one(sizes):
        raise SpecError(f"sizes are at least 1; got {small}: {problem}")
