"""Pitches: images that are runs of the channels of wider ones, pixel by pixel in their memory.

The pitch of a channels-last image is how many elements lie between the beginnings of neighbouring
pixels: its channels where it is whole, and more where it is a run of channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, TypeGuard

from depthwise.errors import SpecError
from depthwise.problem.values import MAX_ELEMENTS, shown

Pitches: TypeAlias = tuple[tuple[str, int], ...]
"""The arrays that are runs of channels, in the order of their names, each with its pitch."""


def ordered(pitches: object, shapes: Mapping[str, tuple[int, ...]]) -> Pitches:
    """Return pitches in order, those of whole images left out.

    Args:
        pitches: pairs of an array's name and its pitch.
        shapes: the arrays (N, H, W, C) that may have one.

    Raises:
        SpecError: they are something else, or not for these arrays.
    """
    if not _are_pairs(pitches):
        raise SpecError(f"pitches are pairs of a name and a number; got {shown(pitches)}")
    found: dict[str, int] = dict(pitches)
    if len(found) < len(pitches) or not found.keys() <= shapes.keys():
        raise SpecError(f"pitches are of {', '.join(shapes) or 'no array'}; got {shown(pitches)}")
    for name, pitch in found.items():
        channels = shapes[name][-1]
        if not channels <= pitch <= MAX_ELEMENTS:
            raise SpecError(f"a pitch is at least the {channels} channels of {name}; got {pitch}")
    return tuple(sorted((n, pitch) for n, pitch in found.items() if pitch != shapes[n][-1]))


def _are_pairs(pitches: object) -> TypeGuard[Pitches]:
    return isinstance(pitches, tuple) and all(
        isinstance(pair, tuple) and tuple(map(type, pair)) == (str, int) for pair in pitches
    )


def texts(pitches: Pitches) -> list[str]:
    """Return pitches as a line has them: `x@128`."""
    return [f"{name}@{pitch}" for name, pitch in pitches]
