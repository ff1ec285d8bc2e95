"""Quantized pointwise and dense convolution: a product of whole numbers whose rows are windows.

The columns are output channels, packed in panels as in `dense`; their sums are int32.  What one
instruction multiplies and adds to a sum is a step: four bytes where the processor has that (VNNI,
ARM's dot products).  Others add pairs of products of bytes in 16 bits, which saturate
(`vpmaddubsw`), and those in 32 bits.  Steps in which a pair could saturate come last in their
panel, and are two halves, each a product of pairs of 16-bit numbers.  Where there is none of these,
a step is one element.

Inputs are not moved by their zero point: each sum begins with that times the sum of its weights,
which lies before them.  A task copies the rows that its pixels read where they are taken otherwise
than they lie, and once more as 16-bit numbers if any step of the layer has halves.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from depthwise.machine.target import Dots, Target
from depthwise.problem.spec import ConvSpec
from depthwise.schedule import dense, tiling
from depthwise.schedule.form import DotsForm, Form
from depthwise.schedule.plan import Plan
from depthwise.schedule.stack import Stack
from depthwise.schedule.steps import one_step
from depthwise.schedule.tiling import Panels, Tiling

name = "quantized_products"
tiles = {"tc": "output channels in a tile, whole vectors", "tw": "output pixels in a tile"}

_GROUPS: dict[Dots, int] = {"quads": 4, "signed quads": 4, "pairs": 4, "words": 4, "none": 1}
"""Elements of a step by `Target.dots`."""


def rejects(spec: ConvSpec, target: Target) -> str | None:
    """Take quantized convolutions in one group."""
    del target
    if spec.is_depthwise or spec.groups != 1:
        return f"{spec.groups} groups: the channels of each would be a product of their own"
    return None


def default_plan(spec: ConvSpec, target: Target, threads: int) -> Plan:
    """Return the tile that takes the fewest cycles."""
    pixels = Stack.of(spec).pixels
    if target.dots == "words":
        return Plan(name, tc=min(2, spec.out_channels), tw=min(3, pixels))
    rows = ((pixels, 1),)
    return _plan(
        tiling.fastest(spec.out_channels, rows, _lanes(target), _registers(target)), target
    )


def _plan(tile: Tiling, target: Target) -> Plan:
    return Plan(name, tc=tile.vectors * _lanes(target), tw=tile.rows)


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield one to four vectors of columns with as many rows as registers hold, and fewer."""
    pixels = Stack.of(spec).pixels
    tilings = tiling.tilings(spec.out_channels, pixels, _lanes(target), _registers(target))
    yield from dict.fromkeys(
        [default_plan(spec, target, 1), *(_plan(tile, target) for tile in tilings)]
    )


def form(spec: ConvSpec, plan: Plan, target: Target) -> DotsForm:
    """Take the weights in panels."""
    group = _GROUPS[target.dots]
    panels = panels_of(spec, plan, target)
    if target.dots == "words":
        return DotsForm(panels, 1, spec.depth, group, "int8", ordered=False, crossed=True)
    turns, run = _runs_of(spec)
    dtype = "int8" if group > 1 else "int16"
    return DotsForm(panels, turns, run, group, dtype, ordered=target.dots == "pairs")


def _form(spec: ConvSpec, plan: Plan, target: Target) -> Form:
    return form(spec, plan, target)


steps = one_step(_form)


def _runs_of(spec: ConvSpec) -> tuple[int, int]:
    """Return how many runs of neighbours a window has, and how many elements each."""
    kh, kw = spec.kernel
    if kw == 1 or spec.dilation[1] == 1:
        return kh, kw * spec.channels
    return kh * kw, spec.channels


def _lanes(target: Target) -> int:
    return target.lanes("int32")


def _registers(target: Target) -> int:
    """Return how many registers a tile may take: products are in one before they are added.

    Where inputs are taken in blocks, each row has one more, and what is loaded ahead takes others.
    """
    if in_blocks(target):
        return target.vector_registers // 2
    return target.vector_registers - _TAKEN.get(target.dots, 0)


def in_blocks(target: Target) -> bool:
    """Whether an instruction takes one step of a vector of inputs for all lanes: NEON's."""
    return target.isa == "neon" and target.dots != "none"


_TAKEN: dict[Dots, int] = {"pairs": 2, "none": 1}
"""Registers of what is multiplied before it is added, and of ones."""


def panels_of(spec: ConvSpec, plan: Plan, target: Target) -> tuple[Panels, ...]:
    """Return the panels of output channels."""
    lanes = _lanes(target)
    if target.dots == "words":
        return _panels_of_words(spec, plan)
    return tiling.cut(
        spec.out_channels, tiling.runs_between(ends(spec, plan)),
        Tiling(plan.tw, max(1, plan.tc // lanes)), lanes, _registers(target),
    )  # fmt: skip


def _panels_of_words(spec: ConvSpec, plan: Plan) -> tuple[Panels, ...]:
    """Return panels of one width, whose tiles share what they copy."""
    rows = min(plan.tw, *(rows for rows, _ in tiling.runs_between(ends(spec, plan))))
    count, rest = divmod(spec.out_channels, plan.tc)
    whole = (Panels(0, count, plan.tc, plan.tc, rows),) if count else ()
    return (*whole, Panels(count * plan.tc, 1, plan.tc, rest, rows)) if rest else whole


def ends(spec: ConvSpec, plan: Plan) -> list[int]:
    """Return where the runs of pixels begin and end."""
    return tiling.ends(Stack.of(spec).pixels, plan.tw, dense.runs(spec, plan))


def tasks(spec: ConvSpec, plan: Plan, target: Target) -> tuple[int, int]:
    """Return into how many runs the pixels are cut, and into how many shares the panels."""
    count = dense.runs(spec, plan)
    if target.dots == "words":
        return count, 1
    return count, min(panels_of(spec, plan, target)[0].count, ceil(_ENOUGH_TASKS / count))


_ENOUGH_TASKS = 16


def is_brought(spec: ConvSpec, target: Target) -> bool:
    """Whether a task copies what its pixels read: as they lie, bytes alone would be read."""
    padded = spec.padding != ((0, 0), (0, 0)) or spec.pitch("x") != spec.channels
    whole = _runs_of(spec)[1] % _GROUPS[target.dots] == 0
    as_it_lies = "int8" if target.dots == "signed quads" else "uint8"
    return padded or not whole or target.dots == "none" or spec.dtype != as_it_lies
