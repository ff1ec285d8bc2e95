"""Calls of every function and operator with operands that do not fit: `mismatched.py SEED COUNT`.

Each draws one call of `CASES`, spoils some of its operands, and makes it in this process, which
would end where memory of others is read or written.  What is printed, as JSON, counts the calls
that were refused and those that were right, and describes those that were neither.
"""

import json
import random
import sys
from collections import Counter
from contextlib import suppress

import numpy as np
import torch
from torch.nn import functional

import depthwise as dw
from depthwise.errors import DepthwiseError, InternalError
from depthwise.functions import gradients
from depthwise.torch import convolution, fused, pointwise

WINDOW = (1, 1), (1, 1, 1, 1), (1, 1)
STAGE = "depthwise c4 hw5 k3 p1 bias nhwc"
BLOCKS = {"activation": "relu", "padding": 1}


def conv2d(x, weight, bias=None, padding=1):
    return functional.conv2d(x, weight, bias, padding=padding, groups=x.shape[-3])


def conv1d(x, weight, bias):
    return functional.conv1d(x, weight, bias, padding=1, groups=x.shape[-2])


def mixed(x, weight, bias=None):
    return functional.conv2d(x, weight.reshape(*weight.shape[:2], 1, 1), bias)


def added(y, residual):
    if y.shape != residual.shape or y.dtype != residual.dtype:
        raise RuntimeError("another residual")
    return y + residual


def inverted(x, expand, depthwise, project, residual):
    wide = mixed(x, expand).relu()
    return added(mixed(conv2d(wide, depthwise).relu(), project), residual)


def input_gradient(grad, weight):
    x = torch.zeros(*grad.shape[:-3], 4, 5, 5, dtype=grad.dtype, requires_grad=True)
    return torch.autograd.grad(conv2d(x, weight), x, grad)[0]


def weight_gradient(grad, x):
    weight = torch.zeros(grad.shape[-3], 1, 3, 3, dtype=grad.dtype, requires_grad=True)
    return torch.autograd.grad(conv2d(x, weight), weight, grad)[0].flatten()


def four(reference):
    """Return a reference that takes images with a batch only, as operators do."""

    def checked(first, *others):
        if first.dim() != 4:
            raise RuntimeError("no batch")
        return reference(first, *others)

    return checked


def residual_added(x, expand, depthwise, project, residual):
    return four(inverted)(x, expand, depthwise, project, residual)


IMAGE, SEQUENCE, BIAS = (1, 4, 5, 5), (1, 4, 5), (4,)
TAPS, MIX, WIDE = (4, 1, 3, 3), (4, 4), (4, 4, 1, 1)

ours = torch.ops.depthwise
CASES = {
    "depthwise_conv2d": (
        lambda x, w, b, **k: dw.depthwise_conv2d(x, w, b, padding=1, **k),
        conv2d, (IMAGE, TAPS, BIAS), True,
    ),
    "depthwise_conv1d": (
        lambda x, w, b, **k: dw.depthwise_conv1d(x, w, b, padding=1, **k),
        conv1d, (SEQUENCE, (4, 1, 3), BIAS), True,
    ),
    "pointwise_conv2d": (dw.pointwise_conv2d, mixed, (IMAGE, MIX, BIAS), True),
    "separable_conv2d": (
        lambda x, w, p, **k: dw.separable_conv2d(x, w, p, padding=1, **k),
        lambda x, w, p: mixed(conv2d(x, w), p), (IMAGE, TAPS, MIX), True,
    ),
    "inverted_residual": (
        lambda x, e, w, p, r, **k: dw.inverted_residual(x, e, w, p, residual=r, **BLOCKS, **k),
        inverted, (IMAGE, MIX, TAPS, WIDE, IMAGE), True,
    ),
    "input_gradient": (
        lambda g, w, **k: gradients.depthwise_conv2d_input_gradient(g, w, (5, 5), padding=1, **k),
        input_gradient, (IMAGE, TAPS), True,
    ),
    "weight_gradient": (
        lambda g, x: gradients.depthwise_conv2d_weight_gradient(g, x, (3, 3), padding=1),
        weight_gradient, (IMAGE, IMAGE), False,
    ),
}  # fmt: skip
for _kind, _conv2d, _input, _weight, _mix, _block in (
    ("dispatched", ours.conv2d, ours.conv2d_input_gradient, ours.conv2d_weight_gradient,
     ours.pointwise, ours.block),
    ("called", convolution.conv2d, convolution.conv2d_input_gradient,
     convolution.conv2d_weight_gradient, pointwise.pointwise, fused.block),
):  # fmt: skip
    CASES |= {
        f"{_kind} conv2d": (
            lambda x, w, b, f=_conv2d: f(x, w, b, *WINDOW), four(conv2d), (IMAGE, TAPS, BIAS), None,
        ),
        f"{_kind} input gradient": (
            lambda g, w, f=_input: f(g, w, IMAGE, *WINDOW), four(input_gradient), (IMAGE, TAPS),
            None,
        ),
        f"{_kind} weight gradient": (
            lambda g, x, f=_weight: f(g, x, (3, 3), *WINDOW, False)[0].flatten(),
            four(weight_gradient), (IMAGE, IMAGE), None,
        ),
        f"{_kind} pointwise": (_mix, four(mixed), (IMAGE, WIDE, BIAS), None),
        f"{_kind} block": (
            lambda x, e, w, p, r, f=_block: f(x, e, None, w, None, p, None, r, *WINDOW, "relu"),
            residual_added, (IMAGE, WIDE, TAPS, WIDE, IMAGE), None,
        ),
    }  # fmt: skip
CASES["compute"] = (
    lambda x, w, b: ours.compute(x, [w, b], None, STAGE),
    lambda x, w, b: four(conv2d)(x, w[..., 0] if w.shape[4:] == (1,) else w, b),
    (IMAGE, TAPS, BIAS), None,
)  # fmt: skip
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


def attempt(rng):
    """Make one call; return what became of it: refused, right, not tried, or what is wrong."""
    name = rng.choice([*CASES])
    call, reference, shapes, takes_out = CASES[name]
    drawn = [spoilt(rng, shape) for shape in shapes]
    operands = [tensor for _, tensor in drawn]
    hows = [how for how, _ in drawn]
    expected = None
    if "gone" not in hows:
        with suppress(RuntimeError, IndexError, ValueError, TypeError):
            expected = reference(*operands).detach()
        if expected is not None and [tuple(t.shape) for t in operands] != [*shapes]:
            return "not tried"  # another problem, whose kernel would have to be compiled
        if takes_out is not None and rng.random() < 0.5:
            operands = [as_array(rng, tensor) for tensor in operands]
    given = {}
    if takes_out and rng.random() < 0.3:
        y = torch.empty(shapes[0]) if expected is None else expected
        how, given["out"] = spoilt_out(rng, y, operands)
        hows.append(f"out {how}")
        expected = expected if how == "right" else None
    said = f"{name} {hows} {[tuple(o.shape) for o in operands]}"
    try:
        got = torch.as_tensor(call(*operands, **given))
    except InternalError as error:
        return f"{said}: {error}"
    except (DepthwiseError, RuntimeError):  # torch's are of the second kind
        return "refused"
    except Exception as error:
        return f"{said}: {type(error).__name__} {error}"
    if expected is None or got.shape != expected.shape or not torch.equal(got, expected):
        return f"{said}: returned {tuple(got.shape)}"
    return "right"


def main(seed, count):
    rng = random.Random(seed)
    counts = Counter(attempt(rng) for _ in range(count))
    sys.stdout.write(json.dumps(counts.most_common()))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
