"""Files of which a few bytes are others."""

from __future__ import annotations

import struct
from random import Random

import numpy as np

from depthwise.errors import DepthwiseError
from depthwise.loading import load

_WORDS = (0, 1, 2, 4, 127, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
"""Numbers of four bytes that lead elsewhere, where they are sizes or places."""


def mutated(data: bytes, chance: Random) -> bytes:
    """Change, drop, repeat or insert a few bytes."""
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at, count = chance.randrange(len(found)), chance.choice((1, 1, 2, 8))
        how = chance.randrange(5)
        if how == 0:
            found[at] = chance.randrange(256)
        elif how == 1:
            del found[at : at + count]
        elif how == 2:
            found[at:at] = found[at : at + count]
        elif how == 3:
            found[at] ^= 1 << chance.randrange(8)
        else:
            found[at // 4 * 4 : at // 4 * 4 + 4] = struct.pack("<I", chance.choice(_WORDS))
    return bytes(found)


def tried(data: bytes, image: np.ndarray) -> str:
    """Load and call what may be a network; an error of ours or any result is fine."""
    try:
        network = load(data)
        network(*[image for _ in network.inputs])
    except DepthwiseError as error:
        return type(error).__name__ if "\n" not in str(error) else f"several lines: {error!r}"
    return "computed"
