"""Sequences, (N, C, L), as images of one row, (N, C, 1, L): the same elements in the same memory.

What is computed between convolutions of sequences is computed on such images too; what is put
together along them goes through rows of pixels, (N, L, C).
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from depthwise.network.graph import Graph, Node, Value
from depthwise.network.images import TO_NCHW, TO_NHWC
from depthwise.network.operators import (
    Activate,
    BatchNorm,
    Binary,
    Clip,
    Concat,
    Convolution,
    Foreign,
    GroupNorm,
    HardSigmoid,
    Join,
    Operator,
    Pad,
    Permute,
    Reshape,
    Slice,
    Tail,
    Unary,
)

_WIDE = Reshape(shape=(0, 0, 1, -1))
_FLAT = Reshape(shape=(0, 0, -1))
_RANK, _CHANNELS, _LENGTH = 3, 1, 2
_EACH = Activate, Clip, HardSigmoid, Unary, BatchNorm, GroupNorm


def widen(graph: Graph) -> None:
    """Compute convolutions of sequences, and what lies between them, on images of one row."""
    wide = _Wide(graph)
    for node in list(graph.nodes):
        if len(node.outputs) == 1 and _is_sequence(node.output):
            wide.put(node)
    graph.drop_unused()


class _Wide:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._images: dict[Value, Value] = {}
        """The image of each sequence that is one."""

    def put(self, node: Node) -> None:
        """Put the same on images in the place of a node, where there are some."""
        operator = meaning_of(node)
        if isinstance(operator, Convolution):
            image = self._image(node, cast(Value, node.inputs[0]))
            self._put(node, operator, [image, self._weight(node), *node.inputs[2:]])
        elif isinstance(operator, (Concat, Slice, Tail)) and operator.axis == _LENGTH:
            if self._is_between(node):
                self._put_on_rows(node, operator)
        elif any(x in self._images for x in node.inputs):
            inputs = self._operands(node, operator)
            if inputs is not None:
                self._put(node, operator, inputs)

    def _put(self, node: Node, operator: Operator, inputs: list[Value | None]) -> None:
        """Put an operator on images in the place of one on sequences."""
        made = self._graph.insert(node, operator, inputs, like=node.output)
        made.covers, made.before_us = node.covers, node.before_us
        node.covers, node.before_us = [], 0.0
        _widen(made.output, node.output)
        self._stand_in(node, made.output)

    def _stand_in(self, node: Node, image: Value) -> None:
        """Let all who take what a node makes take the sequence that an image is."""
        flat = self._graph.insert(node, _FLAT, [image], like=node.output)
        self._images[flat.output] = image
        self._graph.stand_in(node, flat)

    def _image(self, node: Node, x: Value) -> Value:
        """Return the image of a sequence, made before a node where there is none."""
        if x in self._images:
            return self._images[x]
        maker = x.maker
        pad = None if maker is None else meaning_of(maker)
        if maker is not None and isinstance(pad, Pad):
            before = self._image(maker, cast(Value, maker.inputs[0]))
            padded = self._graph.insert(maker, pad, [before], like=x)
            padded.covers = list(maker.covers)
            image = padded.output
        else:
            image = self._graph.insert(node, _WIDE, [x], like=x).output
        _widen(image, x)
        self._images[x] = image
        return image

    def _weight(self, node: Node) -> Value:
        weight, value = node.constant(1), node.inputs[1]
        assert weight is not None
        assert value is not None
        return self._graph.constant(weight[:, :, None], value.name)

    def _operands(self, node: Node, operator: Operator) -> list[Value | None] | None:
        """Return what a node takes, as images; None where it stays as it is."""
        if isinstance(operator, _EACH):
            image = self._images.get(cast(Value, node.inputs[0]))
            return None if image is None else [image, *node.inputs[1:]]
        if isinstance(operator, Binary):
            found = [self._operand(node, x) for x in node.inputs]
            return None if None in found else found
        if isinstance(operator, (Concat, Slice)) and operator.axis == _CHANNELS:
            images = [self._images.get(cast(Value, x)) for x in node.inputs]
            return None if None in images else list(images)
        return None

    def _operand(self, node: Node, x: Value | None) -> Value | None:
        """Return an operand as it goes with images; None where it does not."""
        if x is None or x.constant is None:
            whole = x is not None and x.sizes == node.output.sizes
            return self._image(node, cast(Value, x)) if whole else None
        if x.constant.ndim < len((_CHANNELS, _LENGTH)):
            return x  # along the length alone, which is the last axis of both
        shape = x.constant.shape
        return self._graph.constant(x.constant.reshape(*shape[:-1], 1, shape[-1]), x.name)

    def _is_between(self, node: Node) -> bool:
        """Whether convolutions make or take what a node puts together or cuts."""
        taken = any(isinstance(meaning_of(user), Convolution) for user in node.output.users)
        return taken or any(x in self._images for x in node.inputs)

    def _put_on_rows(self, node: Node, operator: Concat | Slice | Tail) -> None:
        """Put sequences together, or cut them, as rows of pixels."""
        taken = node.inputs if isinstance(operator, Concat) else node.inputs[:1]
        rows = [self._rows(node, cast(Value, x)) for x in taken]
        made = self._graph.insert(node, _of_rows(node, operator), rows, like=node.output)
        _place(made.output, node.output, (0, 2, 1))
        made.covers, made.before_us = node.covers, node.before_us
        node.covers, node.before_us = [], 0.0
        columns = Reshape(shape=(0, 1, -1, _channels(node)))
        pixels = self._graph.insert(node, columns, [made.output], like=node.output)
        _place(pixels.output, node.output, (0, None, 2, 1))
        image = self._graph.insert(node, Permute(order=TO_NCHW), [pixels.output], like=node.output)
        _widen(image.output, node.output)
        self._stand_in(node, image.output)

    def _rows(self, node: Node, x: Value) -> Value:
        """Return a sequence as rows of pixels, made before a node."""
        image = self._image(node, x)
        pixels = self._graph.insert(node, Permute(order=TO_NHWC), [image], like=x)
        _place(pixels.output, x, (0, None, 2, 1))
        rows = self._graph.insert(node, Reshape(shape=(0, -1, _channels(node))),
                                  [pixels.output], like=x)  # fmt: skip
        _place(rows.output, x, (0, 2, 1))
        return rows.output


def _of_rows(node: Node, operator: Concat | Slice | Tail) -> Operator:
    """Return what puts together, or cuts, rows of pixels in place of sequences."""
    if isinstance(operator, Concat) and isinstance((node.output.sizes or ())[_LENGTH], str):
        return Join(axis=1)
    return replace(operator, axis=1)


def meaning_of(node: Node) -> Operator:
    """Return what a node is, its engine's too where that is known."""
    operator = node.operator
    known = isinstance(operator, Foreign) and operator.meaning is not None
    return cast(Operator, cast(Foreign, operator).meaning) if known else operator


def _is_sequence(value: Value) -> bool:
    known = value.shape is not None and value.sizes is not None
    return known and len(value.sizes or ()) == _RANK and isinstance((value.sizes or ())[1], int)


def _channels(node: Node) -> int:
    return cast("tuple[int, ...]", node.output.shape)[_CHANNELS]


def _widen(image: Value, sequence: Value) -> None:
    """Give an image the sizes of a sequence."""
    _place(image, sequence, (0, 1, None, 2))


def _place(value: Value, sequence: Value, axes: tuple[int | None, ...]) -> None:
    """Give a value the sizes of some axes of a sequence, 1 for None."""
    shape = cast("tuple[int, ...]", sequence.shape)
    sizes = cast("tuple[int | str, ...]", sequence.sizes)
    value.shape = tuple(1 if axis is None else shape[axis] for axis in axes)
    value.sizes = tuple(1 if axis is None else sizes[axis] for axis in axes)
