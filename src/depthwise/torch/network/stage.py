"""One problem with its weights: what our kernels compute of a network."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from depthwise.compiler import compile as compile_kernel
from depthwise.errors import ArrayError, SpecError
from depthwise.functions.call import remembered
from depthwise.kernel.addresses import addresses_of
from depthwise.kernel.kernel import Kernel
from depthwise.machine.team import native
from depthwise.problem.arrays import Array, as_numpy, fit
from depthwise.problem.parse import parse
from depthwise.problem.problem import Layer
from depthwise.torch.flops import count_flops
from depthwise.torch.registry import LIBRARY

_SCHEMA = "compute(Tensor x, Tensor[] weights, Tensor[] computed, str problem) -> Tensor"


class Stage(nn.Module):
    """A convolution or a block with its weights, for channels-last images of any size.

    Attributes:
        spec: the problem at the size of the example.
    """

    def __init__(self, spec: Layer, operands: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.spec = spec
        for name in self.weights:
            array = operands[name].detach().reshape(spec.operands[name])
            self.register_buffer(name, array.contiguous().clone())

    @property
    def weights(self) -> list[str]:
        """The names of the operands that are the same in each call."""
        return [name for name in self.spec.operands if name not in self.spec.computed]

    @property
    def kind(self) -> str:
        """What it computes in a word."""
        return self.spec.kind

    def kernel(self, x: Tensor) -> Kernel:
        """Return the kernel for images of this one's size."""
        return compile_kernel(_resized(self.spec, x))

    def operands(self) -> list[Tensor]:
        """Return the weights in the order of a call."""
        return [self.get_buffer(name) for name in self.weights]

    def forward(self, x: Tensor, *computed: Tensor) -> Tensor:
        """Return (N, O, OH, OW) for (N, C, H, W), channels_last; (N, O) for (N, C).

        Args:
            x: the input.
            computed: the operands `spec.computed`, each with as many axes.
        """
        problem = str(self.spec)
        if x.shape[0] == 0:  # of no images there is nothing to compute
            return _fake(x, self.operands(), computed, problem)
        result: Tensor = torch.ops.depthwise.compute(x, self.operands(), computed, problem)
        return result

    def extra_repr(self) -> str:
        """Return the problem."""
        return str(self.spec)


def _compute(
    x: Tensor, weights: Sequence[Tensor], computed: Sequence[Tensor], problem: str
) -> Tensor:
    tensors = (x, *weights, *computed)
    try:
        key = _compute, problem, len(computed), *map(native().lies, tensors)
    except TypeError:
        return _Ready(problem, tensors, len(computed))(tensors)
    output: Tensor = remembered(key, lambda: _Ready(problem, tensors, len(computed)))(tensors)
    return output


class _Ready:
    """A kernel for tensors of certain shapes, which were found to be those of its problem."""

    def __init__(self, problem: str, tensors: Sequence[Tensor], computed: int) -> None:
        """Check the tensors, which are the input, weights, and so many operands computed.

        Raises:
            ArrayError: one is not what the problem takes.
            DTypeError: one is of another element type.
            SpecError: the problem is not one of channels-last images, or not at this size.
        """
        spec = _resized(_parsed(problem), tensors[0])
        weights = [name for name in spec.operands if name not in spec.computed]
        names = ["x", *weights, *spec.computed]
        if (len(tensors), computed) != (len(names), len(spec.computed)):
            raise ArrayError(f"the tensors of {spec} are {', '.join(names)}; got {len(tensors)}")
        self._images = [0, *range(len(tensors) - computed, len(tensors))]
        shapes = {"x": spec.input_shape, **spec.operands}
        for place, (tensor, name) in enumerate(zip(tensors, names, strict=True)):
            view = as_numpy(tensor.detach(), name)
            fit(_as_posed(view, place in self._images), name, shapes[name], spec)
        self._kernel, self._shape = compile_kernel(spec), spec.output_shape
        self._places = [names.index(name) for name in spec.array_names]
        self._addresses = addresses_of(tensors, names)

    def __call__(self, tensors: Sequence[Tensor]) -> Tensor:
        self._addresses(tensors)
        lie = [tensor.contiguous() for tensor in tensors]
        for place in self._images:
            lie[place] = in_order(tensors[place])
        x, *operands = [lie[place].data_ptr() for place in self._places]
        output = _empty(tensors[0], self._shape)
        packed = self._kernel.pack(operands, [tensors[place] for place in self._places[1:]])
        self._kernel.run(x, packed, output.data_ptr(), 0)
        return output


def _as_posed(view: Array, image: bool) -> Array:
    """Return an array as the problem has it: images channels-last, (N, C) as one pixel each."""
    if image and view.ndim == 4:
        return np.moveaxis(view, 1, 3)
    return view[:, None, None, :] if image and view.ndim == 2 else view


def _fake(x: Tensor, weights: Sequence[Tensor], computed: Sequence[Tensor], problem: str) -> Tensor:
    del weights, computed
    spec = _parsed(problem)
    height, width = x.shape[2:] if x.dim() == 4 else (1, 1)
    return _empty(x, (x.shape[0], *spec.sides(height, width), spec.output_shape[-1]))


def _empty(x: Tensor, shape: Sequence[int]) -> Tensor:
    batch, height, width, channels = shape
    if x.dim() == 2:
        return x.new_empty((batch, channels))
    return torch.empty(
        (batch, channels, height, width), dtype=x.dtype, device=x.device,
        memory_format=torch.channels_last,
    )  # fmt: skip


def in_order(image: Tensor) -> Tensor:
    """Return an image in channels-last order, itself where it has that; (N, C) contiguous."""
    four = image.dim() == 4
    return image.contiguous(memory_format=torch.channels_last if four else torch.contiguous_format)


def _resized(spec: Layer, x: Tensor) -> Layer:
    """Return the problem for images of this size.

    Raises:
        ArrayError: the input is no (N, C, H, W) or (N, C), or its pixels become images.
        SpecError: the problem is not one of channels-last images, or not at this size.
    """
    if spec.layout != "NHWC" or not hasattr(spec, "resized"):
        raise SpecError(f"a network's stages compute channels-last images; got {spec}")
    if x.dim() not in (2, 4):
        raise ArrayError(f"the input of {spec} has 4 axes, or 2; got shape {tuple(x.shape)}")
    batch, _, height, width = x.shape if x.dim() == 4 else (*x.shape, 1, 1)
    resized = spec.resized(batch, height, width)
    if x.dim() == 2 and resized.output_shape[1:3] != (1, 1):
        raise ArrayError(f"{spec} makes images of pixels; got shape {tuple(x.shape)}")
    return resized


@functools.cache
def _parsed(problem: str) -> Any:
    return parse(problem)


LIBRARY.define(_SCHEMA, tags=(torch.Tag.pt2_compliant_tag,))
LIBRARY.impl("compute", _compute, "CompositeExplicitAutograd")
torch.library.register_fake(f"{LIBRARY.ns}::compute", _fake, lib=LIBRARY)
count_flops(torch.ops.depthwise.compute)
