"""Images in one order of axes: what is computed channels-last, computed on (N, C, H, W).

Rows of pixels, (N, L, C), are images of L pixels: the same elements in the same memory.  So are the
pixels of all images in one row, (N * L, C), where they are made of either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import cast

from depthwise.network.draft import POINT, Draft
from depthwise.network.flattened import Flattening
from depthwise.network.graph import AS_IT_LIES, Graph, Node, Value
from depthwise.network.operators import (
    CHANNELS,
    PIXELS,
    Activate,
    Attention,
    BatchNorm,
    Binary,
    ChannelNorm,
    Clip,
    Concat,
    Convolution,
    HardSigmoid,
    LayerNorm,
    Linear,
    Operator,
    Permute,
    Reduce,
    Reshape,
    Slice,
    Unary,
)
from depthwise.problem.attention import AttentionSpec
from depthwise.problem.dtypes import DTYPES

TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)
_ELEMENT_BY_ELEMENT = Activate, Clip, HardSigmoid, Unary
_SWAPPED = (0, 2, 1)
"""From rows of pixels to rows of each channel's elements, (N, C, L), and back."""


def reorder(graph: Graph) -> None:
    """Compute on (N, C, H, W) what is computed on (N, H, W, C), or on rows of pixels, (N, L, C).

    Permutations move behind what can be computed before them; pairs of them vanish.
    """
    _Images(graph).reorder()


