"""A block: a program for each group of parts that is computed strip by strip, and for the gate."""

from __future__ import annotations

from depthwise.machine.target import Target
from depthwise.problem.block import BlockSpec
from depthwise.programs import gate, strips
from depthwise.programs.build import Program
from depthwise.schedule.chain import Chain
from depthwise.schedule.gate import Gate
from depthwise.schedule.groups import launches
from depthwise.schedule.plan import BlockPlan


def programs(spec: BlockSpec, plan: BlockPlan, target: Target) -> tuple[Program, ...]:
    """Return the programs of the launches that run no convolution's code, in their order."""
    found = []
    for launch in launches(spec, plan, target):
        if isinstance(launch, Chain):
            found.append(strips.program(launch))
        elif isinstance(launch, Gate):
            found.append(gate.program(launch))
    return tuple(found)
