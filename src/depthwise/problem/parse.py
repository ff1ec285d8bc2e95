"""The one-line text form of a problem, read back: `parse(str(spec)) == spec`."""

from __future__ import annotations

import re
from typing import Any, get_args

from depthwise.errors import ParseError, SpecError
from depthwise.problem.block import BlockSpec, Forward, Spec, SqueezeExcite
from depthwise.problem.dtypes import DTYPES
from depthwise.problem.pixels import PixelKind, PixelSpec
from depthwise.problem.spec import ConvSpec
from depthwise.problem.training import PassKind, PassSpec
from depthwise.problem.values import shown
from depthwise.problem.vocabulary import (
    ACTIVATIONS,
    LAYOUTS,
    NUMBER_TOKENS,
    PADDING_MODES,
)

_NUMBER_TOKEN = re.compile(r"(hw|[a-z])(-?\d+(?:[x,]-?\d+)*)", re.ASCII)
_GATE_TOKEN = re.compile(r"se(-?\d+)(?::(\w+)/(\w+))?", re.ASCII)
_PADDING_WORDS = ("same", "valid", "causal")
_FLAGS = ("bias", "ebias", "dbias", "pbias", "residual")
_PASSES = get_args(PassKind)
_PIXELS = get_args(PixelKind)
_EPSILON_TOKEN = re.compile(r"eps(\d[\d.]*(?:e-?\d+)?)", re.ASCII)
_LONGEST = 400


def parse(text: str) -> Spec:
    """Read a problem from its one-line text form.

    A kind (depthwise, depthwise1d, pointwise, conv, separable, inverted), then tokens in any
    order, defaults left out: sizes `n c o e h w hw l`, window `k s p d m g` (`3` or `3x5`; p also
    `1,2` for height and width, `0,1,0,1` for top, bottom, left and right, or same, valid, causal),
    layout, dtype, padding mode, `bias`, activation, `residual`, `se6`.  Before a depthwise
    convolution, one of input_gradient, weight_gradient, backward, training makes it that pass.
    mean and norm, of pixels, have `c n h w hw`, nhwc, a dtype and, the latter, `eps1e-6`.

    >>> str(parse("depthwise hw56 c144 p1,1 k3x3"))
    'depthwise c144 hw56 k3 p1'

    Raises:
        ParseError: a token is not known, given twice, or missing.
        SpecError: the problem that the line names cannot exist.
    """
    if not isinstance(text, str):
        raise ParseError(f"a problem is a line of text; got {shown(text)}")
    if len(text) > _LONGEST:
        raise ParseError(f"a problem is a line of at most {_LONGEST} characters; got {len(text)}")
    text = " ".join(text.split())
    kind, *tokens = text.split(" ")
    if kind in _PASSES:
        return _pass(kind, tokens, text)
    if kind in _PIXELS:
        return _pixels(kind, tokens, text)
    if kind not in _BUILDERS:
        kinds = ", ".join([*_BUILDERS, *_PASSES, *_PIXELS])
        raise ParseError(f"a problem begins with one of {kinds}; got {text!r}")
    return _forward(kind, tokens, text)


def specification(problem: Spec | str) -> Spec:
    """Return a problem that is given as a specification or in its text form; see `parse`."""
    return (
        problem
        if isinstance(problem, (ConvSpec, BlockSpec, PassSpec, PixelSpec))
        else parse(problem)
    )


def _pass(kind: Any, tokens: list[str], text: str) -> PassSpec:
    convolution, *rest = tokens or [""]
    if convolution not in ("depthwise", "depthwise1d"):
        raise ParseError(f"{kind} is followed by depthwise or depthwise1d: {text}")
    conv = _forward(convolution, rest, text)
    assert isinstance(conv, ConvSpec)
    return PassSpec(kind=kind, conv=conv)


def _pixels(kind: Any, tokens: list[str], text: str) -> PixelSpec:
    fields = _fields(kind, tokens, text)
    size = fields.pop("size", None)
    sizes = {} if size is None else {"height": size, "width": size}
    if fields.pop("layout", None) != PixelSpec.layout:
        raise ParseError(f"{kind} is of nhwc images: {text}")
    try:
        return PixelSpec(kind=kind, **sizes, **fields)
    except TypeError:
        raise ParseError(f"{kind} has c, hw or h and w, n, dtype, eps: {text}") from None


