"""Channels gathered, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from depthwise.problem.gathers import GatherSpec
from depthwise.problem.oracle.planes import Array


def compute(spec: GatherSpec, given: Mapping[str, Array]) -> Array:
    """Return the channels that the picks name, in their order."""
    images = [given[name] for name in spec.array_names]
    found = []
    for pick in spec.picks:
        runs = [images[run.image][..., run.start : run.stop] for run in pick]
        in_turn = np.stack(runs, axis=-1)
        found.append(in_turn.reshape(*in_turn.shape[:-2], -1))
    return np.concatenate(found, axis=-1)
