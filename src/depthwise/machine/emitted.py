"""Machine code that leaves this process: as C99, or as an object for a linker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PLACE_BYTES = 16
"""What the memory begins at a multiple of that code works in, and every piece of it."""
Form = Literal["c", "object"]


def placed(size: int) -> int:
    """Return the bytes from the beginning of a piece of that memory to that of the next."""
    return -(-size // PLACE_BYTES) * PLACE_BYTES


@dataclass(frozen=True)
class Emitted:
    """The code of one step of a kernel.

    Attributes:
        tasks: how many tasks a call has.
        scratch_bytes: the memory that each thread works in, given as the last array.
        text: a function of C99, called `NAME` there, with those that it calls; empty of an object.
        helpers: the names of the small functions that it calls beside these.
        headers: the headers of C that it needs beside <stdint.h> and <string.h>.
        object: a relocatable object; empty where the code is C.
        symbol: the name of the function in the object.
    """

    tasks: int
    scratch_bytes: int
    text: str = ""
    helpers: frozenset[str] = frozenset()
    headers: frozenset[str] = frozenset()
    object: bytes = b""
    symbol: str = ""


NAME = "DEPTHWISE_KERNEL"
"""What a function is called in a text until it has a name."""
