"""Names in C: of the function, which somebody chooses, and of its arrays, which the network has."""

from __future__ import annotations

import re
from collections.abc import Iterable

from depthwise.errors import SpecError
from depthwise.problem.values import shown

_IDENTIFIER = re.compile("[a-zA-Z][a-zA-Z0-9_]*")
_MOST_LETTERS = 48
_KEYWORDS = frozenset((
    "alignas", "alignof", "and", "asm", "auto", "bool", "break", "case", "catch", "char", "class",
    "const", "constexpr", "continue", "default", "delete", "do", "double", "else", "enum",
    "explicit", "export", "extern", "false", "float", "for", "friend", "goto", "if", "inline",
    "int", "long", "main", "mutable", "namespace", "new", "not", "nullptr", "operator", "or",
    "private", "protected", "public", "register", "restrict", "return", "short", "signed",
    "sizeof", "static", "struct", "switch", "template", "this", "throw", "true", "try", "typedef",
    "typename", "union", "unsigned", "using", "virtual", "void", "volatile", "wchar_t", "while",
    "xor",
))  # fmt: skip
"""Words of C and C++, and the function that every program has."""
_TAKEN = frozenset((
    "a", "w", "arena", "context", "threads", "weights", "work", "run", "room", "lesser", "row_of",
    "memcpy", "memset", "wrong", "check", "main", "split",
))  # fmt: skip
"""Names that the file has already."""


def checked(name: str) -> str:
    """Return the name of a function that somebody chose.

    Raises:
        SpecError: it is none in C.
    """
    if not _IDENTIFIER.fullmatch(name) or name in _KEYWORDS or len(name) > _MOST_LETTERS:
        raise SpecError(
            f"a name is that of a function in C: a letter, then letters, digits and _, at most "
            f"{_MOST_LETTERS}, and no word of C or C++; got {shown(name)}"
        )
    return name


def named_after(text: str, otherwise: str) -> str:
    """Return a name in C that is like a text."""
    name = re.sub("[^a-zA-Z0-9]+", "_", text).strip("_")[:_MOST_LETTERS].rstrip("_").lower()
    if not name or name[0].isdigit():
        name = f"{otherwise}_{name}".rstrip("_")[:_MOST_LETTERS]
    return f"{name}_" if name in _KEYWORDS else name


def distinct(texts: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Return names in C for texts, each another, and none of those that are taken."""
    used = {*_TAKEN, *taken}
    found = []
    for text in texts:
        name = base = named_after(text, "array")
        number = 1
        while name in used:
            number += 1
            name = f"{base}_{number}"
        used.add(name)
        found.append(name)
    return found
