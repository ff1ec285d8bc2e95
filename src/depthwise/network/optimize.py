"""From the graph of a trained network to the program that runs: the page to read first.

graph -> simplify -> stage_quantized -> merge -> absorb -> separate_groups -> join
      -> stage_ends, stage_softmax, stage_pixels, stage_pools, stage_resizes, stage_channels,
         stage_chains -> lowered
"""

from __future__ import annotations

from depthwise.network.absorb import absorb
from depthwise.network.chains import stage_chains
from depthwise.network.channels import stage_channels
from depthwise.network.engine import Engine
from depthwise.network.graph import Graph
from depthwise.network.grouped import separate_groups
from depthwise.network.join import join
from depthwise.network.lower import lowered
from depthwise.network.merge import merge
from depthwise.network.pixels import stage_pixels
from depthwise.network.pools import stage_pools
from depthwise.network.quantized import stage_quantized
from depthwise.network.quantized_images import stage_ends
from depthwise.network.resizes import stage_resizes
from depthwise.network.simplify import simplify
from depthwise.network.softmax import stage_softmax
from depthwise.network.steps import Program


def optimized(graph: Graph, engine: Engine) -> Program:
    """Return the program of a graph, which the passes change.

    Quantized computations become kernels of whole numbers; branches that are summed are merged;
    batch norms are folded into the convolutions before them; convolutions in several groups become
    several in one; convolutions with what surrounds them become one kernel where one computes them,
    and so do pools and functions of each element; images are channels-last from one end to the
    other.  What no kernel computes is left to the engine.
    """
    simplify(graph)
    stage_quantized(graph)
    merge(graph)
    absorb(graph)
    separate_groups(graph)
    join(graph)
    stages = (
        stage_ends,
        stage_softmax,
        stage_pixels,
        stage_pools,
        stage_resizes,
        stage_channels,
        stage_chains,
    )
    while any(stage(graph) for stage in stages):
        pass
    return lowered(graph, engine)