def _forward(kind: str, tokens: list[str], text: str) -> Forward:
    fields = _fields(kind, tokens, text)
    spec = _build(kind, fields, text)
    if fields:
        raise ParseError(f"{kind} has no {', '.join(fields)}: {text}")
    return spec


def _fields(kind: str, tokens: list[str], text: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for token in tokens:
        name, value = _read(token, kind, text)
        if name in fields:
            raise ParseError(f"{name} is given once; got {token!r} as a second one: {text}")
        fields[name] = value
    return fields


def _read(token: str, kind: str, text: str) -> tuple[str, Any]:
    if token in _PADDING_WORDS:
        return "padding", token
    if token.upper() in LAYOUTS:
        return "layout", token.upper()
    if token in DTYPES:
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
    raise ParseError(f"{token!r} is not a token of a problem: {text}")


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


def _build(kind: str, fields: dict[str, Any], text: str) -> Forward:
    def take(name: str) -> Any:
        if name not in fields:
            raise ParseError(f"{kind} needs {_token_of(name)} ({name}): {text}")
        return fields.pop(name)

    return _BUILDERS[kind](take, fields)


def _token_of(name: str) -> str:
    return next((token for token, field in NUMBER_TOKENS.items() if field == name), name)


def _size(take: Any, fields: dict[str, Any]) -> Any:
    if "size" in fields:
        return take("size")
    return take("height"), take("width")


def _pop(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: fields.pop(name) for name in names if name in fields}


_COMMON = ("batch", "layout", "dtype", "bias", "activation")
_WINDOW = ("stride", "padding", "dilation")


def _depthwise(take: Any, fields: dict[str, Any]) -> Forward:
    rest = _pop(fields, *_COMMON, *_WINDOW, "multiplier", "padding_mode")
    return ConvSpec.depthwise(take("channels"), _size(take, fields), take("kernel"), **rest)


def _depthwise1d(take: Any, fields: dict[str, Any]) -> Forward:
    rest = _pop(fields, *_COMMON, *_WINDOW, "multiplier", "padding_mode")
    return ConvSpec.depthwise1d(take("channels"), take("length"), take("kernel"), **rest)


def _pointwise(take: Any, fields: dict[str, Any]) -> Forward:
    rest = _pop(fields, *_COMMON, "residual")
    return ConvSpec.pointwise(take("channels"), take("out_channels"), _size(take, fields), **rest)


def _conv(take: Any, fields: dict[str, Any]) -> Forward:
    rest = _pop(fields, *_COMMON, *_WINDOW, "groups", "padding_mode")
    return ConvSpec.conv(
        take("channels"), take("out_channels"), _size(take, fields), take("kernel"), **rest
    )


def _separable(take: Any, fields: dict[str, Any]) -> Forward:
    rest = _pop(fields, *_WINDOW, "batch", "layout", "dtype", "multiplier", "padding_mode")
    rest |= _pop(fields, "residual")
    rest["depthwise_activation"], rest["activation"] = fields.pop("activations", (None, None))
    rest |= _biases(fields, dbias="depthwise_bias", pbias="pointwise_bias")
    return BlockSpec.separable(
        take("channels"), take("out_channels"), _size(take, fields), take("kernel"), **rest
    )


def _inverted(take: Any, fields: dict[str, Any]) -> Forward:
    rest = _pop(fields, *_WINDOW, "batch", "layout", "dtype", "multiplier", "padding_mode")
    rest |= _pop(fields, "residual", "expanded", "activation", "squeeze_excite")
    parts = {"dbias": "depthwise_bias", "pbias": "project_bias"}
    rest |= _biases(fields, **({"ebias": "expand_bias"} if "expanded" in rest else {}), **parts)
    return BlockSpec.inverted(
        take("channels"), take("out_channels"), _size(take, fields), take("kernel"), **rest
    )


def _biases(fields: dict[str, Any], **names: str) -> dict[str, bool]:
    if fields.pop("bias", False):
        return dict.fromkeys(names.values(), True)
    return {name: fields.pop(token) for token, name in names.items() if token in fields}


_BUILDERS = {
    "depthwise": _depthwise, "depthwise1d": _depthwise1d, "pointwise": _pointwise,
    "conv": _conv, "separable": _separable, "inverted": _inverted,
}  # fmt: skip
