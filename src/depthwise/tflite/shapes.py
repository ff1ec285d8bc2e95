"""What moves elements in TFLite, as ONNX has it: shapes, parts, padding, other sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from depthwise.errors import ModelError
from depthwise.network.images import TO_NCHW
from depthwise.tflite.files import MOST_ELEMENTS
from depthwise.tflite.translation import Form, Site, Translate

_TO_IMAGE = (0, 2, 3, 1)
"""Where each axis of (N, H, W, C) is in (N, C, H, W)."""
_FAR = 2**31
"""A place that is beyond the end of any axis."""
_REFLECT = 0
"""The schema's number of the padding that leaves out the edge; the other one repeats it."""


def _axis(site: Site, axis: int, form: Form, position: int = 0) -> int:
    """Return where an axis of TFLite is in a form."""
    rank = site.rank(position)
    if not -rank <= axis < rank:
        raise ModelError(f"an axis is one of {rank}; got {axis}")
    return _TO_IMAGE[axis % rank] if form == "image" else axis % rank


def _reshape(site: Site) -> None:
    if site.has(1) and site.constant(1) is None:
        shape = site.add("Cast", site.raw(1), to=7)
    elif site.has(1):
        shape = site.array(site.numbers(1), np.int64)
    else:
        shape = site.array(site.option("NewShapeAsNumpy"), np.int64)
    site.give(site.add("Reshape", site.x(), shape))


def _squeeze(site: Site) -> None:
    given = site.option("SqueezeDimsAsNumpy", 0)
    axes = [axis for axis, size in enumerate(site.tensor().shape) if size == 1]
    named = axes if np.ndim(given) == 0 else [int(each) for each in given]
    site.give(site.add("Squeeze", site.x(), site.array(named, np.int64)))


def _expand(site: Site) -> None:
    site.give(site.add("Unsqueeze", site.x(), site.array(site.numbers(1), np.int64)))


def _transpose(site: Site) -> None:
    site.give(site.add("Transpose", site.x(), perm=site.numbers(1)))


def _shape(site: Site) -> None:
    found = site.add("Shape", site.raw())
    site.put(found if site.output().dtype == "int64" else site.add("Cast", found, to=6))


def _concat(site: Site) -> None:
    positions = range(site.count)
    form = site.form(*positions)
    axis = _axis(site, site.option("Axis", 0), form)
    given = [site.x(position, form) for position in positions]
    site.give(site.add("Concat", *given, axis=axis), form)


def _pack(site: Site) -> None:
    axis = site.array([site.option("Axis", 0)], np.int64)
    given = [site.add("Unsqueeze", site.x(each), axis) for each in range(site.count)]
    site.give(site.add("Concat", *given, axis=site.option("Axis", 0)))


def _unpack(site: Site) -> None:
    axis = _axis(site, site.option("Axis", 0), "plain")
    for number in range(len(site.operator.outputs)):
        picked = site.add("Gather", site.x(), site.array(number, np.int64), axis=axis)
        site.give(picked, position=number)


