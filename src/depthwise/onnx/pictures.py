"""A folder of images, or of arrays, as the input of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from depthwise.errors import ArrayError, DepthwiseError, ModelError
from depthwise.network.array_files import ONE, array_in, read_file
from depthwise.problem.arrays import Array

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_MODES = {1: "L", 3: "RGB"}
_SIZES = 4


@dataclass(frozen=True)
class Pictures:
    """How images become arrays.

    An image is cut to the proportions of the network's input, in the middle, and resized.  Of
    floats, each channel is divided by 255, less `mean`, over `std`; whole numbers stay as they are.

    Attributes:
        size: height and width, where the network takes any.
        mean: of each channel, or of all.
        std: likewise.
    """

    size: tuple[int, int] | None = None
    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)


def arrays_of(folder: Path, sizes: Sequence[int | None], dtype: str, pictures: Pictures) -> Array:
    """Return the images of a folder, in the order of their names, as one array.

    Args:
        folder: of images, or of .npy, one image each.
        sizes: of the network's input: (N, C, H, W) or (N, H, W, C); None where any may be.
        dtype: NumPy's name of its element type.
        pictures: how.

    Raises:
        ArrayError: there are none, they differ in shape, or the input is none of images.
        ModelError: one cannot be read.
        DepthwiseError: Pillow is missing.
    """
    files = sorted(each for each in folder.iterdir() if each.is_file())
    arrays = [each for each in files if each.suffix == ONE]
    images = [each for each in files if each.suffix.lower() in SUFFIXES]
    if not arrays and not images:
        raise ArrayError(
            f"a folder of data has images ({', '.join(SUFFIXES)}) or arrays ({ONE}); got none of "
            f"either in {folder}"
        )
    if arrays:
        return _stacked({each: array_in(each) for each in arrays}, len(sizes))
    return _read(images, sizes, dtype, pictures)


def _stacked(arrays: dict[Path, Array], rank: int) -> Array:
    """Return arrays as one, each an image without or with the axis of images."""
    whole = {file: a[None] if a.ndim == rank - 1 else a for file, a in arrays.items()}
    first, *_ = whole
    for file, array in whole.items():
        if array.shape[1:] != whole[first].shape[1:] or array.dtype != whole[first].dtype:
            raise ArrayError(
                f"the arrays of a folder have one shape and type; got {whole[first].shape} "
                f"{whole[first].dtype} in {first.name} and {array.shape} {array.dtype} in "
                f"{file.name}"
            )
    return np.concatenate([*whole.values()])


def _read(
    files: Sequence[Path], sizes: Sequence[int | None], dtype: str, pictures: Pictures
) -> Array:
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise DepthwiseError(
            "images are read by Pillow (pip install pillow); it is not installed"
        ) from None
    channels, last, (height, width) = _plan(sizes, pictures)
    mean, std = _each(pictures.mean, channels, "mean"), _each(pictures.std, channels, "std")

    def read(file: Path) -> Array:
        with Image.open(file) as image:
            pixels = _fitted(image.convert(_MODES[channels]), width, height)
        array = np.asarray(pixels).reshape(height, width, channels)
        if np.dtype(dtype).kind == "f":
            array = ((array / 255 - mean) / std).astype(dtype)
        return array if last else array.transpose(2, 0, 1)

    found: Array = np.stack([read_file(file, partial(read, file)) for file in files])
    return found


def _plan(sizes: Sequence[int | None], pictures: Pictures) -> tuple[int, bool, tuple[int, int]]:
    """Return the channels, whether they are the last axis, and the height and width."""
    shown = tuple("any" if size is None else size for size in sizes)
    first, last = (len(sizes) == _SIZES and sizes[axis] in _MODES for axis in (1, -1))
    if first == last:
        raise ArrayError(
            f"images are for an input (N, C, H, W) or (N, H, W, C) of 1 or 3 channels; got "
            f"({', '.join(map(str, shown))})"
        )
    channels = sizes[-1] if last else sizes[1]
    height, width = sizes[1:3] if last else sizes[2:]
    size = pictures.size
    if size is None and (height is None or width is None):
        raise ModelError(
            f"images get the size of the network's input, or one that is given (--size 224x224) "
            f"where it takes any; got ({', '.join(map(str, shown))}) and none"
        )
    if size is not None and not (height in (None, size[0]) and width in (None, size[1])):
        raise ModelError(
            f"images get the size that the network takes, {height or 'any'}x{width or 'any'}; got "
            f"{size[0]}x{size[1]}"
        )
    assert channels is not None
    return channels, last, size or (height or 0, width or 0)


def _each(values: Sequence[float], channels: int, name: str) -> Array:
    if len(values) not in (1, channels) or not np.isfinite(values).all():
        raise ArrayError(f"{name} is a number, or {channels} of them; got {tuple(values)}")
    if name == "std" and not all(values):
        raise ArrayError(f"std is not 0; got {tuple(values)}")
    return np.asarray(values, np.float64)


def _fitted(image: Any, width: int, height: int) -> Any:
    from PIL import ImageOps

    return ImageOps.fit(image, (width, height))
