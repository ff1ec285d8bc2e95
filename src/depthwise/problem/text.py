"""How a problem is printed as one line; `depthwise.problem.parse` reads it back.

`conv_text` and `block_text` also take a specification that breaks the rules, because errors print
it; `errors_with` serves those that are raised before there is a specification.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from depthwise.errors import DTypeError, SpecError
from depthwise.problem.dtypes import DEFAULT
from depthwise.problem.pitches import texts
from depthwise.problem.values import MAX_ELEMENTS, shown
from depthwise.problem.vocabulary import DEPTHWISE_KINDS, NUMBER_TOKENS, THEN

if TYPE_CHECKING:
    from depthwise.problem.block import BlockSpec
    from depthwise.problem.pools import PoolSpec
    from depthwise.problem.spec import ConvSpec
    from depthwise.problem.training import PassSpec
    from depthwise.problem.vocabulary import Pads, Pair


def conv_text(s: ConvSpec) -> str:
    """Return the line of a convolution."""
    return " ".join([s.kind, *_size_tokens(s), *_window_tokens(s), *_end_tokens(s)])


def block_text(b: BlockSpec) -> str:
    """Return the line of a block."""
    first, middle, last = b.parts[0], b.depthwise, b.project
    tokens = [*_size_tokens(first, out_channels=last.out_channels)]
    if b.expand:
        tokens.insert(tokens.index(f"c{first.channels}") + 1, f"e{b.expand.out_channels}")
    tokens += [*_window_tokens(middle), *_bias_tokens(b)]
    if b.kind == "separable" and (middle.activation or last.activation):
        tokens.append(f"{middle.activation or 'none'}/{last.activation or 'none'}")
    elif middle.activation:
        tokens.append(middle.activation)
    tokens += ["residual"] * last.residual
    tokens += [str(b.squeeze_excite)] if b.squeeze_excite else []
    return " ".join([b.kind, *tokens, *texts(b.pitches)])


def pass_text(p: PassSpec) -> str:
    """Return the line of a pass: its kind, then the line of its convolution."""
    return f"{p.kind} {p.conv}"


def pool_text(p: PoolSpec) -> str:
    """Return the line of a pool: its kind, then what a convolution has behind its own."""
    _, *tokens = str(p.window).split()
    return " ".join([p.kind, *tokens, *["padded"] * p.padded])


@contextmanager
def errors_with(
    kind: object, given: Mapping[str, Any], defaults: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[None]:
    """End the errors of single values with the line of the problem, its fields as they were given.

    Args:
        kind: the problem's first word.
        given: the other fields, of whatever type; those that equal their default are left out.
        defaults: the defaults of some of the fields.
    """
    try:
        yield
    except (SpecError, DTypeError) as error:
        raise type(error)(f"{error}: {_given_text(kind, given, defaults)}") from None


def _given_text(kind: object, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Return the line of a problem as far as its fields are what they should be."""
    first = kind if isinstance(kind, str) and kind.isprintable() else shown(kind)
    one_dimensional = first == "depthwise1d"
    texts = {name: _value_text(name, value, one_dimensional) for name, value in given.items()}
    for name, value in defaults.items():
        if name in texts and texts[name] == _value_text(name, value, one_dimensional):
            del texts[name]
    if first in DEPTHWISE_KINDS:
        for name in ("out_channels", "groups"):
            if name in texts and texts[name] == texts.get("channels"):
                del texts[name]
    if one_dimensional and "height" in texts:
        texts["length"] = texts.pop("width")
        del texts["height"]
    if "height" in texts and texts["height"] == texts.get("width"):
        texts["size"] = texts.pop("height")
        del texts["width"]
    letters = {field: token for token, field in NUMBER_TOKENS.items()}
    numbers = [f"{letters[name]}{texts.pop(name)}" for name in _ORDER if name in texts]
    return " ".join([first, *numbers, *(f"{name}={text}" for name, text in texts.items())])


