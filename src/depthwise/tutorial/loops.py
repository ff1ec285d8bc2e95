"""The loops of a program, read from its TVMScript and drawn as boxes within boxes."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from depthwise.tutorial.picture import COLOURS, INK, canvas, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind: TypeAlias = Literal["for", "parallel", "unroll", "vectorized", "if"]

_KINDS: dict[str, Kind] = {
    "range": "for", "T.serial": "for", "T.grid": "for", "T.parallel": "parallel",
    "T.unroll": "unroll", "T.vectorized": "vectorized",
}  # fmt: skip
_FILLS: dict[Kind, str] = dict(
    zip(("parallel", "vectorized", "unroll", "if", "for"), (*COLOURS[:4], COLOURS[5]), strict=True)
)
_LONGEST_CONDITION = 34

_INDENT, _GAP, _FOOT = 0.22, 0.18, 0.18
"""Of the boxes, in lines: how far one stands within another, from the next, above its end."""
_LINE_INCHES = 0.235


@dataclass(frozen=True)
class Step:
    """What is done within the loops: one element stored."""

    text: str
    """The buffer and what it is made of, e.g. "Y += X, K"."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Loop:
    """A loop, or a condition, around what it repeats."""

    kind: Kind
    name: str
    """The loop's variable; of a condition, the condition."""
    extent: str
    """How many iterations there are: a number or an expression; "" of a condition."""
    body: tuple[Node, ...]

    def __str__(self) -> str:
        return f"{self.kind} {self.name} {self.extent}".rstrip()


Node: TypeAlias = "Loop | Step"


def nest(program: str) -> tuple[Node, ...]:
    """Return the loops of a program's functions and what they store, in their order.

    Args:
        program: TVMScript, as scheduled or as lowered to plain loops.

    Raises:
        SyntaxError: it is not a program.
    """
    functions = [f for f in ast.walk(ast.parse(program)) if isinstance(f, ast.FunctionDef)]
    return tuple(node for function in functions for node in _nodes(function.body))


@picture
def boxes(programs: Mapping[str, str]) -> tuple[Figure, str]:
    """Draw the loops of programs beside one another.

    Args:
        programs: their TVMScript by what is written above each.
    """
    nests = {title: nest(program) for title, program in programs.items()}
    lines = max(_height(nodes) for nodes in nests.values())
    figure, axes = canvas(
        max(4.5, 3.6 * len(nests)), _LINE_INCHES * (lines + 1.5), ncols=len(nests), squeeze=False
    )
    for panel, (title, nodes) in zip(axes[0], nests.items(), strict=True):
        panel.set(xlim=(0, 15), ylim=(lines, 0), title=title)
        panel.title.set_fontsize(10)
        panel.axis("off")
        _draw(panel, nodes, left=0.1, right=14.9, top=0.1)
    words = (f"{title}: {'; then '.join(map(_words, nodes))}." for title, nodes in nests.items())
    return figure, "Loops as boxes within boxes. " + " ".join(words)


def _nodes(statements: Iterable[ast.stmt]) -> Iterator[Node]:
    for statement in statements:
        if isinstance(statement, ast.For):
            yield _loop(statement)
        elif isinstance(statement, ast.With):
            yield from _nodes(statement.body)
        elif isinstance(statement, ast.If):
            yield from _condition(statement)
        elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Subscript):
            yield Step(_stored(statement.targets[0], statement.value))


def _loop(statement: ast.For) -> Loop:
    """Return the loops of a statement, which are several where it runs over a grid."""
    call = statement.iter
    assert isinstance(call, ast.Call), "TVMScript loops over calls"
    name = ast.unparse(call.func)
    if name == "T.grid" and isinstance(statement.target, ast.Tuple):
        variables, extents = statement.target.elts, [ast.unparse(each) for each in call.args]
    else:
        variables, extents = [statement.target], [_extent(call.args)]
    inside = tuple(_nodes(statement.body))
    loops = list(zip(map(ast.unparse, variables), extents, strict=True))
    for variable, extent in reversed(loops):
        inside = (Loop(_KINDS[name], variable, extent, inside),)
    outer = inside[0]
    assert isinstance(outer, Loop)
    return outer


def _extent(bounds: Sequence[ast.expr]) -> str:
    if len(bounds) == 1:
        return ast.unparse(bounds[0])
    start, stop = bounds
    if isinstance(start, ast.Constant) and isinstance(stop, ast.Constant):
        return str(int(str(stop.value)) - int(str(start.value)))
    return f"{ast.unparse(stop)} - {ast.unparse(start)}"


def _condition(statement: ast.If) -> Iterator[Loop]:
    test = ast.unparse(statement.test)
    if len(test) > _LONGEST_CONDITION:
        test = test[: _LONGEST_CONDITION - 1] + "…"
    yield Loop("if", test, "", tuple(_nodes(statement.body)))
    if statement.orelse:
        yield Loop("if", "not so", "", tuple(_nodes(statement.orelse)))


def _stored(target: ast.Subscript, value: ast.expr) -> str:
    """Return a store in brief: indices left out, each buffer that is read named once."""
    buffer = ast.unparse(target.value)
    read = [ast.unparse(n.value) for n in ast.walk(value) if isinstance(n, ast.Subscript)]
    sources = [name for name in dict.fromkeys(read) if name != buffer]
    text = ", ".join(sources) or _constant(value)
    if "T.if_then_else" in ast.unparse(value):
        text += " or 0"
    return f"{buffer} {'+=' if buffer in read else '='} {text}"


def _constant(value: ast.expr) -> str:
    numbers = [n.value for n in ast.walk(value) if isinstance(n, ast.Constant)]
    return f"{numbers[0]:g}" if numbers and isinstance(numbers[0], (int, float)) else "..."


def _words(node: Node) -> str:
    """Return a node for those who cannot see it: loops from the outermost to what they store."""
    if isinstance(node, Step):
        return node.text
    inside = "; then ".join(map(_words, node.body))
    return f"{node}, in it {inside}" if len(node.body) == 1 else f"{node}, in it ({inside})"


def _height(nodes: Sequence[Node]) -> float:
    def one(node: Node) -> float:
        return 1.0 if isinstance(node, Step) else 1 + _height(node.body) + _FOOT

    return reduce(lambda total, node: total + one(node) + _GAP, nodes, 0.0)


def _draw(axes: Any, nodes: Sequence[Node], left: float, right: float, top: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    words = {"color": INK, "fontsize": 8.5, "va": "center", "family": "monospace"}
    for node in nodes:
        axes.text(left + 0.25, top + 0.55, str(node), **words)
        height = _height([node]) - _GAP
        if isinstance(node, Loop):
            fill = _FILLS[node.kind]
            axes.add_patch(
                FancyBboxPatch(
                    (left, top), right - left, height, boxstyle="round,pad=0,rounding_size=0.15",
                    facecolor=(fill, 0.09), edgecolor=fill, linewidth=1,
                )
            )  # fmt: skip
            _draw(axes, node.body, left + _INDENT * 1.6, right - _INDENT, top + 1)
        top += height + _GAP
