"""Attention found again in the products, softmax and rearrangements that models write it as.

It becomes one node of rows of pixels, whatever the way in which a model cuts queries, keys and
values into heads: which channel of which pixel each of their elements is, is all that counts.
"""

from __future__ import annotations

from dataclasses import replace
from math import isclose, prod
from typing import cast

import numpy as np

from depthwise.errors import SpecError
from depthwise.network.attention_forms import Form, Runs, form_of
from depthwise.network.elements import extents, move_of, moved
from depthwise.network.graph import Graph, Value
from depthwise.network.operators import Attention, Binary, Permute, Reshape, reshaped
from depthwise.network.selection import Selection
from depthwise.network.sides import Side, sides
from depthwise.problem.arrays import Array
from depthwise.problem.attention import AttentionSpec, usual_scale
from depthwise.problem.dtypes import DTYPES

_SWAPPED, _HEADS_FIRST = (0, 2, 1), (0, 2, 1, 3)
_ORDERS = {"planes": _SWAPPED, "turned": (1, 0, 2)}
"""The orders of the elements of results that are (N, P, O) with its axes in another order."""


def find_attention(graph: Graph) -> None:
    """Make one node of each attention whose queries, keys and values are channels of pixels."""
    for node in list(graph.nodes):
        form = form_of(graph, node)
        runs = None if form is None else form.runs()
        if form is not None and runs is not None and _is_ours(form, runs[0]):
            _Finding(graph, form, runs).put()


def _is_ours(form: Form, heads: str) -> bool:
    """Whether all is of one type that kernels compute, and no size open but of images and heads."""
    values = form.query, form.key, form.value, form.node.output
    for value, letters in zip(values, form.letters, strict=True):
        sizes = value.sizes or ()
        if len(sizes) != len(letters) or value.constant is not None or 0 in sizes:
            return False
        words = {each for each, size in zip(letters, sizes, strict=True) if isinstance(size, str)}
        if not words <= set(heads):
            return False
    return form.query.dtype in DTYPES and len({value.dtype for value in values}) == 1


