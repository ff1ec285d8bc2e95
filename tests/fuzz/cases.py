"""Calls of every function, operator, kernel and module that takes arrays, each with a reference.

A case is what is called, what computes the same in PyTorch, the shapes that fit, and whether it
takes NumPy arrays and `out=`: True, False where it takes no output, None where it takes tensors
alone.  (All integers, so that every order of summation gives the same bits.)
"""

from __future__ import annotations

from functools import cache

import torch
from torch import nn
from torch.nn import functional

import depthwise as dw
import depthwise.torch as dwt
from depthwise.functions import gradients
from depthwise.torch import convolution, fused, pointwise

WINDOW = (1, 1), (1, 1, 1, 1), (1, 1)
STAGE = "depthwise c4 hw5 k3 p1 bias nhwc"
BLOCKS = {"activation": "relu", "padding": 1}


def conv2d(x, weight, bias=None, padding=1):
    return functional.conv2d(x, weight, bias, padding=padding, groups=x.shape[-3])


def conv1d(x, weight, bias):
    return functional.conv1d(x, weight, bias, padding=1, groups=x.shape[-2])


def causal(x, state, weight, bias):
    """Return what a causal convolution with three taps makes of x and what came before it."""
    taps = weight[:, None] if weight.dim() == 2 else weight
    if x.dim() not in (2, 3) or bias.dim() != 1 or taps.shape[1:2] != (1,) or 0 in taps.shape:
        raise RuntimeError("no sequences, or no taps")
    following = torch.zeros(*x.shape[:-1], 1, dtype=x.dtype)
    together = torch.cat([state, x, following], -1)[..., -(x.shape[-1] + taps.shape[2]) :]
    return functional.conv1d(together, taps, bias, groups=x.shape[-2])[..., :-1]


def from_zeros(x, weight, bias):
    return causal(x, torch.zeros(*x.shape[:-1], weight.shape[-1] - 1), weight, bias)


def step(x, state, weight, bias):
    if state.dim() != 3 or x.dim() not in (2, 3):
        raise RuntimeError("no states")
    y = causal(x if x.dim() == 3 else x[..., None], state, weight, bias)
    return y if x.dim() == 3 else y[..., 0]


def mixed(x, weight, bias=None):
    return functional.conv2d(x, weight.reshape(*weight.shape[:2], 1, 1), bias)


def added(y, residual):
    if y.dtype != residual.dtype or (y.shape != residual.shape and y.numel()):
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


def sequences(reference):
    """Return a reference that takes sequences with a batch and weights of two axes only."""

    def checked(x, *others):
        weight = others[1]
        if x.dim() != 3 or x.shape[1] == 0 or weight.dim() != 2:
            raise RuntimeError("no sequences")
        return reference(x, *others)

    return checked


def of_any_type(x, state, weight, bias):
    if not state.is_floating_point():
        raise RuntimeError("no state of floating point")
    return causal(x, state.to(x.dtype), weight, bias)


