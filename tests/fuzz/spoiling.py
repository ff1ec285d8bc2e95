"""What may be wrong with an array, a tensor or an output."""

from __future__ import annotations

import numpy as np
import torch

DTYPES = ("float64", "float16", "int32", "bool", "complex64")


def other_shape(rng, shape):
    """Return a shape with one axis more, less, longer, shorter or empty, or in another order."""
    at = rng.randrange(len(shape))
    size = rng.choice([0, 1, shape[at] + 1, 2 * shape[at], 1000])
    return rng.choice([
        (*shape[:at], size, *shape[at + 1 :]), shape[:at] + shape[at + 1 :], (*shape, 1),
        (1, *shape), shape[::-1], (), (size,),
    ])  # fmt: skip


def spread(tensor, rng):
    """Return the same values in memory with gaps, an offset, or another order of axes."""
    axes = rng.sample(range(tensor.dim()), tensor.dim())
    held = torch.zeros([size * 2 + 1 for size in tensor.shape])[(slice(1, None, 2),) * tensor.dim()]
    held = held.to(tensor.dtype).permute(axes)
    back = sorted(range(len(axes)), key=axes.__getitem__)
    moved = torch.empty([tensor.shape[a] for a in axes], dtype=tensor.dtype).permute(back)
    return rng.choice([held.permute(back), moved]).copy_(tensor)


def spoilt(rng, shape):
    """Return what is wrong with an operand, and the operand, a tensor."""
    how = rng.choice(["right"] * 3 + ["shape"] * 4 + ["dtype", "spread", "spread", "same", "gone"])
    shape = other_shape(rng, shape) if how == "shape" else shape
    tensor = torch.from_numpy(np.random.default_rng(0).integers(-2, 3, shape).astype(np.float32))
    tensor = tensor.clone()  # memory of torch's own, which can be freed
    if how == "dtype":
        tensor = tensor.to(getattr(torch, rng.choice(DTYPES)))
    if how == "spread":
        tensor = spread(tensor, rng)
    if how == "same":
        tensor = torch.ones(()).expand(shape)
    if how == "gone":
        tensor = torch.cat([tensor.flatten(), torch.zeros(3)])[rng.choice([0, 3]) :]
        tensor = tensor[: int(np.prod(shape))].view(shape)
        tensor.untyped_storage().resize_(rng.choice([0, 4, tensor.nbytes - 4]))
    return how, tensor


def as_array(rng, tensor):
    """Return a tensor as a NumPy array, sometimes with negative strides."""
    array = tensor.numpy()
    turned = (slice(None, None, -1),) * rng.randint(0, array.ndim)
    return array[turned].copy()[turned]


def spoilt_out(rng, y, operands):
    """Return what is wrong with an output, and the output."""
    how = rng.choice(["right", "overlapping", "entangled", "read-only", "shape", "dtype"])
    out = np.full(y.shape, np.nan, np.float32)
    if how == "overlapping":
        first = operands[0]
        out = first.numpy() if torch.is_tensor(first) else first
    elif how == "entangled":
        out = np.lib.stride_tricks.as_strided(out, y.shape, (4,) * y.ndim)
    elif how == "read-only":
        out.flags.writeable = False
    elif how == "shape":
        out = np.full(other_shape(rng, y.shape), np.nan, np.float32)
        how = "right" if out.shape == y.shape else how
    elif how == "dtype":
        out = out.astype(np.float64)
    return how, out
