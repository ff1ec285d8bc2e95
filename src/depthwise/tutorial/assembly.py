"""The innermost loop of a kernel in machine code, found by its jumps, each line by its kind."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

from depthwise.tutorial.picture import COLOURS, INK, canvas, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind: TypeAlias = Literal[
    "FMA", "load", "store", "spill", "reload", "copy", "arithmetic", "address", "branch"
]

_COLOURS: dict[Kind, str] = {
    "FMA": COLOURS[0], "load": COLOURS[1], "store": COLOURS[2], "spill": COLOURS[3],
    "reload": COLOURS[3], "copy": COLOURS[4], "arithmetic": COLOURS[4], "address": COLOURS[5],
    "branch": COLOURS[5],
}  # fmt: skip
_ACROSS = 24
"""Instructions in a row of the picture."""

_COMMENT = re.compile(r"(?:^|\s)#\s|//")
_LABEL = re.compile(r"([.\w$]+):")
_JUMP = re.compile(r"j\w+|b(\..+)?|cbn?z|tbn?z")
_ALWAYS = re.compile(r"jmpq?|b|retq?")
_VECTOR = re.compile(r"%[xyz]mm\d|\b[qvz]\d+\b")
_MEMORY = re.compile(r"\(.*\)|\[.*\]")
_MASK = re.compile(r"\s*\{[^}]*\}")
_STACK = re.compile(r"%rsp|\[sp\b")
_FMA = re.compile(r"vfn?m(add|sub)\w+|fml[as]|fn?m(add|sub)|fmad")
_MOVE = re.compile(r"v?(mask)?mov\w+|vbroadcast\w+|ld\w+|st\w+|mov")
_COMPARE = re.compile(r"cmp\w*|test\w*|subs")


@dataclass(frozen=True)
class Instruction:
    """One line of a listing: x86 as AT&T writes it, or AArch64."""

    name: str
    operands: str = ""

    def __str__(self) -> str:
        return f"{self.name:<14}{self.operands}".rstrip()

    @property
    def target(self) -> str | None:
        """The label that it may jump to."""
        return self.operands.split()[-1] if _JUMP.fullmatch(self.name) else None

    @property
    def kind(self) -> Kind:
        """What it is there for; an FMA that reads memory is an FMA."""
        if self.target or _ALWAYS.fullmatch(self.name) or _COMPARE.fullmatch(self.name):
            return "branch"
        if not _VECTOR.search(self.operands):
            return "address"
        if _FMA.fullmatch(self.name):
            return "FMA"
        if not _MOVE.fullmatch(self.name):
            return "arithmetic"
        if not _MEMORY.search(self.operands):
            return "copy"
        if self._writes:
            return "spill" if _STACK.search(self.operands) else "store"
        return "reload" if _STACK.search(self.operands) else "load"

    @property
    def _writes(self) -> bool:
        return _MASK.sub("", self.operands).endswith(")") or self.name.startswith("st")

    @property
    def loads(self) -> int:
        """Vectors that it reads from memory, the stack included."""
        if self.kind in ("load", "reload"):
            return 2 if self.name == "ldp" else 1
        return int(self.kind in ("FMA", "arithmetic") and bool(_MEMORY.search(self.operands)))

    @property
    def reloads(self) -> int:
        """Those of them that it reads from the stack."""
        return self.loads if _STACK.search(self.operands) else 0

    @property
    def stores(self) -> int:
        """Vectors that it writes to memory, the stack included."""
        return (2 if self.name == "stp" else 1) if self.kind in ("store", "spill") else 0


@dataclass
class Block:
    """Instructions that run one after the other: jumps lead to the first and from the last."""

    labels: list[str] = field(default_factory=list)
    body: list[Instruction] = field(default_factory=list)

    @property
    def falls_through(self) -> bool:
        """Whether what follows in the listing may be next."""
        return not (self.body and _ALWAYS.fullmatch(self.body[-1].name))

    @property
    def loads(self) -> int:
        """Vectors read."""
        return sum(instruction.loads for instruction in self.body)


def hottest(listing: str) -> list[Instruction]:
    """Return one turn of the innermost loop in which a kernel spends its time.

    That is the loop within most others; of several, the one with most FMAs.  Where it has branches,
    it is the way that loads most: beside it are those for the border, which load less.

    Args:
        listing: of a kernel, as `kernel.show("asm")` returns it.

    Raises:
        ValueError: there is no loop.
    """
    graph = _Graph(_blocks(listing))
    if not graph.loops:
        raise ValueError("a listing has a loop; this one has none")
    ways = {
        (graph.depth(loop), header): graph.way(header, loop) for header, loop in graph.innermost()
    }
    deepest = max(depth for depth, _ in ways)
    return max((way for (depth, _), way in ways.items() if depth == deepest), key=_arithmetic)


def counts(instructions: Iterable[Instruction]) -> dict[str, int]:
    """Return how many there are of each kind, and the vectors that are read and written.

    The latter are called "vectors loaded", "vectors stored", "vectors spilled" and "vectors
    reloaded", those of the stack not being among the first two.
    """
    listed = list(instructions)
    kinds = Counter(instruction.kind for instruction in listed)
    reloaded = sum(each.reloads for each in listed)
    spilled = sum(each.stores for each in listed if each.kind == "spill")
    return {
        **{kind: kinds[kind] for kind in _COLOURS},
        "vectors loaded": sum(each.loads for each in listed) - reloaded,
        "vectors stored": sum(each.stores for each in listed) - spilled,
        "vectors spilled": spilled,
        "vectors reloaded": reloaded,
    }


def annotated(instructions: Sequence[Instruction]) -> str:
    """Return the lines with the kind of each behind it."""
    width = max(len(str(each)) for each in instructions)
    return "\n".join(f"{each!s:<{width}}  # {_note(each)}" for each in instructions)


@picture
def strip(instructions: Sequence[Instruction]) -> tuple[Figure, str]:
    """Draw the instructions as cells in the colour of their kind, from left to right in rows."""
    from matplotlib.patches import Rectangle

    rows = -(-len(instructions) // _ACROSS)
    figure, axes = canvas(7, 0.28 * rows + 0.7)
    for index, instruction in enumerate(instructions):
        row, column = divmod(index, _ACROSS)
        colour = _COLOURS[instruction.kind]
        axes.add_patch(Rectangle((column, row), 0.92, 0.86, facecolor=colour))
        if instruction.kind == "FMA" and instruction.loads:
            axes.add_patch(Rectangle((column, row), 0.92, 0.3, facecolor=_COLOURS["load"]))
    axes.set(xlim=(0, _ACROSS), ylim=(rows, -1.2))
    axes.axis("off")
    found = counts(instructions)
    kinds = {kind: found[kind] for kind in _COLOURS if found[kind]}
    place = 0.0
    for kind, number in kinds.items():
        words = f"{number} {kind}"
        axes.add_patch(Rectangle((place, -1.0), 0.6, 0.6, facecolor=_COLOURS[kind]))
        axes.text(place + 0.8, -0.7, words, color=INK, va="center", fontsize=9)
        place += 1.4 + 0.36 * len(words)
    listed = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
    with_load = sum(each.kind == "FMA" and bool(each.loads) for each in instructions)
    return figure, (
        f"The {len(instructions)} instructions of a turn of the loop as coloured cells: {listed}; "
        f"{with_load} of the FMAs read an operand from memory."
    )


def _arithmetic(instructions: Iterable[Instruction]) -> int:
    found = counts(instructions)
    return found["FMA"] + found["arithmetic"]


def _note(instruction: Instruction) -> str:
    kind = instruction.kind
    if kind in ("FMA", "arithmetic") and instruction.loads:
        return f"{kind} + {'reload' if instruction.reloads else 'load'}"
    return kind


def _blocks(listing: str) -> list[Block]:
    blocks = [Block()]
    for line in listing.splitlines():
        words = _COMMENT.split(line)[0].split(None, 1)
        if not words:
            continue
        if label := _LABEL.fullmatch(words[0]):
            if blocks[-1].body:
                blocks.append(Block())
            blocks[-1].labels.append(label[1])
        elif not words[0].startswith("."):
            instruction = Instruction(words[0], words[1].strip() if words[1:] else "")
            blocks[-1].body.append(instruction)
            if instruction.target or not blocks[-1].falls_through:
                blocks.append(Block())
    return blocks


class _Graph:
    """Blocks by number, and the jumps between them."""

    def __init__(self, blocks: list[Block]) -> None:
        self._blocks = blocks
        self._places = {label: n for n, block in enumerate(blocks) for label in block.labels}
        self._next = [list(self._successors(number)) for number in range(len(blocks))]

    def _successors(self, number: int) -> Iterator[int]:
        block = self._blocks[number]
        target = block.body[-1].target if block.body else None
        if target in self._places:
            yield self._places[target]
        if block.falls_through and number + 1 < len(self._blocks):
            yield number + 1

    @cached_property
    def loops(self) -> dict[int, set[int]]:
        """The blocks of each loop, by the one through which it is entered."""
        before: dict[int, list[int]] = {}
        for block, following in enumerate(self._next):
            for after in following:
                before.setdefault(after, []).append(block)
        loops: dict[int, set[int]] = {}
        for end, header in self._backward():
            inside = loops.setdefault(header, {header})
            waiting = [end]
            while waiting:
                block = waiting.pop()
                if block not in inside:
                    inside.add(block)
                    waiting += before.get(block, [])
        return loops

    def _backward(self) -> Iterator[tuple[int, int]]:
        """Yield the jumps that lead back to a block on the way to them."""
        done: set[int] = set()
        for root in range(len(self._next)):
            way: dict[int, Iterator[int]] = {} if root in done else {root: iter(self._next[root])}
            while way:
                at = next(reversed(way))
                after = next(way[at], None)
                if after is None:
                    way.pop(at)
                    done.add(at)
                elif after in way:
                    yield at, after
                elif after not in done:
                    way[after] = iter(self._next[after])

    def innermost(self) -> Iterator[tuple[int, set[int]]]:
        """Yield the loops in which there is no other."""
        for header, loop in self.loops.items():
            if not any(other < loop for other in self.loops.values()):
                yield header, loop

    def depth(self, loop: set[int]) -> int:
        """Return how many loops a loop is within, itself included."""
        return sum(loop <= other for other in self.loops.values())

    def way(self, header: int, loop: set[int]) -> list[Instruction]:
        """Return the instructions on the way through a loop that loads most."""
        best: dict[int, tuple[int, list[int]]] = {}

        def from_here(block: int) -> tuple[int, list[int]]:
            if block not in best:
                inside = [after for after in self._next[block] if after in loop - {header}]
                loads, rest = max(map(from_here, inside), default=(0, []))
                best[block] = loads + self._blocks[block].loads, [block, *rest]
            return best[block]

        return [each for block in from_here(header)[1] for each in self._blocks[block].body]