class _Images:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nchw: dict[Value, Value] = {}
        """What is channels-last, each with the image (N, C, H, W) of the same elements."""
        self._sides: dict[int | str, tuple[int, int]] = {}
        """The rows and columns of an image of so many pixels."""
        self._flattening = Flattening(graph)
        self._rows: set[Value] = set()
        """What is made of what is channels-last by moving, cutting or adding whole pixels."""

    def reorder(self) -> None:
        for node in list(self._graph.nodes):
            if isinstance(node.operator, Permute):
                self._permutation(node, node.operator)
            elif isinstance(node.operator, Reshape):
                self._reshaping(node)
            elif len(node.outputs) != 1 or len(_sizes(node.output)) not in (2, 3, 4):
                continue
            elif isinstance(node.operator, Reduce):
                self._reduction(node, node.operator)
            elif made := self._on_nchw(node):
                self._permuted(node, *made)
            else:
                self._flatten(node)
        for value, x in self._nchw.items():
            self._drop(value, x)

    def _flatten(self, node: Node) -> None:
        """Put together, or cut, what is channels-last along another axis than channels."""
        if any(map(self._is_last, node.inputs)):
            made = self._flattening.put(node)
            if made is not None and len(_sizes(made)) > len((0, 1)):
                self._rows.add(made)

    def _drop(self, value: Value, image: Value) -> None:
        """Take out permutations and shapes of an image that nobody takes."""
        while (maker := value.maker) is not None and maker is not image.maker:
            if value.users or self._graph.is_output(value):
                return
            value = cast(Value, maker.inputs[0])
            self._take_out(maker, image)

    def _permutation(self, node: Node, permute: Permute) -> None:
        x = cast(Value, node.inputs[0])
        if permute.order == TO_NHWC:
            self._know(node.output, x)
        elif permute.order == TO_NCHW and x in self._nchw:
            self._same(node, self._nchw[x])
        elif permute.order == TO_NCHW and x in self._rows:
            self._know(x, node.output)
        elif permute.order == _SWAPPED and x not in self._nchw and (image := _planes_of(x)):
            self._know(node.output, image)
        elif self._is_last(x) and permute.order[-1] == len(permute.order) - 1:
            self._rows.add(node.output)

    def _is_last(self, x: Value | None) -> bool:
        """Whether something is known to be channels-last."""
        return x in self._nchw or x in self._rows

    def _known(self, node: Node, x: Value | None) -> Value | None:
        """Return the image of what is known to be channels-last, made before a node if need be."""
        if x is None or x in self._nchw or x not in self._rows:
            return None if x is None else self._nchw.get(x)
        return self._image(node, x)

    def _know(self, value: Value, image: Value) -> None:
        """Remember the image that what is channels-last is."""
        self._nchw[value] = image
        rows, columns = _sizes(image)[2:]
        if _is_row(value) and isinstance(rows, int) and isinstance(columns, int):
            self._sides[_sizes(value)[1]] = rows, columns

    def _reshaping(self, node: Node) -> None:
        """Find the image again behind a change between rows of pixels and (N, H, W, C)."""
        x, sizes = cast(Value, node.inputs[0]), node.output.sizes
        image = self._nchw.get(x)
        if image is not None and _has_pixels_of(image, node.output):
            self._know(node.output, image)
        elif self._is_last(x) and _sizes(x)[-1:] == _sizes(node.output)[-1:]:
            self._rows.add(node.output)
        swap = x.maker
        if swap is not None and swap.operator == Permute(order=_SWAPPED):
            rows = cast(Value, swap.inputs[0])
            before = self._known(node, rows)
            if before is not None and before.sizes == sizes:
                self._same(node, before)
            elif before is not None and _is_of_known_sides(before, node.output):
                sides = cast("tuple[int, int]", _sizes(node.output)[2:])
                self._same(node, self._reshaped(node, before, sides))

    def _same(self, node: Node, image: Value) -> None:
        """Let all who take a node's result take the image that it is."""
        self._graph.replace(node.output, image)
        self._take_out(node, image)

    def _take_out(self, node: Node, image: Value) -> None:
        """Take out a node whose result is an image as it lies; who makes that answers for it."""
        self._graph.remove(node)
        if image.maker is None:
            self._graph.drop(node.covers, AS_IT_LIES)
        else:
            image.maker.covers += node.covers
            image.maker.before_us += node.before_us

    def _permuted(self, node: Node, operator: Operator, inputs: list[Value | None]) -> None:
        """Compute a node on (N, C, H, W), with a permutation behind it."""
        made = self._graph.insert(node, operator, inputs, like=node.output)
        made.covers, made.before_us = node.covers, node.before_us
        images = [x for x in inputs if x is not None and x.constant is None]
        if isinstance(operator, Binary):  # the other one may be of each channel
            images.sort(key=lambda x: -prod(x.shape or ()))
        image = images[0]
        channels = cast(int, _sizes(node.output)[-1])
        batch, _, *sides = cast("tuple[int, ...]", image.shape)
        names = _sizes(image)[2:]
        if isinstance(operator, Reduce) and operator.axes == PIXELS:
            sides, names = [1, 1], (1, 1)
        made.output.shape = (batch, channels, *sides)
        made.output.sizes = (_sizes(image)[0], channels, *names)
        back = self._graph.insert(node, Permute(order=TO_NHWC), [made.output], like=made.output)
        _resize(back.output, made.output, TO_NHWC)
        if len(_sizes(node.output)) < len(TO_NHWC):
            rows = (0, -1, channels) if _is_row(node.output) else (-1, channels)
            back = self._graph.insert(node, Reshape(shape=rows), [back.output], like=node.output)
        self._know(back.output, made.output)
        node.covers, node.before_us = [], 0.0
        self._graph.stand_in(node, back)

    def _reduction(self, node: Node, reduce: Reduce) -> None:
        """Reduce an image in the place of its pixels, or of its planes (N, C, L)."""
        x = cast(Value, node.inputs[0])
        image = self._known(node, x)
        planes = self._image_of_planes(x) if image is None else None
        if planes is not None and reduce.axes == (2,):
            over = replace(reduce, axes=PIXELS, keeps_axes=False)
            made = self._graph.insert(node, over, [planes], like=node.output)
            shape = (0, -1, 1) if reduce.keeps_axes else (0, -1)
            _resize(made.output, planes, (0, 1))
            made.covers, made.before_us = node.covers, node.before_us
            back = self._graph.insert(node, Reshape(shape=shape), [made.output], like=node.output)
            node.covers, node.before_us = [], 0.0
            self._graph.stand_in(node, back)
        elif image is not None and (axes := _axes_of_image(x, reduce)) is not None:
            self._permuted(node, replace(reduce, axes=axes, keeps_axes=True), [image])

    def _image_of_planes(self, x: Value) -> Value | None:
        """Return the image that a value is as (N, C, L)."""
        maker = x.maker
        if maker is not None and maker.operator == Permute(order=_SWAPPED):
            return self._nchw.get(cast(Value, maker.inputs[0]))
        return _planes_of(x) if _is_row(x) else None

    def _on_nchw(self, node: Node) -> tuple[Operator, list[Value | None]] | None:
        """Return the same on (N, C, H, W); None where a node stays as it is."""
        operator, x = node.operator, node.inputs[0] if node.inputs else None
        rank = len(_sizes(node.output))
        if not isinstance(_sizes(node.output)[-1], int):
            return None
        if isinstance(operator, Binary):
            return self._binary(node, operator)
        if isinstance(operator, Linear):
            return self._linear(node)
        if isinstance(operator, LayerNorm):
            return self._norm(node, operator)
        if isinstance(operator, Concat) and operator.axis == rank - 1:
            images = [self._known(node, each) for each in node.inputs]
            return None if None in images else (Concat(axis=1), images)
        if isinstance(operator, Attention):
            return self._attention(node, operator)
        image = self._known(node, x)
        if image is not None and isinstance(operator, BatchNorm) and rank == 2:
            return operator, [image, *node.inputs[1:]]
        if image is not None and isinstance(operator, Slice) and operator.axis == rank - 1:
            return replace(operator, axis=1), [image]
        if image is not None and isinstance(operator, _ELEMENT_BY_ELEMENT):
            return operator, [image]
        return None

    def _linear(self, node: Node) -> tuple[Convolution, list[Value | None]] | None:
        weight = node.constant(1)
        image = None if weight is None else self._image(node, cast(Value, node.inputs[0]))
        if weight is None or image is None:
            return None
        taps = self._graph.constant(weight[:, :, None, None], cast(Value, node.inputs[1]).name)
        return POINT, [image, taps, *node.inputs[2:]]

    def _norm(
        self, node: Node, operator: LayerNorm
    ) -> tuple[ChannelNorm, list[Value | None]] | None:
        constant = all(node.constant(position) is not None for position in (1, 2))
        image = self._image(node, cast(Value, node.inputs[0])) if constant else None
        if image is None:
            return None
        return ChannelNorm(epsilon=operator.epsilon), [image, *node.inputs[1:]]

    def _attention(self, node: Node, operator: Attention) -> tuple[Draft, list[Value | None]]:
        """Return the problem of attention, of keys and values in one column of pixels."""
        x, key, value = (
            cast(Value, self._image(node, cast(Value, rows))) for rows in node.inputs[:3]
        )
        bias = node.constant(3)
        batch, channels, height, width = cast("tuple[int, ...]", x.shape)
        spec = AttentionSpec(
            batch=batch, channels=channels, height=height, width=width,
            out_channels=cast("tuple[int, ...]", value.shape)[1],
            keys=prod(cast("tuple[int, ...]", key.shape)[2:]), heads=operator.heads,
            scale=operator.scale, biases=0 if bias is None else len(bias), dtype=cast(str, x.dtype),
        )  # fmt: skip
        operands = {} if bias is None else {"bias": bias}
        columns = [self._reshaped(node, each, (spec.keys, 1)) for each in (key, value)]
        return Draft(spec=spec, operands=operands), [x, *columns]

    def _binary(self, node: Node, operator: Binary) -> tuple[Binary, list[Value | None]] | None:
        """Return the function of two images, or of one and a constant for each channel."""
        given = [x for x in node.inputs if x is not None]
        if not any(map(self._is_last, given)):
            return None
        operands = [self._operand(node, x) for x in given]
        whole = [self._nchw[x] for x in given if _fills(x, node.output) and x in self._nchw]
        if None in operands or not whole:
            return None
        kept = next((x for x in reversed(whole) if _is_product(x)), whole[0])
        beside = [
            x if x.constant is not None else self._beside(node, x, kept, resize=x in whole)
            for x in cast("list[Value]", operands)
        ]
        return None if None in beside else (operator, beside)

    def _beside(self, node: Node, x: Value, image: Value, *, resize: bool) -> Value | None:
        """Return an operand as it goes with an image, or None where it does not."""
        (batch, _, *sides), (own, _, *given) = _sizes(image), _sizes(x)
        if given == sides or (given == [1, 1] and not resize):
            return x if own == batch or (own == 1 and not resize) else None
        numbers = [side for side in sides if isinstance(side, int)]
        if own != batch or not resize or numbers != sides:
            return None
        return self._reshaped(node, x, numbers)

    def _reshaped(self, node: Node, x: Value, sides: Sequence[int]) -> Value:
        """Return an image with its pixels in so many rows and columns."""
        if _sizes(x)[2:] == tuple(sides):
            return x
        made = self._graph.insert(node, Reshape(shape=(0, 0, *sides)), [x], like=x).output
        made.shape = (*cast("tuple[int, ...]", x.shape)[:2], *sides)
        made.sizes = (*_sizes(x)[:2], *sides)
        return made

    def _operand(self, node: Node, x: Value) -> Value | None:
        """Return an image, or a constant that is one number or one for each channel."""
        if x.constant is None:
            alike = len(_sizes(x)) == len(_sizes(node.output))
            image = self._nchw.get(x) if alike else None
            whole = _fills(x, node.output) or _is_of_pixels(x, node.output)
            return self._image(node, x) if whole else image
        shape = x.constant.shape
        if len(shape) > len(_sizes(node.output)) or x.constant.size != (1, *shape)[-1]:
            return None
        return self._graph.constant(x.constant.reshape(-1, 1, 1), x.name) if shape else x

    def _image(self, node: Node, x: Value) -> Value | None:
        """Return the image of what is channels-last, made before a node where there is none."""
        if x in self._nchw:
            return self._nchw[x]
        rank = len(_sizes(x))
        if rank not in (3, 4) or x.constant is not None or x.dtype not in DTYPES:
            return None
        if not isinstance(_sizes(x)[-1], int):
            return None
        nhwc = self._in_rows(node, x) if _is_row(x) else x
        made = self._graph.insert(node, Permute(order=TO_NCHW), [nhwc], like=nhwc).output
        _resize(made, nhwc, TO_NCHW)
        self._know(x, made)
        return made

    def _in_rows(self, node: Node, x: Value) -> Value:
        """Return rows of pixels as (N, H, W, C), of the sides of an image of as many, or in one."""
        (batch, pixels, channels), shape = _sizes(x), cast("tuple[int, ...]", x.shape)
        sides = self._sides.get(pixels)
        wanted = Reshape(shape=(0, *(sides or (0, 1)), -1))
        made = self._graph.insert(node, wanted, [x], like=x).output
        made.sizes = (batch, *(sides or (pixels, 1)), channels)
        made.shape = (shape[0], *(sides or (shape[1], 1)), shape[2])
        return made


