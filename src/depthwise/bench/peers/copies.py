"""The kernel clock of engines that take whole graphs and reorder at both ends of them.

A graph holds `COPIES` of the problem and as many max-poolings of its whole plane; another holds one
copy under the same poolings.  The first takes longer by `COPIES - 1` times the kernels of the
problem: reorders, poolings and the call itself are in both.  Where the problem gives what it takes,
the copies follow one another, and the poolings stand on the last; elsewhere the copies stand side
by side on the same input, each under a pooling of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle, islice
from typing import TypeVar

import numpy as np

from depthwise.bench.peers.parts import Layer, convolutions
from depthwise.measure.engine import Array
from depthwise.problem.problem import Problem

COPIES = 5
EXCLUDED = "reorders at both ends, the call's own overhead"

T = TypeVar("T")


def outputs(
    spec: Problem,
    layers: Sequence[Layer],
    count: int,
    x: T,
    problem: Callable[[Sequence[Layer], T], T],
) -> list[T]:
    """Add copies of a problem to a graph; return what each of the poolings stands on.

    No two copies have the same first weights: an optimiser of graphs would take them for one.

    Args:
        spec: the problem.
        layers: what it consists of.
        count: how many copies, 1 or all.
        x: the input.
        problem: adds the problem to the graph and returns its output.
    """
    first, *others = layers
    found = [x]
    for copy in range(count):
        copied = replace(first, weight=_another(first.weight, copy))
        source = found[-1] if spec.input_shape == spec.output_shape else x
        found.append(problem([copied, *others], source))
    ends = found[-1:] if spec.input_shape == spec.output_shape else found[1:]
    return list(islice(cycle(ends), COPIES))


def _another(weight: Array, copy: int) -> Array:
    """Return weights of which no two copies have the same."""
    whole = weight.dtype.kind == "i"
    other: Array = weight ^ np.int8(copy) if whole else weight * np.float32(1 + copy / 1024)
    return other


def pooled_shape(spec: Problem) -> tuple[int, ...]:
    """Return the shape of the poolings' results, one behind the other along the channels."""
    return spec.batch, COPIES * convolutions(spec)[-1].out_channels, 1, 1
