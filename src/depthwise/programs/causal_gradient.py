"""The gradients of a causal convolution; see `schedule/causal_gradient.py`."""

from __future__ import annotations

from math import prod
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.causal_gradient import CausalGradientSpec
from depthwise.programs import define_causal_gradient
from depthwise.programs.build import SYMBOL, TASKS, Program
from depthwise.programs.causal import ANYWHERE, TABLE
from depthwise.programs.causal_gradient_channels import AcrossChannels
from depthwise.programs.causal_gradient_rows import Gradients
from depthwise.programs.causal_gradient_times import AlongTime
from depthwise.programs.causal_rows import wide
from depthwise.schedule import causal_gradient as rule
from depthwise.schedule.plan import Plan

Expr: TypeAlias = Any


def programs(spec: CausalGradientSpec, plan: Plan, target: Target) -> tuple[Program]:
    """Return the one program of the gradients of a causal convolution."""
    del plan
    function = _function(spec, target)
    definition = define_causal_gradient.define(spec)
    return (Program({SYMBOL: definition}, {SYMBOL: function}, target),)


def _function(spec: CausalGradientSpec, target: Target) -> tirx.PrimFunc:
    """Return a function of the problem's arrays, the table and a run of tasks."""
    sizes = {name: prod(shape) for name, shape in spec.operands.items()}
    sizes |= dict.fromkeys([*["state"] * bool(spec.conv.state), "grad", "x", "y"], ANYWHERE)
    writer = AcrossChannels if spec.conv.channels_last else AlongTime
    with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
        T.func_name("main")
        T.func_attr({TASKS: 1})
        arrays = {
            name: T.arg(name, T.Buffer((sizes[name],), spec.element.tvm))
            for name in spec.array_names
        }
        table = T.arg(rule.ROWS, T.Buffer((TABLE,), "int64"))
        arrays["y"] = T.arg("y", T.Buffer((ANYWHERE,), spec.element.tvm))
        first, last = T.arg("first", T.int32()), T.arg("last", T.int32())
        header = {name: T.Bind(table[at]) for at, name in enumerate(rule.HEADER)}
        size = rule.channels_of_a_run(spec, target)
        with T.serial(first, last) as task:
            begin = T.Bind(wide(task) * size)
            end = T.Bind(T.min(begin + size, wide(spec.conv.channels)))
            writer(Gradients(spec, target, arrays, table, header)).task(begin, end)
    return builder.get()