def causal_gradient(grad, x, weight):
    if grad.shape != x.shape:
        raise RuntimeError("another gradient")
    zeros = torch.zeros_like(weight).requires_grad_()
    y = from_zeros(x, zeros, torch.zeros(x.shape[1]))
    return torch.autograd.grad(y, zeros, grad)[0]


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
    "causal_conv1d": (dw.causal_conv1d, from_zeros, (SEQUENCE, (4, 3), BIAS), True),
    "causal_conv1d_update": (
        dw.causal_conv1d_update, step, (SEQUENCE, (1, 4, 2), (4, 3), BIAS), True,
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
CASES |= {
    "dispatched causal_conv1d": (
        lambda x, b, w: ours.causal_conv1d(x, w, b, None, None, None, 1, False)[0],
        sequences(lambda x, b, w: from_zeros(x, w, b)), (SEQUENCE, BIAS, (4, 3)), None,
    ),
    "dispatched causal_conv1d_update": (
        lambda x, s, w, b: ours.causal_conv1d_update(x, s, w, b, None, None, None),
        sequences(of_any_type), (SEQUENCE, (1, 4, 2), (4, 3), BIAS), None,
    ),
    "dispatched causal_conv1d_gradients": (
        lambda g, x, w: ours.causal_conv1d_gradients(g, x, w, None, None, None, None, 1)[1],
        sequences(causal_gradient), (SEQUENCE, SEQUENCE, (4, 3)), None,
    ),
}  # fmt: skip
CASES["compute"] = (
    lambda x, w, b: ours.compute(x, [w, b], [], STAGE),
    lambda x, w, b: four(conv2d)(x, w[..., 0] if w.shape[4:] == (1,) else w, b),
    (IMAGE, TAPS, BIAS), None,
)  # fmt: skip


def packed(x):
    """Return blocks of three channels of (N, C, H, W), zero beyond the last."""
    if x.dim() != 4:
        raise RuntimeError("no image")
    n, c, h, w = x.shape
    blocks = -(-c // 3)
    filled = functional.pad(x, (0, 0, 0, 0, 0, 3 * blocks - c))
    return filled.reshape(n, blocks, 3, h, w).permute(0, 1, 3, 4, 2)


def unpacked(y):
    """Return four channels of what `packed` made of them."""
    if y.dim() != 5 or 0 in y.shape or -(-4 // y.shape[4]) != y.shape[1]:
        raise RuntimeError("no blocks of four channels")
    n, blocks, h, w, size = y.shape
    return y.permute(0, 1, 4, 2, 3).reshape(n, blocks * size, h, w)[:, :4]


def filled(module):
    """Return a module, its parameters whole numbers."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_((torch.arange(parameter.numel()) % 5 - 2).view_as(parameter))
    return module.eval()


KERNEL = dw.compile("depthwise c4 hw5 k3 p1 bias")
MODULES = {
    "DepthwiseConv2d": (lambda: dwt.DepthwiseConv2d(4, 4, 3, padding=1), nn.Conv2d, IMAGE),
    "DepthwiseConv1d": (lambda: dwt.DepthwiseConv1d(4, 4, 3, padding=1), nn.Conv1d, SEQUENCE),
    "PointwiseConv2d": (lambda: dwt.PointwiseConv2d(4, 4), nn.Conv2d, IMAGE),
}
PLAIN = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.ReLU(), nn.Conv2d(4, 4, 1))


@cache
def network():
    return dwt.optimize(filled(PLAIN), torch.zeros(IMAGE))


def optimized(x):
    return network()(x)


def batched(x):
    if x.shape[1:] != IMAGE[1:] or x.dtype != torch.float32:
        raise RuntimeError("another image")
    return filled(PLAIN)(x)


def exactly(*shapes):
    """Return a reference that takes these shapes alone, as a compiled kernel does."""

    def checked(*tensors):
        x, w, b = (
            tensor[..., 0] if tensor.shape == (*shape, 1) else tensor
            for tensor, shape in zip(tensors, shapes, strict=True)
        )
        if (x.shape, w.shape, b.shape) != shapes:
            raise RuntimeError("another problem")
        return conv2d(x, w, b)

    return checked


CASES |= {
    "pack_nchwc": (lambda x: dw.pack_nchwc(x, 3), packed, (IMAGE,), False),
    "unpack_nchwc": (lambda y: dw.unpack_nchwc(y, 4), unpacked, ((1, 2, 5, 5, 3),), False),
    "compile kernel": (KERNEL, exactly(IMAGE, TAPS, BIAS), (IMAGE, TAPS, BIAS), True),
    "compile bound": (
        lambda x, w, b, **k: KERNEL.bind(w, b)(x, **k), exactly(IMAGE, TAPS, BIAS),
        (IMAGE, TAPS, BIAS), True,
    ),
    "optimize network": (optimized, batched, (IMAGE,), None),
}  # fmt: skip
for _name, (_make, _plain, _shape) in MODULES.items():
    _module = filled(_make())
    CASES[f"{_name} module"] = (
        _module, lambda x, f=_plain.forward, m=_module: f(m, x), (_shape,), None
    )  # fmt: skip
