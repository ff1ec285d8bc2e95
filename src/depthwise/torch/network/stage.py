"""One problem with its weights: what our kernels compute of a network."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from depthwise.compiler import compile as compile_kernel
from depthwise.errors import ArrayError
from depthwise.kernel.kernel import Kernel
from depthwise.problem.parse import parse
from depthwise.problem.problem import Layer
from depthwise.problem.spec import output_size
from depthwise.torch.dtypes import torch_type
from depthwise.torch.registry import LIBRARY

_SCHEMA = "compute(Tensor x, Tensor[] weights, Tensor? residual, str problem) -> Tensor"


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
        return [name for name in self.spec.operands if name != "residual"]

    @property
    def kind(self) -> str:
        """What it computes in a word."""
        return self.spec.kind

    @property
    def takes_residual(self) -> bool:
        """Whether there is a second input, which is added to the result."""
        return "residual" in self.spec.operands

    def kernel(self, x: Tensor) -> Kernel:
        """Return the kernel for images of this one's size."""
        return compile_kernel(_resized(self.spec, x.shape))

    def operands(self) -> list[Tensor]:
        """Return the weights in the order of a call."""
        return [self.get_buffer(name) for name in self.weights]

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return (N, O, OH, OW) for (N, C, H, W), channels_last; (N, O) for (N, C)."""
        problem = str(self.spec)
        result: Tensor = torch.ops.depthwise.compute(x, self.operands(), residual, problem)
        return result

    def extra_repr(self) -> str:
        """Return the problem."""
        return str(self.spec)


def _compute(x: Tensor, weights: Sequence[Tensor], residual: Tensor | None, problem: str) -> Tensor:
    spec = _resized(_parsed(problem), x.shape)
    kernel = compile_kernel(spec)
    output = _empty(x, spec.output_shape)
    _check(spec, x, residual, output)
    images = [in_order(image) for image in (x, residual) if image is not None]
    arrays = [*(weight.contiguous() for weight in weights), *images[1:]]
    packed = kernel.pack([array.data_ptr() for array in arrays])
    kernel.run(images[0].data_ptr(), packed, output.data_ptr(), 0)
    return output


def _check(spec: Layer, x: Tensor, residual: Tensor | None, output: Tensor) -> None:
    """Refuse what the kernel would read as something else.

    Raises:
        ArrayError: an image of another type, or a residual of another shape.
    """
    if x.dtype != torch_type(spec.element):
        raise ArrayError(f"the input of {spec} is {spec.dtype}; got {x.dtype}")
    if residual is not None and (residual.shape, residual.dtype) != (output.shape, output.dtype):
        raise ArrayError(
            f"the residual of {spec} is like its result, {tuple(output.shape)} {output.dtype}; got "
            f"{tuple(residual.shape)} {residual.dtype}"
        )


def _fake(x: Tensor, weights: Sequence[Tensor], residual: Tensor | None, problem: str) -> Tensor:
    del weights, residual
    spec = _parsed(problem)
    height, width = x.shape[2:] if x.dim() == 4 else (1, 1)
    if spec.kind == "mean":
        height, width = 1, 1
    for part in spec.parts:
        sides = zip(part.kernel, part.stride, part.padding, part.dilation, strict=True)
        height, width = (
            output_size(size, *side) for size, side in zip((height, width), sides, strict=True)
        )
    return _empty(x, (x.shape[0], height, width, spec.output_shape[-1]))


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


def _resized(spec: Layer, shape: Sequence[int]) -> Layer:
    batch, _, height, width = shape if len(shape) == 4 else (*shape, 1, 1)
    return spec.resized(batch, height, width)


@functools.cache
def _parsed(problem: str) -> Any:
    return parse(problem)


LIBRARY.define(_SCHEMA, tags=(torch.Tag.pt2_compliant_tag,))
LIBRARY.impl("compute", _compute, "CompositeExplicitAutograd")
torch.library.register_fake(f"{LIBRARY.ns}::compute", _fake, lib=LIBRARY)
