"""The words of a problem's line, each read as a field of a specification."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from depthwise.errors import ParseError, SpecError
from depthwise.problem.block import SqueezeExcite
from depthwise.problem.dtypes import DTYPES, QUANTIZED
from depthwise.problem.links import Chain, Link
from depthwise.problem.values import meant
from depthwise.problem.vocabulary import (
    ACTIVATIONS,
    BINARY,
    LAYOUTS,
    NUMBER_TOKENS,
    OPERANDS,
    PADDING_MODES,
    PADDING_WORDS,
    THEN,
    UNARY,
)

_NUMBER_TOKEN = re.compile(r"(hw|[a-z])(-?\d+(?:[x,]-?\d+)*)", re.ASCII)
_GATE_TOKEN = re.compile(r"se(-?\d+)(?::(\w+)/(\w+))?", re.ASCII)
_FIELD = re.compile(rf"({'|'.join(NUMBER_TOKENS.values())})=?(\d[\dx,]*)", re.ASCII)
_EPSILON_TOKEN = re.compile(r"eps(\d+(?:\.\d*)?(?:e[+-]?\d+)?)", re.ASCII)
_PITCH_TOKEN = re.compile(r"([a-z]+\d*)@(\d{1,9})", re.ASCII)
_LAYOUTS = {layout.lower(): layout for layout in LAYOUTS}
_FLAGS = ("bias", "ebias", "dbias", "pbias", "residual", "table", "real")


class Line:
    """A line behind its first word: fields by name, which a kind takes until none is left.

    Attributes:
        kind: the first word.
        text: the whole line, as errors print it.
        fields: those not yet taken.
    """

    def __init__(self, kind: str, tokens: Sequence[str], text: str) -> None:
        self.kind, self.text = kind, text
        self.fields: dict[str, Any] = {}
        if THEN in tokens:
            behind = tokens[tokens.index(THEN) + 1 :]
            links = [token for token in behind if is_link(token)]
            self.fields["chain"] = chain_of(links, text)
            before = tokens[: tokens.index(THEN)]
            tokens = [*before, *(token for token in behind if token not in links)]
        pitches = [found for token in tokens if (found := _PITCH_TOKEN.fullmatch(token))]
        if pitches:
            self.fields["pitches"] = tuple((found[1], int(found[2])) for found in pitches)
        for token in tokens:
            if _PITCH_TOKEN.fullmatch(token):
                continue
            name, value = _read(token, kind, text)
            if name in self.fields:
                raise ParseError(f"{name} is given once; got {token!r} as a second one: {text}")
            self.fields[name] = value

    def take(self, name: str) -> Any:
        """Take a field that the kind needs.

        Raises:
            ParseError: it is not there.
        """
        if name not in self.fields:
            raise ParseError(f"{self.kind} needs {_token_of(name)} ({name}): {self.text}")
        return self.fields.pop(name)

    def take_size(self) -> Any:
        """Take the height and the width of images, which are `hw`, or `h` and `w`."""
        if "size" in self.fields:
            return self.take("size")
        return self.take("height"), self.take("width")

    def take_any(self, *names: str) -> dict[str, Any]:
        """Take those of these fields that are there."""
        return {name: self.fields.pop(name) for name in names if name in self.fields}

    def finish(self) -> None:
        """Refuse what the kind has not taken.

        Raises:
            ParseError: there is something left.
        """
        if self.fields:
            raise ParseError(f"{self.kind} has no {', '.join(self.fields)}: {self.text}")


def is_link(token: str) -> bool:
    """Whether a token is a function of a chain, perhaps with an operand of no known kind."""
    return token in UNARY or token.partition(".")[0] in BINARY


def chain_of(tokens: Sequence[str], text: str) -> Chain:
    """Return the functions of a line as a chain.

    Raises:
        ParseError: there is no such function, or none at all.
    """
    if not tokens:
        raise ParseError(f"functions of each element stand behind {THEN!r}: {text}")
    return tuple(_link(token, text) for token in tokens)


def _link(token: str, text: str) -> Link:
    function, _, operand = token.partition(".")
    if function in BINARY and operand not in OPERANDS:
        words = [f"{function}.{each}" for each in OPERANDS]
        raise ParseError(f"{function} is one of {', '.join(words)}; got {token}"
                         f"{meant(token, words)}: {text}")  # fmt: skip
    try:
        return Link(function, operand or None)
    except SpecError as error:
        raise ParseError(f"{error}: {text}") from None


def _read(token: str, kind: str, text: str) -> tuple[str, Any]:
    if token in PADDING_WORDS:
        return "padding", token
    if layout := _LAYOUTS.get(token.lower()):
        return "layout", layout
    if token in DTYPES + QUANTIZED:
        return "dtype", token
    if token in PADDING_MODES:
        return "padding_mode", token
    if token in _FLAGS:
        return token, True
    first, slash, last = token.partition("/")
    if slash and {first, last} <= {*ACTIVATIONS, "none"}:
        return "activations", tuple(None if name == "none" else name for name in (first, last))
    if token in ACTIVATIONS:
        return "activation", token
    if epsilon := _EPSILON_TOKEN.fullmatch(token):
        return "epsilon", float(epsilon[1])
    if gate := _GATE_TOKEN.fullmatch(token):
        return "squeeze_excite", _squeeze_excite(gate, text)
    if number := _NUMBER_TOKEN.fullmatch(token):
        letter, digits = number.groups()
        if letter in NUMBER_TOKENS:
            return NUMBER_TOKENS[letter], _numbers(letter, digits, kind, text)
    raise ParseError(f"{token!r} is not a token of a problem{_meant(token)}: {text}")


def _meant(token: str) -> str:
    """Return which token was meant: a word, or the letter of a field that is written out."""
    if field := _FIELD.fullmatch(token):
        name, number = field.groups()
        return meant(f"{_token_of(name)}{number}", [f"{_token_of(name)}{number}"])
    words = {*PADDING_WORDS, *_LAYOUTS, *DTYPES, *QUANTIZED, *PADDING_MODES, *_FLAGS, *ACTIVATIONS}
    return meant(token, sorted(words))


def _squeeze_excite(token: re.Match[str], text: str) -> SqueezeExcite:
    channels, activation, gate = token.groups()
    names: dict[str, Any] = {"activation": activation, "gate": gate} if activation else {}
    try:
        return SqueezeExcite(channels=int(channels), **names)
    except SpecError as error:
        raise ParseError(f"{error}: {text}") from None


def _numbers(letter: str, digits: str, kind: str, text: str) -> Any:
    values = tuple(int(digit) for digit in re.split("[x,]", digits))
    if len(values) == 1:
        return values[0]
    if letter == "p" and "x" not in digits:
        if len(values) == 2:
            return values
        if len(values) == 4 and kind != "depthwise1d":
            return values[:2], values[2:]
    if letter in "ksd" and "," not in digits and len(values) == 2 and kind != "depthwise1d":
        return values
    raise ParseError(f"{letter}{digits} has too many numbers or the wrong separator: {text}")


def _token_of(name: str) -> str:
    return next((token for token, field in NUMBER_TOKENS.items() if field == name), name)
