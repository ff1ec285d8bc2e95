"""The kernel clock of engines that take whole graphs and reorder at both ends of them.

A graph holds `COPIES` of the problem side by side on the same input, each under a max-pooling of
its whole plane; another holds one copy under the same poolings.  The first takes longer by
`COPIES - 1` times the kernels of the problem: reorders, poolings and the call itself are in both.
This is right whatever the shapes; where a problem can follow itself, a chain of it gives the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from depthwise.bench.peers.parts import Layer, convolutions
from depthwise.block import Spec

COPIES = 5
EXCLUDED = "weight packing, reorders at both ends, the call's own overhead"


def of(layers: Sequence[Layer], count: int) -> list[list[Layer]]:
    """Return so many copies of a problem; no two have the same first weights.

    (An optimiser of graphs would take equal ones for one.)
    """
    first, *others = layers
    weights = [first.weight * np.float32(1 + copy / 1024) for copy in range(count)]
    return [[replace(first, weight=weight), *others] for weight in weights]


def pooled_shape(spec: Spec) -> tuple[int, ...]:
    """Return the shape of the poolings' results, one behind the other along the channels."""
    return spec.batch, COPIES * convolutions(spec)[-1].out_channels, 1, 1
