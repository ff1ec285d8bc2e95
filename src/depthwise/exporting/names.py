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
_LIBRARY = frozenset((
    "memchr", "memcmp", "memcpy", "memmove", "memset", "strcat", "strcmp", "strcpy", "strlen",
    "strncmp", "strncpy", "fclose", "fopen", "fprintf", "fread", "fwrite", "getchar", "printf",
    "putchar", "puts", "remove", "rename", "scanf", "sprintf", "stdin", "stdout", "stderr",
    "abort", "abs", "atexit", "atof", "atoi", "calloc", "div", "exit", "free", "getenv", "labs",
    "malloc", "qsort", "rand", "realloc", "srand", "system", "acos", "asin", "atan", "ceil",
    "cos", "cosh", "erf", "erff", "exp", "expf", "exp2", "fabs", "fabsf", "floor", "fma", "fmaf",
    "fmax", "fmin", "fmod", "isnan", "log", "logf", "lrint", "lrintf", "pow", "powf", "rint",
    "round", "sin", "sinh", "sqrt", "sqrtf", "tan", "tanh", "tanhf", "trunc", "time", "clock",
    "signal", "index", "assert", "errno", "size_t", "ptrdiff_t", "intptr_t", "uintptr_t",
    "int8_t", "int16_t", "int32_t", "int64_t", "uint8_t", "uint16_t", "uint32_t", "uint64_t",
))  # fmt: skip
"""Functions and types of the C library that a program may have beside it."""
_TAKEN = frozenset((
    "a", "w", "arena", "context", "i", "order", "ring", "rings", "done", "step", "steps",
    "threads", "weights", "work", "worker", "run", "room", "aligned", "row_of", "rows", "tasks",
    "first", "last", "row",
))  # fmt: skip
"""Names that the file has already."""
_OWN = re.compile("(rows|task|dw|depthwise|array)_")
"""How the names of all others in it begin."""


def checked(name: str) -> str:
    """Return the name of a function that somebody chose.

    Raises:
        SpecError: it is none in C.
    """
    taken = name in _KEYWORDS | _LIBRARY | _TAKEN or _OWN.match(name)
    if not _IDENTIFIER.fullmatch(name) or taken or len(name) > _MOST_LETTERS:
        raise SpecError(
            f"a name is that of a function in C: a letter, then letters, digits and _, at most "
            f"{_MOST_LETTERS}, and no word of C or of its library; got {shown(name)}"
        )
    return name


def named_after(text: str, otherwise: str) -> str:
    """Return a name in C that is like a text."""
    name = re.sub("[^a-zA-Z0-9]+", "_", text).strip("_")[:_MOST_LETTERS].rstrip("_").lower()
    if not name or name[0].isdigit():
        name = f"{otherwise}_{name}".rstrip("_")[:_MOST_LETTERS]
    reserved = name in _KEYWORDS | _LIBRARY | _TAKEN or _OWN.match(name)
    return f"{otherwise}_of_{name}" if reserved else name


def distinct(texts: Iterable[str], function: str) -> list[str]:
    """Return names in C for arrays, each another, and none that the file of a function has."""
    used, found = {function}, []
    for text in texts:
        base = named_after(text, "data")
        if base.startswith(f"{function}_"):
            base = f"data_of_{base}"
        name, number = base, 1
        while name in used:
            number += 1
            name = f"{base}_{number}"
        used.add(name)
        found.append(name)
    return found
