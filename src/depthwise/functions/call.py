"""From a function's arrays to its kernel: prepared once for arrays of these shapes, then looked up.

A call is prepared by checking everything, compiling the kernel and choosing how each array gets to
it.  All of that depends on the kinds, shapes, strides and element types of the arrays and on the
attributes alone, so that the next call with the same ones is one dictionary hit.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from depthwise.compiler import compile as compile_kernel
from depthwise.errors import ArrayError, DepthwiseError, SpecError
from depthwise.kernel.addresses import addresses_of, signature
from depthwise.kernel.outputs import target_for, target_signature
from depthwise.machine.team import thread_count
from depthwise.problem.arrays import (
    Array,
    Given,
    Memory,
    as_numpy,
    fit,
    is_tensor,
    like,
    new_arrays,
    write,
)
from depthwise.problem.problem import Problem
from depthwise.problem.values import word
from depthwise.problem.vocabulary import LAYOUTS_PACKED

IMAGES = ("x", "grad", "residual", "out")
"""The arrays whose axes are in the order of the layout."""
_OTHER_LAYOUT = {"NCHW": "NHWC", "NHWC": "NCHW", "NCL": "NLC", "NLC": "NCL"}
_MOST_REMEMBERED = 4096
_prepared: dict[Hashable, Any] = {}
known = _prepared.get
"""What was prepared for a key, None where nothing was."""


def call(
    spec_of: Callable[..., Problem],
    layouts: tuple[str, ...],
    layout: str,
    attributes: tuple[Any, ...],
    x: Given,
    operands: Sequence[Any],
    out: Any,
    threads: int | None,
) -> Given:
    """Compute the problem that arrays and attributes pose, and return its output.

    Args:
        spec_of: `spec_of(image, operands, *attributes)` returns the problem.
        layouts: the layouts that may be given.
        layout: the layout of `x`, of a residual, of `out` and of the result.
        attributes: what the problem depends on beside the arrays.
        x: the input, with or without a batch axis.
        operands: the arrays beside the input in the order of `spec.operands`, None where one is
            absent.
        out: where to write the result, or None.
        threads: how many threads to use; None is `team.size()`.
    """
    lies = None if out is None else target_signature(out)
    like_out = None if lies is None else out
    try:
        exactly = _exactly(attributes)
        key = spec_of, layout, attributes, exactly, lies, signature(x), *map(signature, operands)
        prepared = _prepared.get(key)
    except TypeError:
        word("layout", layout, layouts)
        prepared = Prepared(spec_of, layout, _tuples(attributes), x, operands, like_out)
        result: Given = prepared(x, operands, out, threads)
        return result
    if prepared is None:
        word("layout", layout, layouts)
        prepared = remembered(
            key, lambda: Prepared(spec_of, layout, attributes, x, operands, like_out)
        )
    output: Given = prepared(x, operands, out, threads)
    return output


def remembered(key: Hashable, prepare: Callable[[], Any]) -> Any:
    """Return what was prepared for this key, or prepare it now."""
    prepared = _prepared.get(key)
    if prepared is None:
        prepared = prepare()
        if len(_prepared) >= _MOST_REMEMBERED:
            _prepared.clear()
        _prepared[key] = prepared
    return prepared


def forget() -> None:
    """Prepare every call anew: its kernel may now be another one."""
    _prepared.clear()


class Image:
    """The input of a call: its sizes, and the order of its axes in memory.

    An input in channels-first order whose memory is channels-last is computed in place as such.
    """

    def __init__(self, x: Any, layout: str) -> None:
        view = as_numpy(x, "x")
        block = LAYOUTS_PACKED.get(layout)
        axes = "NCHWc" if block else layout
        rank = len(axes)
        if view.ndim not in (rank - 1, rank) or 0 in view.shape:
            raise ArrayError(
                f"x has {rank} axes, or {rank - 1} without a batch, none empty; "
                f"got shape {view.shape}"
            )
        self.batched, self.rank = view.ndim == rank, rank
        batch = view if self.batched else view[None]
        last = (0, *range(2, rank), 1)
        self.transposed = axes[1:] in ("CHW", "CL") and not _is_contiguous(batch) and (
            _is_contiguous(batch.transpose(last))
        )  # fmt: skip
        self._to_memory = last if self.transposed else None
        self._from_memory = (0, rank - 1, *range(1, rank - 1)) if self.transposed else None
        plane = axes.strip("NCc")
        if self.transposed:
            axes = f"N{plane}C"
        sizes = dict(zip(axes, self.in_memory_order(view).shape, strict=True))
        if block and sizes["c"] != block:
            raise ArrayError(
                f"x in {layout} is (N, C / {block}, H, W, {block}), which pack_nchwc(x, {block}) "
                f"makes of (N, C, H, W); got shape {view.shape}"
            )
        self.channels = sizes["C"] * sizes.get("c", 1)
        self.size = tuple(sizes[axis] for axis in plane)
        self.fields: dict[str, Any] = {
            "batch": sizes["N"], "layout": layout if block else axes,
            "dtype": view.dtype.name,
        }  # fmt: skip

    def in_memory_order(self, view: Array) -> Array:
        """View an array of the call as the problem has it: with a batch, in memory order."""
        batch = view if self.batched else view[None]
        return batch.transpose(self._to_memory) if self._to_memory else batch

    def in_call_order(self, result: Array) -> Array:
        """View an array that the problem has, an output, as the call has it: the reverse."""
        ordered = result.transpose(self._from_memory) if self._from_memory else result
        return ordered if self.batched else ordered[0]


class Prepared:
    """A call whose arrays all have the signatures that it was prepared for."""

    def __init__(
        self,
        spec_of: Callable[..., Problem],
        layout: str,
        attributes: tuple[Any, ...],
        x: Any,
        operands: Sequence[Any],
        out: Any,
    ) -> None:
        given = [x, *(operand for operand in operands if operand is not None)]
        try:
            image, spec, views = posed(spec_of, layout, attributes, given, operands)
        except (ArrayError, SpecError) as error:
            remedy = _other_layout(spec_of, layout, attributes, given, operands)
            raise type(error)(f"{error}{remedy}") from None
        self._image, self._spec = image, spec
        self._target = None
        if out is not None:
            self._target = target_for(out, self._ordered(out, "out"), given, views, spec)
        self._kernel = compile_kernel(spec)
        self._new = new_arrays(spec.output_shape, spec.element.numpy)
        images_out = len(spec.output_shape) == image.rank
        self._reorders = images_out and (image.transposed or not image.batched)
        self._memory = self._memory_of(given, spec.array_names, views)
        self._wrap = like(x)

    def __call__(self, x: Any, operands: Sequence[Any], out: Any, threads: int | None) -> Any:
        """Compute; arrays that lie as the kernel takes them are not copied."""
        count = 0 if threads is None else thread_count(threads, self._spec)
        given = [x, *[operand for operand in operands if operand is not None]]
        source, *memory = lying = self._memory(given)
        packed = self._kernel.pack(memory, given[1:])
        if out is None:
            result = self._new()
            self._kernel.run(source, packed, result, count)
            return self._wrap(self._image.in_call_order(result) if self._reorders else result)
        if self._target is not None:
            self._kernel.run(source, packed, self._target(out, lying), count)
            return out
        inputs = [as_numpy(array, "x") for array in given]
        return write(
            out, self._ordered(out, "out"), self._spec, inputs,
            lambda result: self._kernel.run(source, packed, result, count),
        )  # fmt: skip

    def _memory_of(
        self, given: Sequence[Any], names: Sequence[str], views: Sequence[Array]
    ) -> Callable[[Sequence[Any]], Sequence[Memory]]:
        """Return what gives kernels such arrays: as they lie, or copied in the order they read."""
        lie = [_is_contiguous(view) for view in views]
        if all(lie) and all(map(is_tensor, given)):
            return addresses_of(given, names)
        lends = [*map(self._lending, given, names, lie)]
        return lambda same: [lend(array) for lend, array in zip(lends, same)]  # noqa: B905 (twice as fast)

    def _lending(self, array: Any, name: str, lies: bool) -> Callable[[Any], Memory]:
        """Return what gives kernels one of the arrays."""
        if lies and is_tensor(array):
            addresses = addresses_of((array,), (name,))
            return lambda same: addresses((same,))[0]
        if lies and type(array) is np.ndarray and _is_contiguous(array):
            return _itself
        return lambda same: np.ascontiguousarray(self._ordered(same, name))

    def _ordered(self, array: Any, name: str) -> Array:
        return _ordered(self._image, self._spec, array, name)


def posed(
    spec_of: Callable[..., Problem], layout: str, attributes: tuple[Any, ...],
    given: Sequence[Any], operands: Sequence[Any],
) -> tuple[Image, Problem, list[Array]]:  # fmt: skip
    """Return the input, the problem that a call poses, and all its arrays as the problem has them.

    Raises:
        ArrayError, SpecError: an array does not fit, or the problem cannot exist.
    """
    image = Image(given[0], layout)
    spec = spec_of(image, operands, *attributes)
    shapes = spec.input_shape, *spec.operands.values()
    views = [_ordered(image, spec, *each) for each in zip(given, spec.array_names, strict=True)]
    for view, name, shape in zip(views, spec.array_names, shapes, strict=True):
        fit(view, name, shape, spec)
    return image, spec, views


def _other_layout(spec_of: Callable[..., Problem], layout: str, *arguments: Any) -> str:
    """Return the layout with which a call that was refused would not be, as errors say it."""
    other = _OTHER_LAYOUT.get(layout)
    if other is None:
        return ""
    try:
        posed(spec_of, other, *arguments)
    except DepthwiseError:
        return ""
    return f' (use layout="{other}")'


def _ordered(image: Image, spec: Problem, array: Any, name: str) -> Array:
    view = as_numpy(array, name)
    if name not in IMAGES:
        return view
    if view.ndim != image.rank - (not image.batched):
        raise ArrayError(f"{name} has as many axes as x; got shape {view.shape}: {spec}")
    return image.in_memory_order(view)


def _exactly(attributes: tuple[Any, ...]) -> object:
    """Return what tells apart attributes that are equal, as 1, 1.0 and True are, nested too."""
    try:
        return marshal.dumps(attributes, 2)  # 2: the same for the same values, whoever has them
    except ValueError:  # of kinds that it does not know, as NumPy's numbers and torch's sizes
        with suppress(ValueError):  # of integers with thousands of digits
            return repr(attributes)
        return object()


def _is_contiguous(array: Array) -> bool:
    return bool(array.flags.c_contiguous)


def _itself(array: Any) -> Any:
    return array


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value
