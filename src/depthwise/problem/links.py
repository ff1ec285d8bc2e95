"""Chains of functions of each element, one after the other, of channels-last images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from depthwise.errors import SpecError
from depthwise.problem.values import shown, word
from depthwise.problem.vocabulary import BINARY, OPERANDS, UNARY

MOST_LINKS = 20
"""The functions of a chain, so that its line can be read back."""


@dataclass(frozen=True)
class Link:
    """A function of a chain; prints as the word that it is in a line.

    Attributes:
        function: one of `vocabulary.UNARY`, or of `vocabulary.BINARY` where there is an operand.
        operand: the kind of its operand, one of `vocabulary.OPERANDS`.

    Raises:
        SpecError: there is no such function.
    """

    function: str
    operand: str | None = None

    def __post_init__(self) -> None:
        word("function", self.function, UNARY if self.operand is None else BINARY)
        if self.operand is not None:
            word("operand", self.operand, OPERANDS)

    def __str__(self) -> str:
        return self.function if self.operand is None else f"{self.function}.{self.operand}"


Chain: TypeAlias = tuple[Link, ...]

_LONG = ("silu", "gelu", "gelu_tanh", "sigmoid", "exp", "erf", "tanh", "softplus", "mish")


def is_short(link: Link) -> bool:
    """Whether a function is a few instructions, which may stand in every place of a register tile.

    (Some of the others behind one another take LLVM minutes there.)
    """
    return link.function not in _LONG


def check_chain(chain: object, fewest: int) -> None:
    """Raise unless it is a chain of `fewest` functions at least.

    Raises:
        SpecError: it is none.
    """
    links = isinstance(chain, tuple) and all(isinstance(each, Link) for each in chain)
    if not links or not fewest <= len(chain) <= MOST_LINKS:  # type: ignore[arg-type]
        raise SpecError(f"chain is {fewest} to {MOST_LINKS} functions; got {shown(chain)}")


def operand_kinds(chain: Chain) -> dict[str, str]:
    """Return the kind of each operand: `operand1` is that of the first function, if it has one."""
    return {
        f"operand{number}": link.operand
        for number, link in enumerate(chain, 1)
        if link.operand is not None
    }


def operand_shapes(chain: Chain, image: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each operand of a chain, which images (N, H, W, C) alone have."""
    if not chain:
        return {}
    batch, height, width, channels = image
    shapes = {
        "image": image, "gate": (batch, 1, 1, channels), "pixel": (batch, height, width, 1),
        "channel": (channels,), "scalar": (1,),
    }  # fmt: skip
    return {name: shapes[kind] for name, kind in operand_kinds(chain).items()}


def image_operands(chain: Chain) -> list[str]:
    """Return the operands that are images."""
    return [name for name, kind in operand_kinds(chain).items() if kind == "image"]


def computed_operands(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """Return the operands that are images, or that each image has its own of."""
    return tuple(name for name, shape in shapes.items() if len(shape) == 4)
