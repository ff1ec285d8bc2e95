"""Programs made by transforming a convolution's definition in a `tvm.s_tir.Schedule`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import s_tir, tirx

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.programs.build import SYMBOL, Program
from depthwise.programs.define import define, join_segments
from depthwise.schedule.plan import Plan
from depthwise.schedule.rule import ConvRule


@dataclass(frozen=True)
class Transform:
    """The writer of a rule whose program is its definition transformed."""

    rule: ConvRule
    apply: Callable[[s_tir.Schedule, ConvSpec, Plan, Target], None]
    """Transforms the definition in place."""

    def __call__(self, spec: ConvSpec, plan: Plan, target: Target) -> tuple[Program]:
        """Return the one program of a convolution."""
        definition, function = self.functions(spec, plan, target)
        return (Program({SYMBOL: definition}, {SYMBOL: function}, target),)

    def functions(
        self, spec: ConvSpec, plan: Plan, target: Target
    ) -> tuple[tirx.PrimFunc, tirx.PrimFunc]:
        """Return the definition and what it becomes."""
        form = self.rule.form(spec, plan, target)
        definition = define(spec, form)
        sch = s_tir.Schedule(definition)
        self.apply(sch, spec, plan, target)
        return definition, join_segments(sch.mod["main"], spec, form)


def register_tile(sch: Any, name: str = "") -> tuple[Any, Any]:
    """Split the output into the sum, kept in registers, and the store.

    Before: `Y[..] += x * k` in memory, or `Acc` in memory and `Y` from it.
    After: the sum goes to a local buffer that a second block writes to `Y`.

    Returns:
        The block of the sum and the block of the store.
    """
    if (acc := find_block(sch, "Acc" + name)) is not None:
        sch.set_scope(acc, 0, "local")
        return acc, sch.get_sblock("Y" + name)
    total = sch.get_sblock("Y" + name)
    return total, sch.cache_write(total, 0, "local")


def find_block(sch: Any, name: str) -> Any | None:
    """Return the block of that name, or None where the program has none."""
    for found in sch.get_child_blocks(sch.get_sblock("root")):
        if sch.get(found).name_hint == name:
            return found
    return None