def _sizes(value: Value) -> tuple[int | str, ...]:
    return value.sizes or ()


def _axes_of_image(x: Value, reduce: Reduce) -> tuple[int, ...] | None:
    """Return the axes of (N, C, H, W) that are reduced where x is channels-last, if they are."""
    rank = len(_sizes(x))
    if rank in (3, 4) and reduce.axes == tuple(range(1, rank - 1)):
        return PIXELS
    return CHANNELS if rank in (3, 4) and reduce.axes == (rank - 1,) and reduce.keeps_axes else None


def _is_row(value: Value) -> bool:
    """Whether a value is rows of pixels, (N, L, C)."""
    return len(_sizes(value)) == len(_SWAPPED)


def _fills(x: Value, result: Value) -> bool:
    """Whether an operand has an element for each of a result's."""
    return x.sizes == result.sizes


def _is_of_pixels(x: Value, result: Value) -> bool:
    """Whether an operand has an element for each pixel of a result."""
    return _sizes(x) == (*_sizes(result)[:-1], 1)


def _is_product(x: Value) -> bool:
    """Whether a value is a convolution's, perhaps with numbers for each channel behind it."""
    maker = x.maker
    while maker is not None and isinstance(maker.operator, Binary):
        computed = [each for each in maker.inputs if each is not None and each.constant is None]
        maker = computed[0].maker if len(computed) == 1 else None
    return maker is not None and isinstance(maker.operator, Convolution)