def _split(site: Site) -> None:
    """Write SPLIT, whose axis comes first, or SPLIT_V, whose sizes are given."""
    data, where = (0, 2) if site.kind == "SPLIT_V" else (1, 0)
    (named,), count = site.numbers(where), len(site.operator.outputs)
    form = site.form(data)
    axis, plain = _axis(site, named, form, data), _axis(site, named, "plain", data)
    if site.kind == "SPLIT_V":
        sizes = site.numbers(1)
        rest = site.tensor(data).shape[plain] - sum(size for size in sizes if size >= 0)
        sizes = [rest if size < 0 else size for size in sizes]
    else:
        sizes = [site.tensor(data).shape[plain] // count] * count
    parts = site.add(
        "Split", site.x(data, form), site.array(sizes, np.int64), makes=count, axis=axis
    )
    for number, part in enumerate([parts] if count == 1 else parts):
        site.give(part, form, number)


def _slice(site: Site) -> None:
    starts, sizes = site.numbers(1), site.numbers(2)
    if not site.rank() == len(starts) == len(sizes):
        raise ModelError(f"a slice has a beginning and a size for each axis; got {starts}, {sizes}")
    ends = [_FAR if size < 0 else start + size for start, size in zip(starts, sizes, strict=True)]
    form = site.form(0)
    site.give(_cut(site, form, starts, ends, [1] * len(starts)), form)


def _cut(
    site: Site, form: Form, starts: Sequence[int], ends: Sequence[int], steps: Sequence[int]
) -> str:
    """Return a part of the first input; axes of which all is taken are left as they are."""
    shape, sizes = site.tensor().shape, site.tensor().sizes
    parts = [
        (start, end, _axis(site, axis, form), step)
        for axis, (start, end, step) in enumerate(zip(starts, ends, steps, strict=True))
        if (start, step) != (0, 1) or not (end >= _FAR or end == sizes[axis] == shape[axis])
    ]
    value = site.x(form=form)
    if not parts:
        return value
    return str(
        site.add("Slice", value, *(site.array(each, np.int64) for each in zip(*parts, strict=True)))
    )


def _strided_slice(site: Site) -> None:
    """Write a slice by steps, of which bits say what becomes of each axis."""
    begins, ends, steps = (site.numbers(position) for position in (1, 2, 3))
    masks = {
        name: site.option(f"{name}Mask", 0)
        for name in ("Begin", "End", "Ellipsis", "NewAxis", "ShrinkAxis")
    }
    relative = site.option("Offset", default=False)
    starts, stops = [0] * site.rank(), [_FAR] * site.rank()
    strides, shrunk, added = [1] * site.rank(), list[int](), list[int]()
    axis = made = 0
    for number, (begin, end, step) in enumerate(zip(begins, ends, steps, strict=True)):
        bit = 1 << number
        if masks["Ellipsis"] & bit:
            later = range(number + 1, len(begins))
            consumed = sum(not masks["NewAxis"] & 1 << each for each in later)
            made += site.rank() - consumed - axis
            axis = site.rank() - consumed
        elif masks["NewAxis"] & bit:
            added.append(made)
            made += 1
        else:
            last = begin + end if relative else end
            strides[axis] = step
            starts[axis] = (0 if step > 0 else _FAR) if masks["Begin"] & bit else begin
            stops[axis] = (_FAR if step > 0 else -_FAR) if masks["End"] & bit else last
            if masks["ShrinkAxis"] & bit:
                starts[axis], strides[axis] = begin, 1
                stops[axis] = begin + 1 if begin != -1 else _FAR
                shrunk.append(axis)
            else:
                made += 1
            axis += 1
    form = site.form(0) if not shrunk and not added else "plain"
    value = _cut(site, form, starts, stops, strides)
    if shrunk:
        value = site.add("Squeeze", value, site.array(shrunk, np.int64))
    if added:
        value = site.add("Unsqueeze", value, site.array(added, np.int64))
    site.give(value, form)


def _reverse(site: Site) -> None:
    axes = site.numbers(1)
    count = len(axes)
    bounds = ([_FAR] * count, [-_FAR] * count, axes, [-1] * count)
    site.give(site.add("Slice", site.x(), *(site.array(each, np.int64) for each in bounds)))


def _gather(site: Site) -> None:
    if site.option("BatchDims", 0):
        raise ModelError("GATHER takes the same places of all; got batches of them")
    axis = _axis(site, site.option("Axis", 0), "plain")
    site.give(site.add("Gather", site.x(), site.raw(1), axis=axis))


def _gather_each(site: Site) -> None:
    where = site.add("Cast", site.raw(1), to=7)
    site.give(site.add("GatherND", site.x(), where))


def _largest(site: Site) -> None:
    (count,) = site.numbers(1)
    values, where = site.add("TopK", site.x(), site.array([count], np.int64), makes=2, axis=-1)
    site.give(values)
    site.put(site.add("Cast", where, to=6), position=1)


def _pads(site: Site) -> list[tuple[int, int]]:
    """Return how much is added before and behind each axis."""
    array = site.constant(1)
    if array is None or array.shape != (site.rank(), 2) or array.min(initial=0) < 0:
        raise ModelError("a padding is two numbers for each axis, constant and no less than 0")
    pads = [(int(before), int(behind)) for before, behind in array]
    site.check_makes(
        *(size + sum(pad) for size, pad in zip(site.tensor().shape, pads, strict=True))
    )
    return pads


def _pad(site: Site) -> None:
    form, pads = site.form(0), _pads(site)
    if site.rank() == 4 and any(map(any, pads[1:3])):
        form = "image"
    order = TO_NCHW if form == "image" else range(len(pads))
    each = [pads[axis] for axis in order]
    around = site.array([*(n for n, _ in each), *(n for _, n in each)], np.int64)
    value = site.x(form=form)
    if site.kind == "PADV2":
        number = site.x(2)
        if site.rank(2):
            number = site.add("Reshape", number, site.array([], np.int64))
        site.give(site.add("Pad", value, around, number), form)
    else:
        site.give(site.add("Pad", value, around), form)


def _mirrored(site: Site) -> None:
    """Write a padding with what lies inside, with the edge or without it."""
    value, mode = site.x(), "reflect" if site.option("Mode", _REFLECT) == _REFLECT else "symmetric"
    for axis, (pad, size) in enumerate(zip(_pads(site), site.tensor().shape, strict=True)):
        if any(pad):
            if max(pad) > size - (mode == "reflect") or -1 in site.tensor().sizes[axis : axis + 1]:
                raise ModelError(f"a mirror is no further than the image; got {pad} for {size}")
            where = np.pad(np.arange(size), pad, mode=mode)  # type: ignore[call-overload]
            value = site.add("Gather", value, site.array(where, np.int64), axis=axis)
    site.give(value)


def _resize(site: Site) -> None:
    size = site.numbers(1)
    batch, *_, channels = site.tensor().shape
    if len(size) != 2 or site.rank() != 4 or min(size) < 1 or 0 in site.tensor().shape:
        raise ModelError(f"an image (N, H, W, C) gets another height and width; got {size}")
    site.check_makes(batch, *size, channels)
    corners, centres = (
        site.option(name, default=False) for name in ("AlignCorners", "HalfPixelCenters")
    )
    how = "align_corners" if corners else "half_pixel" if centres else "asymmetric"
    attributes = {"mode": "linear", "coordinate_transformation_mode": how}
    if site.kind == "RESIZE_NEAREST_NEIGHBOR":
        rounding = "floor" if how == "asymmetric" else "round_prefer_ceil"
        attributes |= {"mode": "nearest", "nearest_mode": rounding}
    x, sizes = site.x(form="image"), site.array([batch, channels, *size], np.int64)
    if site.tensor().sizes[0] < 0:
        batch_and_channels = site.add("Shape", x, end=2)
        sizes = site.add("Concat", batch_and_channels, site.array(size, np.int64), axis=0)
    site.give(site.add("Resize", x, "", "", sizes, **attributes), "image")


def _blocks(operator: str) -> Translate:
    """Return what writes channels as pixels, or the other way."""

    def write(site: Site) -> None:
        size = site.option("BlockSize")
        if not 1 <= size <= _FAR:
            raise ModelError(f"a block has a size; got {size}")
        site.give(site.add(operator, site.x(form="image"), blocksize=size), "image")

    return write


def _to_batch(site: Site) -> None:
    """Write images padded, and every so many of their pixels as images of their own."""
    block, pads = site.numbers(1), site.constant(2)
    batch, *sides = _known(site)
    count = len(block)
    if pads is None or pads.shape != (count, 2) or min(block) < 1 or pads.min() < 0:
        raise ModelError(f"blocks and paddings are numbers for each side; got {block}")
    padded = [side + int(sum(pad)) for side, pad in zip(sides, pads, strict=False)]
    if any(side % size for side, size in zip(padded, block, strict=True)):
        raise ModelError(f"blocks divide an image; got {block} for {padded}")
    each = [side // size for side, size in zip(padded, block, strict=True)]
    rest = sides[count:]
    site.check_makes(batch * math.prod(block), *each, *rest)
    nothing = [0] * len(rest)
    around = [0, *(int(n) for n, _ in pads), *nothing, 0, *(int(n) for _, n in pads), *nothing]
    value = site.add("Pad", site.x(), site.array(around, np.int64))
    pairs = [size for pair in zip(each, block, strict=True) for size in pair]
    apart = site.array([batch, *pairs, *rest], np.int64)
    value = site.add("Reshape", value, apart)
    axes = range(1, 1 + 2 * count)
    order = [*axes[1::2], 0, *axes[::2], *range(1 + 2 * count, 1 + 2 * count + len(rest))]
    value = site.add("Transpose", value, perm=order)
    site.give(site.add("Reshape", value, site.array(site.output().shape, np.int64)))


def _from_batch(site: Site) -> None:
    """Write the opposite of that, with less around the images instead of more."""
    block, crops = site.numbers(1), site.constant(2)
    batch, *sides = _known(site)
    count = len(block)
    if crops is None or crops.shape != (count, 2) or min(block) < 1 or crops.min() < 0:
        raise ModelError(f"blocks and crops are numbers for each side; got {block}")
    if batch % math.prod(block):
        raise ModelError(f"images are whole ones of blocks; got {batch} for {block}")
    images, rest = batch // math.prod(block), sides[count:]
    value = site.add("Reshape", site.x(), site.array([*block, images, *sides], np.int64))
    order = [count]
    for axis in range(count):
        order += [count + 1 + axis, axis]
    order += range(1 + 2 * count, 1 + 2 * count + len(rest))
    value = site.add("Transpose", value, perm=order)
    whole = [side * size for side, size in zip(sides, block, strict=False)]
    value = site.add("Reshape", value, site.array([images, *whole, *rest], np.int64))
    ends = [side - int(crop[1]) for side, crop in zip(whole, crops, strict=True)]
    bounds = [int(crop[0]) for crop in crops], ends, range(1, 1 + count)
    site.give(site.add("Slice", value, *(site.array([*each], np.int64) for each in bounds)))


def _known(site: Site) -> tuple[int, ...]:
    """Return the shape of the first input, all of whose sizes are known."""
    if -1 in site.tensor().sizes:
        raise ModelError(f"{site.kind} takes images of known sizes; got {site.tensor().sizes}")
    return site.tensor().shape


def _tile(site: Site) -> None:
    counts = site.numbers(1)
    shape = site.tensor().shape
    site.check_makes(*(size * count for size, count in zip(shape, counts, strict=True)))
    site.give(site.add("Tile", site.x(), site.array(counts, np.int64)))


def _broadcast(site: Site) -> None:
    shape = site.numbers(1)
    site.check_makes(*shape)
    site.give(site.add("Expand", site.x(), site.array(shape, np.int64)))


def _fill(site: Site) -> None:
    shape = site.numbers(0)
    if shape != list(site.output().shape) or math.prod(shape) > MOST_ELEMENTS:
        raise ModelError(f"FILL makes {shape}; got {site.output().shape}")
    site.give(site.add("Expand", site.x(1), site.array(shape, np.int64)))


TABLE: Mapping[str, Translate] = {
    "RESHAPE": _reshape,
    "SQUEEZE": _squeeze,
    "EXPAND_DIMS": _expand,
    "TRANSPOSE": _transpose,
    "SHAPE": _shape,
    "CONCATENATION": _concat,
    "PACK": _pack,
    "UNPACK": _unpack,
    "SPLIT": _split,
    "SPLIT_V": _split,
    "SLICE": _slice,
    "STRIDED_SLICE": _strided_slice,
    "REVERSE_V2": _reverse,
    "GATHER": _gather,
    "GATHER_ND": _gather_each,
    "TOPK_V2": _largest,
    "PAD": _pad,
    "PADV2": _pad,
    "MIRROR_PAD": _mirrored,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "DEPTH_TO_SPACE": _blocks("DepthToSpace"),
    "SPACE_TO_DEPTH": _blocks("SpaceToDepth"),
    "SPACE_TO_BATCH_ND": _to_batch,
    "BATCH_TO_SPACE_ND": _from_batch,
    "TILE": _tile,
    "BROADCAST_TO": _broadcast,
    "FILL": _fill,
}
