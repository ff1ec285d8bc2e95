"""Causal convolution with state in NumPy and float64."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from depthwise.problem.causal import CausalSpec
from depthwise.problem.oracle.activations import activate
from depthwise.problem.oracle.planes import Array


def compute(spec: CausalSpec, given: Mapping[str, Array]) -> Array:
    """Return y."""
    return as_given(spec, activate(spec.activation, sums(spec, given)))


def sums(spec: CausalSpec, given: Mapping[str, Array]) -> Array:
    """Return (N, C, L): at each time the sum of what each tap reads of the state and of x."""
    source, taps = whole(spec, given, spec.before), given["weight"][:, 0]
    found = np.zeros((spec.batch, spec.channels, spec.length))
    for tap in range(spec.kernel):
        start = spec.dilation * tap
        with np.errstate(invalid="ignore"):
            found += source[:, :, start : start + spec.length] * taps[:, tap, None]
    return found + given["bias"][:, None] if spec.bias else found


def final_state(spec: CausalSpec, given: Mapping[str, Array]) -> Array:
    """Return what a call leaves in the state: the last elements of state and x together."""
    source = whole(spec, given, spec.state)
    return as_given(spec, source[:, :, source.shape[2] - spec.state :])


def whole(spec: CausalSpec, given: Mapping[str, Array], before: int) -> Array:
    """Return (N, C, before + L): the last elements before each sequence, then the sequence."""
    x = as_given(spec, given["x"])
    old = as_given(spec, given["state"]) if spec.state else np.zeros((*x.shape[:2], before))
    return np.concatenate([old[:, :, old.shape[2] - before :], x], axis=2)


def as_given(spec: CausalSpec, sequences: Array) -> Array:
    """Return (N, C, L) of what the problem has, or the other way round."""
    return sequences.swapaxes(1, 2) if spec.channels_last else sequences