_ORDER = (
    "batch", "channels", "expanded", "out_channels", "length", "size", "height", "width", "kernel",
    "stride", "padding", "dilation", "multiplier", "groups",
)  # fmt: skip
"""The fields that are numbers, in the order of a line."""


def _value_text(name: str, value: Any, one_dimensional: bool) -> str:
    """Return a value as a line has it, or as it is where that is not what it should be."""
    steps = name in ("kernel", "stride", "dilation")
    if one_dimensional and steps and isinstance(value, tuple) and len(value) == 2:
        value = value[1]  # the other is ours
    if _is_pair(value):
        if steps or name == "size":
            return axes(value)
        if name == "padding":
            first, last = value
            value = ((0, 0), value) if one_dimensional else ((first, first), (last, last))
    axes_of_pads = isinstance(value, tuple) and len(value) == 2 and all(map(_is_pair, value))
    if name == "padding" and axes_of_pads:
        return _padding_text(value, one_dimensional)
    return shown(value)


def _is_pair(value: Any) -> bool:
    """Whether a value is two numbers, neither of them too large to be printed."""
    numbers = isinstance(value, tuple) and all(type(each) is int for each in value)
    return numbers and len(value) == 2 and max(map(abs, value)) <= MAX_ELEMENTS


def axes(pair: Pair) -> str:
    """Return `3` where both axes agree, else `3x5`."""
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"


def size_text(height: int, width: int) -> str:
    """Return `hw56` where both agree, else `h56 w48`."""
    return f"hw{height}" if height == width else f"h{height} w{width}"


def _size_tokens(s: ConvSpec, out_channels: int | None = None) -> Iterator[str]:
    if s.batch != 1:
        yield f"n{s.batch}"
    yield f"c{s.channels}"
    if out_channels is not None or not s.is_depthwise:
        yield f"o{s.out_channels if out_channels is None else out_channels}"
    if s.kind == "depthwise1d":
        yield f"l{s.width}"
    else:
        yield size_text(s.height, s.width)


def _window_tokens(s: ConvSpec) -> Iterator[str]:
    one_dimensional = s.kind == "depthwise1d"
    text = (lambda pair: str(pair[1])) if one_dimensional else axes
    if s.kind != "pointwise":
        yield f"k{text(s.kernel)}"
    if s.stride != (1, 1):
        yield f"s{text(s.stride)}"
    if s.padding != ((0, 0), (0, 0)):
        yield "p" + _padding_text(s.padding, one_dimensional)
    if s.dilation != (1, 1):
        yield f"d{text(s.dilation)}"
    if s.is_depthwise and s.out_channels != s.channels:
        yield f"m{s.multiplier}" if s.channels > 0 else f"o{s.out_channels}"
    if s.kind == "conv" and s.groups != 1:
        yield f"g{s.groups}"
    if s.layout not in ("NCHW", "NCL"):
        yield str(s.layout).lower()
    if s.dtype != DEFAULT:
        yield str(s.dtype)
    if s.padding_mode != "zeros":
        yield str(s.padding_mode)


def _padding_text(padding: Pads, one_dimensional: bool) -> str:
    (top, bottom), (left, right) = padding
    if one_dimensional:
        return str(left) if left == right else f"{left},{right}"
    if top == bottom == left == right:
        return str(top)
    if top == bottom and left == right:
        return f"{top},{left}"
    return f"{top},{bottom},{left},{right}"


def _end_tokens(s: ConvSpec) -> Iterator[str]:
    if s.bias:
        yield "bias"
    if s.activation:
        yield str(s.activation)
    if s.table:
        yield "table"
    if s.real:
        yield "real"
    if s.residual:
        yield "residual"
    if s.chain:
        yield THEN
        yield from map(str, s.chain)
    yield from texts(s.pitches)


def _bias_tokens(b: BlockSpec) -> Iterator[str]:
    if all(part.bias for part in b.parts):
        yield "bias"
        return
    for token, part in (("ebias", b.expand), ("dbias", b.depthwise), ("pbias", b.project)):
        if part and part.bias:
            yield token
