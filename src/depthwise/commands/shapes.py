"""Shapes of inputs as they are written on the command line."""

from __future__ import annotations

from collections.abc import Sequence

from depthwise.errors import ModelError


def shape(text: str) -> tuple[int, ...]:
    """Read `--input`: sizes with commas between them.

    Raises:
        ModelError: it is something else.
    """
    sizes = text.split(",")
    if not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise ModelError(f"an input is its sizes, as 1,3,224,224; got {text!r}")
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
