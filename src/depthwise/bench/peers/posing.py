"""How problems are posed to engines as convolutions, by the type of their specification.

Engines refuse a problem of any other type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from depthwise.problem.block import BlockSpec
from depthwise.problem.causal import CausalSpec
from depthwise.problem.problem import Problem
from depthwise.problem.spec import ConvSpec
from depthwise.problem.training import PassSpec
from depthwise.problem.vocabulary import THEN, Layout

S = TypeVar("S", bound=Problem)


def _nothing(_: Any) -> None:
    return None


@dataclass(frozen=True)
class Posing(Generic[S]):
    """What adapters know of a type of specification."""

    convolutions: Callable[[S], Mapping[str, ConvSpec]]
    """Its convolutions in the order in which they run; the names of the weights and biases of each
    begin with its key."""
    laid_out: Callable[[S, Layout], S]
    """The same problem on images of another layout."""
    obstacle: Callable[[S], str | None] = _nothing
    """Why no adapter has words for this one; None where they have."""


def _named_parts(block: BlockSpec) -> dict[str, ConvSpec]:
    return {f"{name}_": part for name, part in block.named_parts.items()}


def _block_laid_out(block: BlockSpec, layout: Layout) -> BlockSpec:
    expand = replace(block.expand, layout=layout) if block.expand else None
    depthwise = replace(block.depthwise, layout=layout)
    project = replace(block.project, layout=layout)
    return replace(block, expand=expand, depthwise=depthwise, project=project)


def _beyond_words(conv: ConvSpec) -> str | None:
    if conv.chain:
        return f"the adapter has no functions behind {THEN!r}"
    if conv.quantized and (conv.table or conv.residual):
        return "the adapter has no tables, and no sums of whole numbers"
    return "the adapter has no packed data" if conv.packed else None


def _gate(block: BlockSpec) -> str | None:
    return "the adapter has no squeeze-and-excite" if block.squeeze_excite else None


def _causal(spec: CausalSpec) -> dict[str, ConvSpec]:
    """Return the convolution of the sequences; behind their state, where they have one."""
    before = 0 if spec.state else spec.before
    conv = ConvSpec.depthwise1d(
        spec.channels, spec.before - before + spec.length, spec.kernel, padding=(before, 0),
        dilation=spec.dilation, batch=spec.batch, layout=spec.layout, dtype=spec.dtype,
        bias=spec.bias, activation=spec.activation,
    )  # fmt: skip
    return {"": conv}


POSINGS: dict[type[Any], Posing[Any]] = {
    ConvSpec: Posing[ConvSpec](
        convolutions=lambda conv: {"": conv},
        laid_out=lambda conv, layout: replace(conv, layout=layout),
        obstacle=_beyond_words,
    ),
    BlockSpec: Posing[BlockSpec](
        convolutions=_named_parts, laid_out=_block_laid_out, obstacle=_gate
    ),
    CausalSpec: Posing[CausalSpec](
        convolutions=_causal,
        laid_out=lambda spec, layout: replace(spec, layout=layout),
    ),
    PassSpec: Posing[PassSpec](
        convolutions=lambda spec: {"": spec.conv},
        laid_out=lambda spec, layout: replace(spec, conv=replace(spec.conv, layout=layout)),
    ),
}
CHAINS = (ConvSpec, BlockSpec)
"""The types of problems that are their convolutions one after another, each with its weights."""
