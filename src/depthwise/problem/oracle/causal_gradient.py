"""The gradients of a causal convolution in NumPy and float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from depthwise.problem.causal import CausalSpec
from depthwise.problem.causal_gradient import CausalGradientSpec
from depthwise.problem.oracle.causal import as_given, sums, whole
from depthwise.problem.oracle.planes import Array


def compute(spec: CausalGradientSpec, given: Mapping[str, Array]) -> Array:
    """Return all gradients, one behind the other."""
    conv = spec.conv
    slope = _SLOPES[conv.activation or ""](sums(conv, given))
    grad = as_given(conv, given["grad"]) * slope
    taps, before = given["weight"][:, 0], whole(conv, given, conv.before)
    of_all = np.zeros_like(before)
    of_taps = np.zeros_like(given["weight"])
    for tap in range(conv.kernel):
        start = conv.dilation * tap
        window = slice(start, start + conv.length)
        of_all[:, :, window] += grad * taps[:, tap, None]
        of_taps[:, 0, tap] = (grad * before[:, :, window]).sum(axis=(0, 2))
    parts = [as_given(conv, of_all[:, :, conv.before :]), of_taps]
    parts += [grad.sum(axis=(0, 2))] if conv.bias else []
    parts += [_of_state(conv, of_all)] if conv.state else []
    return np.concatenate([part.ravel() for part in parts])


def _of_state(conv: CausalSpec, of_all: Array) -> Array:
    """Return the gradient of the state, of which the taps reach the last elements alone."""
    unread = conv.state - conv.before
    reached = of_all[:, :, : conv.before]
    return as_given(conv, np.pad(reached, ((0, 0), (0, 0), (unread, 0))))


def _sigmoid(x: Array) -> Array:
    return np.asarray(np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x))))


_SLOPES: dict[str, Callable[[Array], Array]] = {
    "": np.ones_like,
    "relu": lambda x: np.asarray(x > 0, np.float64),
    "sigmoid": lambda x: np.asarray(_sigmoid(x) * _sigmoid(-x)),
    "silu": lambda x: np.asarray(_sigmoid(x) * (1 + x * _sigmoid(-x))),
}
