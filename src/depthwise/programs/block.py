"""A block: a program for each group of parts that is computed strip by strip, and for the gate."""

from __future__ import annotations

from depthwise.machine.target import Target
from depthwise.problem.block import BlockSpec
from depthwise.programs import gate, strips
from depthwise.programs.build import Program
from depthwise.schedule.chain import Chain
from depthwise.schedule.gate import Gate
from depthwise.schedule.groups import groups
from depthwise.schedule.plan import BlockPlan


def programs(spec: BlockSpec, plan: BlockPlan, target: Target) -> tuple[Program, ...]:
    """Return the programs of the steps that run no convolution's code, in their order."""
    chains = [group for group in groups(spec, plan, target) if isinstance(group, Chain)]
    found = [strips.program(chain) for chain in chains]
    if spec.squeeze_excite:
        found.insert(-1, gate.program(Gate.of(spec, target)))
    return tuple(found)