class _Finding:
    """Puts a node of rows of pixels in the place of attention that is found.

    Args:
        graph: the network.
        form: the attention.
        runs: see `Form.runs`.
    """

    def __init__(self, graph: Graph, form: Form, runs: Runs) -> None:
        self._graph, self._form, self._runs = graph, form, runs
        self._selection = Selection(graph, form.node)
        self._arrays = list(zip((form.query, form.key, form.value), form.letters[:3], strict=True))
        self._grid = tuple(
            max((extents(value) or ())[letters.index(each)] for value, letters in self._arrays)
            for each in runs[0]
        )
        """How many images and heads there are, along each of their axes."""

    def put(self) -> None:
        """Put it there, where it is one that a kernel computes."""
        heads, queries, keys, depth, width = self._runs
        cuts = (heads, queries, depth), (heads, keys, depth), (heads, keys, width)
        found: list[tuple[Side, Value]] = []
        for (value, letters), runs in zip(self._arrays, cuts, strict=True):
            side = self._side(value, letters, runs, found[0][0] if found else None)
            if side is None:
                break
            found.append(side)
        if len(found) < len(cuts) or not self._put(found):
            self._graph.drop_unused()

    def _side(
        self, value: Value, letters: str, runs: tuple[str, str, str], like: Side | None
    ) -> tuple[Side, Value] | None:
        """Return an array as channels of pixels, and what computes these alone.

        Args:
            value: the array.
            letters: of its axes.
            runs: the letters of heads, pixels and channels.
            like: a side whose heads are in the same order; None where any order is right.
        """
        for side in sides(value, letters, runs, self._grid):
            if like is None or np.array_equal(side.images, like.images):
                made = self._selection.of(side.source, side.axis, side.channels.ravel())
                if made is not None:
                    return side, made
        return None

    def _put(self, found: list[tuple[Side, Value]]) -> bool:
        (query, _), (key, _), (value, _) = found
        batch = self._batch(query)
        bias = self._bias(query)
        result = self._result(query, value)
        if batch is None or result is None or (bias is None) != (self._form.bias is None):
            return False
        try:
            spec = AttentionSpec(
                batch=batch[0], channels=query.channels.size, out_channels=value.channels.size,
                height=query.count, width=1, keys=key.count, heads=len(query.channels),
                scale=self._form.scale * query.scale * key.scale,
                biases=0 if bias is None else len(bias),
                dtype=cast(str, self._form.query.dtype),
            )  # fmt: skip
        except SpecError:
            return False
        usual = usual_scale(spec.channels, spec.heads)
        if isclose(spec.scale, usual, rel_tol=4 * spec.element.epsilon):
            spec = replace(spec, scale=usual)  # as it was before it was rounded
        found[2] = value, self._scaled(found[2][1], value.scale)
        rows = [self._rows(made, side, batch) for side, made in found]
        if bias is not None:
            rows.append(self._graph.constant(bias.astype(spec.dtype), f"{rows[0].name}.bias"))
        self._replace(spec, rows, *result)
        return True

    def _scaled(self, value: Value, scale: float) -> Value:
        """Return the product of a value and a number."""
        if scale == 1:
            return value
        number = self._graph.constant(np.array(scale, value.dtype), f"{value.name}.scale")
        product = Binary(function="mul")
        return self._graph.insert(self._form.node, product, [value, number], like=value).output

    def _batch(self, query: Side) -> tuple[int, int | str] | None:
        """Return how many images there are in the example, and the size of that axis."""
        count = int(query.images.max()) + 1
        values = [self._form.node.output, *(value for value, _ in self._arrays), query.source]
        if not any(map(_is_open, values)):
            return count, count
        words = [
            value.sizes[0] for value in values
            if value.shape and value.sizes and value.shape[0] == count // 2
            and isinstance(value.sizes[0], str)
        ]  # fmt: skip
        return (count // 2, words[0]) if words else None

    def _bias(self, query: Side) -> Array | None:
        """Return the biases (some, heads, keys, queries); None where they depend on the batch."""
        bias, (heads, queries, keys, *_) = self._form.bias, self._runs
        if bias is None:
            return None
        letters = self._form.scores
        sizes = dict(zip(heads, self._grid, strict=True))
        for (value, own), run in zip(self._arrays, (queries, keys), strict=False):
            shape = extents(value) or ()
            sizes |= {each: shape[own.index(each)] for each in run}
        try:
            whole = np.broadcast_to(bias, [sizes[each] for each in letters])
        except ValueError:
            return None
        whole = whole.transpose([letters.index(each) for each in heads + queries + keys])
        order = np.argsort(query.images, kind="stable")
        each_head = whole.reshape(len(order), -1, sizes[keys])[order]
        by_image = each_head.reshape(-1, len(query.channels), *each_head.shape[1:])
        some = _period(by_image)
        values = [value for value, _ in self._arrays]
        if 2 * some > len(by_image) and any(_is_open(value) for value in values):
            return None
        return np.ascontiguousarray(by_image[:some].transpose(0, 1, 3, 2))

    def _result(self, query: Side, value: Side) -> tuple[Value, str] | None:
        """Return the last value that is the result, moved, with the order of its elements.

        That of (N, P, O) is "rows", of (N, O, P) "planes", of (P, N, O) "turned", and that of
        (N, heads, P, O / heads) "heads".
        """
        heads, queries, _, _, width = self._runs
        images, (count, channels) = query.images, value.channels.shape
        shape = (int(images.max()) + 1, query.count, count, channels)
        numbers = np.arange(prod(shape)).reshape(shape)
        head = np.zeros(len(images), int)
        head[np.argsort(images, kind="stable")] = np.tile(np.arange(count), shape[0])
        orders = {
            "rows": numbers.ravel(),
            "planes": numbers.transpose(0, 2, 3, 1).ravel(),
            "turned": numbers.transpose(1, 0, 2, 3).ravel(),
            "heads": numbers.transpose(_HEADS_FIRST).ravel(),
        }
        at, letters = self._form.node.output, self._form.letters[3]
        sizes = dict(zip(heads, self._grid, strict=True))
        sizes |= dict(zip(letters, extents(at) or (), strict=True))
        natural = heads + queries + width
        apart = numbers[images, :, head].reshape([sizes[each] for each in natural])
        index: Array | None = apart.transpose([natural.index(each) for each in letters])
        found: tuple[Value, str] | None = None
        while index is not None:
            kinds = [kind for kind, order in orders.items() if np.array_equal(index.ravel(), order)]
            if kinds and (kinds[0] != "heads" or found is None):
                found = at, kinds[0]
            if not self._graph.used_once(at):
                break
            (user,) = at.users
            move = move_of(user)
            if not isinstance(move, (Permute, Reshape)):
                break
            at, index = user.output, moved(move, index)
        return found

    def _rows(self, value: Value, side: Side, batch: tuple[int, int | str]) -> Value:
        """Return channels of pixels as (N, P, C)."""
        count, channels = side.count, side.channels.size
        rank = len(value.shape or ())
        if side.axis != rank - 1:
            order = (0, *range(2, rank), 1)
            value = self._moved(value, Permute(order=order))
        if value.sizes == (batch[1], count, channels):
            return value
        made = self._moved(value, Reshape(shape=(-1, count, channels)))
        made.shape, made.sizes = (batch[0], count, channels), (batch[1], count, channels)
        return made

    def _moved(self, value: Value, move: Permute | Reshape) -> Value:
        """Return a value moved, its sizes in the order of a permutation."""
        made = self._graph.insert(self._form.node, move, [value], like=value).output
        if isinstance(move, Permute):
            shape, sizes = value.shape or (), value.sizes or ()
            made.shape = tuple(shape[axis] for axis in move.order)
            made.sizes = tuple(sizes[axis] for axis in move.order)
        return made

    def _replace(self, spec: AttentionSpec, inputs: list[Value], value: Value, kind: str) -> None:
        """Put attention of rows in the place of what makes a value."""
        graph, form = self._graph, self._form
        operator = Attention(heads=spec.heads, scale=spec.scale)
        node = graph.insert(form.node, operator, inputs, like=form.node.output)
        made = node.output
        made.shape = spec.batch, spec.pixels, spec.out_channels
        made_for = (inputs[0].sizes or ())[0]
        made.sizes = made_for, spec.pixels, spec.out_channels
        if kind in _ORDERS:
            made = self._moved(made, Permute(order=_ORDERS[kind]))
        elif kind == "heads":
            apart = (0, spec.pixels, spec.heads, spec.width_of_values)
            cut = self._moved(made, Reshape(shape=apart))
            cut.shape, cut.sizes = (spec.batch, *apart[1:]), (made_for, *apart[1:])
            made = self._moved(cut, Permute(order=_HEADS_FIRST))
        if made.sizes != value.sizes:
            move = reshaped(made.sizes, value.sizes) or Reshape(shape=_any_batch(value))
            made = graph.insert(form.node, move, [made], like=value).output
        graph.replace(value, made)
        graph.drop_unused(into=node)
        others = {name for each in graph.nodes if each is not node for name in each.covers}
        node.covers = [name for name in dict.fromkeys(node.covers) if name not in others]


def _is_open(value: Value) -> bool:
    return any(isinstance(size, str) for size in value.sizes or ())


def _period(arrays: Array) -> int:
    """Return after how many arrays the same ones follow again."""
    count = len(arrays)
    for some in range(1, count):
        if count % some == 0 and (arrays[some:] == arrays[:-some]).all():
            return some
    return count


def _any_batch(value: Value) -> tuple[int, ...]:
    """Return the sizes of a value, -1 where one is open."""
    return tuple(-1 if isinstance(size, str) else size for size in value.sizes or ())