def _has_pixels_of(image: Value, x: Value) -> bool:
    """Whether a value of as many elements is an image's pixels, (N, H, W, C) or in rows."""
    batch, channels, *sides = _sizes(image)
    if _is_row(x):
        return (_sizes(x)[0], _sizes(x)[-1]) == (batch, channels)
    if len(_sizes(x)) < len(TO_NHWC):
        return _sizes(x)[-1] == channels
    return x.sizes == (batch, *sides, channels)


def _is_of_known_sides(image: Value, x: Value) -> bool:
    """Whether a value is an image's planes with rows and columns that are known."""
    sizes = _sizes(x)
    known = all(isinstance(size, int) for size in sizes[2:])
    return known and len(sizes) == len(TO_NHWC) and sizes[:2] == _sizes(image)[:2]


def _planes_of(x: Value) -> Value | None:
    """Return the image (N, C, H, W) that a value is as (N, C, L), if it is one."""
    maker = x.maker
    if maker is None or not isinstance(maker.operator, Reshape):
        return None
    image = cast(Value, maker.inputs[0])
    four = len(_sizes(image)) == len(TO_NCHW)
    return image if four and _sizes(image)[:2] == _sizes(x)[:2] else None


def _resize(value: Value, like: Value, axes: Sequence[int | None]) -> None:
    """Give a value the sizes of some axes of another, 1 for None."""
    shape, sizes = cast("tuple[int, ...]", like.shape), _sizes(like)
    value.shape = tuple(1 if axis is None else shape[axis] for axis in axes)
    value.sizes = tuple(1 if axis is None else sizes[axis] for axis in axes)
