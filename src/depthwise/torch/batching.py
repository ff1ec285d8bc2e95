"""How `torch.vmap` maps an operator: the mapped axis joins the batch, or the channels.

A batch of filters is more channels of one depthwise convolution, each with filters of its own.
"""

from __future__ import annotations

from typing import TypeAlias

from torch import Tensor

Dims: TypeAlias = "tuple[int | None, ...]"
"""The mapped axis of each argument, None where it has none."""


def at_front(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """Return a tensor with the mapped axis first, as a view; one that has none repeats itself."""
    return tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def folded(image: Tensor, dim: int | None, size: int, axis: int) -> Tensor:
    """Return (N, C, H, W) whose batch (axis 0) or channels (axis 1) the mapped axis has joined."""
    return at_front(image, dim, size).movedim(0, axis).flatten(axis, axis + 1)


def unfolded(image: Tensor, size: int, axis: int) -> tuple[Tensor, int]:
    """Undo `folded`: return the result with its mapped axis, and which that is."""
    return image.unflatten(axis, (size, image.shape[axis] // size)), axis
