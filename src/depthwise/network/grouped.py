"""Convolutions in some groups, neither one nor as many as channels, as convolutions in one group.

Each reads a run of the channels and makes a run of the result.  Several groups become one where
that takes less time: their weights lie in blocks on the diagonal, with zeros beside them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np

from depthwise.network.draft import Draft, convolution
from depthwise.network.graph import Graph, Node, Value
from depthwise.network.merge import in_groups
from depthwise.network.operators import Concat, Convolution, Slice
from depthwise.problem.spec import ConvSpec

_LANES = 16
"""Channels of a result that are computed at once, on most machines."""
_MACS_OF_A_LAUNCH = 2**18
"""What is computed in the time that it takes to run one kernel more."""


def separate_groups(graph: Graph) -> None:
    """Put convolutions in one group in the place of those in several."""
    for node in list(graph.nodes):
        if isinstance(node.operator, Draft):
            conv = node.operator.conv
            if conv is not None and conv.kind == "conv" and conv.groups > 1:
                _separate(graph, node, node.operator, conv)


def _separate(graph: Graph, node: Node, draft: Draft, conv: ConvSpec) -> None:
    groups = fewest_cycles(conv)
    weight = in_groups(draft.operands["weight"], conv.groups, groups)
    weight = weight.astype(draft.operands["weight"].dtype)
    x = cast(Value, node.inputs[0])
    how = Convolution(stride=conv.stride, padding=conv.padding, dilation=conv.dilation, groups=1)
    parts = []
    for number in range(groups):
        run = _run(graph, node, x, number, groups)
        mine = {name: np.split(a, groups)[number] for name, a in draft.operands.items()}
        one = convolution(
            cast("tuple[int, ...]", run.shape), np.split(weight, groups)[number],
            mine.get("bias"), how,
        )  # fmt: skip
        spec = replace(cast(ConvSpec, one.spec), activation=conv.activation)
        part = graph.insert(node, replace(one, spec=spec), [run], like=node.output)
        part.output.resize(1, conv.out_channels // groups)
        parts.append(part)
    parts[0].covers, parts[0].before_us = node.covers, node.before_us
    if groups == 1:
        node.covers, node.before_us = [], 0.0
        graph.stand_in(node, parts[0])
        return
    whole = graph.insert(node, Concat(axis=1), [part.output for part in parts], like=node.output)
    node.covers, node.before_us = [], 0.0
    graph.stand_in(node, whole)


def fewest_cycles(conv: ConvSpec) -> int:
    """Return in how many groups a convolution takes the least time."""

    def cost(groups: int) -> int:
        inputs, outputs = conv.channels // groups, conv.out_channels // groups
        in_vectors = -(-outputs // _LANES) * _LANES
        pixels = conv.batch * conv.out_height * conv.out_width
        macs = inputs * conv.kernel[0] * conv.kernel[1] * in_vectors * pixels
        return groups * (macs + _MACS_OF_A_LAUNCH)

    return min((g for g in range(1, conv.groups + 1) if conv.groups % g == 0), key=cost)


def _run(graph: Graph, node: Node, x: Value, number: int, groups: int) -> Value:
    """Return the channels that one of the groups takes."""
    if groups == 1:
        return x
    channels = cast("tuple[int, ...]", x.shape)[1] // groups
    cut = Slice(axis=1, start=number * channels, stop=(number + 1) * channels)
    made = graph.insert(node, cut, [x], like=x).output
    made.resize(1, channels)
    return made
