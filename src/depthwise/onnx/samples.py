"""The inputs that a network is quantized with: arrays whose first axis counts images."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Union

import numpy as np
from onnx import ModelProto, ValueInfoProto, helper

from depthwise.errors import ArrayError, ModelError
from depthwise.network.array_files import ONE, SEVERAL, array_in, arrays_in
from depthwise.onnx.pictures import Pictures, arrays_of
from depthwise.problem.arrays import Array

Data = Union["str", "os.PathLike[str]", "Array", "Mapping[str, Array]"]
LABELS = "labels"
"""The name of labels among the arrays of a .npz."""
BATCH = 8
"""How many images a network is given at once that takes any number."""


@dataclass(frozen=True)
class Input:
    """What a model takes.

    Attributes:
        name: of the input.
        dtype: NumPy's name of its element type.
        sizes: of its axes, images first; None where any may be.
    """

    name: str
    dtype: str
    sizes: tuple[int | None, ...]

    def __str__(self) -> str:
        sizes = ", ".join("any" if size is None else str(size) for size in self.sizes)
        return f"{self.name} ({sizes}) {self.dtype}"


@dataclass(frozen=True)
class Samples:
    """Inputs of a network.

    Attributes:
        arrays: of each input, images first; as many of each.
        labels: the class of each image, (N,); None where they are not known.
        batch: how many images the network takes at once.
    """

    arrays: Mapping[str, Array]
    labels: Array | None
    batch: int

    @property
    def count(self) -> int:
        """The number of images."""
        return len(next(iter(self.arrays.values())))

    def batches(self) -> Iterator[dict[str, Array]]:
        """Yield what each call takes."""
        for first in range(0, self.count, self.batch):
            yield {
                name: np.ascontiguousarray(array[first : first + self.batch])
                for name, array in self.arrays.items()
            }

    def labelled(self, labels: Any) -> Samples:
        """Return the same with the class of each image; None: as they are.

        Raises:
            ArrayError: there is not one for each.
        """
        if labels is None:
            return self
        found = np.asarray(labels)
        if found.shape != (self.count,) or found.dtype.kind not in "iu":
            raise ArrayError(
                f"labels are a whole number for each of {self.count} images, ({self.count},); got "
                f"{found.shape} {found.dtype}"
            )
        return replace(self, labels=found)

    def some(self, count: int) -> Samples:
        """Return so many images from all over, in whole calls, and without labels."""
        calls = max(1, self.count // self.batch)
        wanted = min(calls, -(-count // self.batch))
        firsts = np.linspace(0, calls - 1, wanted).round().astype(int) * self.batch
        places = (firsts[:, None] + np.arange(self.batch)).ravel()
        places = places[places < self.count]
        arrays = {name: array[places] for name, array in self.arrays.items()}
        return Samples(arrays, None, self.batch)


def inputs_of(model: ModelProto) -> tuple[Input, ...]:
    """Return what a model takes.

    Raises:
        ModelError: that is nothing, or no arrays with an axis of images.
    """
    given = {each.name for each in model.graph.initializer}
    ports = tuple(_input(each) for each in model.graph.input if each.name not in given)
    if not ports or not all(port.sizes for port in ports):
        got = ", ".join(map(str, ports)) or "none"
        raise ModelError(
            f"the inputs of a network that is quantized are arrays of images; got {got}"
        )
    return ports


def _input(port: ValueInfoProto) -> Input:
    kind = port.type.tensor_type
    sizes = tuple(each.dim_value if each.dim_value > 0 else None for each in kind.shape.dim)
    dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type).name if kind.elem_type else "object"
    return Input(port.name, dtype, sizes)


def samples(data: Data, inputs: Sequence[Input], pictures: Pictures) -> Samples:
    """Return the inputs that some data are.

    Args:
        data: arrays by the names of inputs, or of the only one; a file .npz of such arrays, a file
            .npy, or a folder of images or of files .npy.
        inputs: of the network.
        pictures: how images become arrays.

    Raises:
        ArrayError: they do not fit the network, are not finite, or all the same.
        ModelError: they cannot be read.
    """
    arrays = dict(_arrays(data, inputs, pictures))
    names = [each.name for each in inputs]
    labels = None if LABELS in names else arrays.pop(LABELS, None)
    if len(names) == len(arrays) == 1:
        arrays = dict(zip(names, arrays.values(), strict=True))
    if set(arrays) != set(names):
        raise ArrayError(
            f"data are an array for each input, which are {', '.join(map(str, inputs))}; got "
            f"{', '.join(arrays) or 'none'}"
        )
    for each in inputs:
        _check(arrays[each.name], each)
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        raise ArrayError(f"there are as many images of each input; got {counts}")
    (count,) = set(counts.values())
    given = Samples({name: arrays[name] for name in names}, None, _batch(inputs, count))
    return given.labelled(labels)


def _arrays(data: Data, inputs: Sequence[Input], pictures: Pictures) -> Mapping[str, Array]:
    if isinstance(data, Mapping):
        return {name: np.asarray(array) for name, array in data.items()}
    if not isinstance(data, (str, os.PathLike)):
        return {inputs[0].name: np.asarray(data)}
    path = Path(data)
    if not path.exists():
        raise ModelError(f"data are a file {SEVERAL} or {ONE} or a folder; there is no {path}")
    if path.is_dir():
        if len(inputs) > 1:
            raise ArrayError(
                f"data of several inputs are a file {SEVERAL}, by their names "
                f"{', '.join(each.name for each in inputs)}; got the folder {path}"
            )
        return {inputs[0].name: arrays_of(path, inputs[0].sizes, inputs[0].dtype, pictures)}
    if path.suffix == SEVERAL:
        return arrays_in(path)
    return {inputs[0].name: array_in(path)}


def _check(array: Array, port: Input) -> None:
    """Refuse an array that is none of an input's, or has nothing to calibrate with."""
    got = f"got {array.shape} {array.dtype}"
    fits = array.ndim == len(port.sizes) and all(
        size in (None, own) for size, own in zip(port.sizes[1:], array.shape[1:], strict=True)
    )
    if not fits:
        raise ArrayError(f"data have the shape of the input {port}, images first; {got}")
    if array.dtype != port.dtype:
        raise ArrayError(
            f"data have the type of the input {port}; {got} (array.astype({port.dtype!r}))"
        )
    if not array.size:
        raise ArrayError(f"data are one image at least; {got} for the input {port}")
    if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
        count = array.size - int(np.count_nonzero(finite))
        image = int(np.argmin(finite.reshape(len(array), -1).all(1)))
        raise ArrayError(
            f"data are finite; got {count} of {array.size} numbers that are not, the first in "
            f"image {image}, for the input {port}"
        )
    if array.size > 1 and (array == array.flat[0]).all():
        raise ArrayError(
            f"data are images, which are not all one colour; got {array.flat[0]} everywhere for "
            f"the input {port}"
        )


def _batch(inputs: Sequence[Input], count: int) -> int:
    """Return how many images the network takes at once."""
    fixed = {each.sizes[0] for each in inputs} - {None}
    batch = max((size for size in fixed if size), default=BATCH)
    if fixed and count % batch:
        raise ArrayError(f"the network takes {batch} images at once, data a multiple; got {count}")
    return batch
