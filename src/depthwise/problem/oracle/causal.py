"""Causal convolution with state in NumPy and float64."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from depthwise.problem.causal import CausalSpec
from depthwise.problem.oracle.activations import activate
from depthwise.problem.oracle.planes import Array


def compute(spec: CausalSpec, given: Mapping[str, Array]) -> Array:
    """Return y: at each time the sum of what each tap reads of the state and of x."""
    whole = _whole(spec, given, spec.before)
    taps = given["weight"][:, 0]
    sums = np.zeros((spec.batch, spec.channels, spec.length))
    for tap in range(spec.kernel):
        start = spec.dilation * tap
        with np.errstate(invalid="ignore"):
            sums += whole[:, :, start : start + spec.length] * taps[:, tap, None]
    if spec.bias:
        sums += given["bias"][:, None]
    return _as_given(spec, activate(spec.activation, sums))


def final_state(spec: CausalSpec, given: Mapping[str, Array]) -> Array:
    """Return what a call leaves in the state: the last elements of state and x together."""
    whole = _whole(spec, given, spec.state)
    return _as_given(spec, whole[:, :, whole.shape[2] - spec.state :])


def _whole(spec: CausalSpec, given: Mapping[str, Array], before: int) -> Array:
    """Return (N, C, before + L): the last elements before each sequence, then the sequence."""
    x = _as_given(spec, given["x"])
    old = _as_given(spec, given["state"]) if spec.state else np.zeros((*x.shape[:2], before))
    return np.concatenate([old[:, :, old.shape[2] - before :], x], axis=2)


def _as_given(spec: CausalSpec, sequences: Array) -> Array:
    """Return (N, C, L) of what the problem has, or the other way round."""
    return sequences.swapaxes(1, 2) if spec.channels_last else sequences
