"""Shapes of inputs as they are written on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from depthwise.errors import ModelError
from depthwise.problem.values import shown

_SIZE = re.compile("[1-9][0-9]{0,99}")
"""No memory takes so many; Python reads no number of thousands of digits."""


def shape(text: str) -> tuple[int, ...]:
    """Read `--input`: sizes with commas between them.

    Raises:
        ModelError: it is something else.
    """
    sizes = text.split(",")
    if not all(map(_SIZE.fullmatch, sizes)):
        raise ModelError(f"an input is its sizes, as 1,3,224,224; got {shown(text)}")
    return tuple(map(int, sizes))


def named_shapes(texts: Sequence[str]) -> dict[str, tuple[int, ...]] | list[tuple[int, ...]]:
    """Read some `--input`, with a name before each, as x=1,3,224,224, or before none.

    Raises:
        ModelError: they are something else.
    """
    given = [text.rpartition("=") for text in texts]
    names = [name for name, equals, _ in given if equals]
    if not names:
        return [shape(text) for text in texts]
    if len(set(names)) != len(texts):
        raise ModelError(f"inputs have a name each, as x=1,3,224,224; got {', '.join(texts)}")
    return {name: shape(sizes) for name, _, sizes in given}
