"""Causal convolution with state, written with its schedule; see `schedule/causal.py`.

A task is some rows of the table, one after the other, and of each a run of channels.
"""

from __future__ import annotations

from math import prod
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.causal import CausalSpec
from depthwise.programs import define_causal
from depthwise.programs.build import SYMBOL, TASKS, Program
from depthwise.programs.causal_channels import AcrossChannels
from depthwise.programs.causal_rows import Sequences, wide
from depthwise.programs.causal_steps import OneTime
from depthwise.programs.causal_times import AlongTime
from depthwise.schedule import causal as rule
from depthwise.schedule.plan import Plan

Expr: TypeAlias = Any

ANYWHERE = 2**40
"""The elements that x, y and the states are declared with: the table says where they are read."""
TABLE = 2**32


def programs(spec: CausalSpec, plan: Plan, target: Target) -> tuple[Program]:
    """Return the one program of a causal convolution."""
    del plan
    function = _function(spec, target)
    return (Program({SYMBOL: define_causal.define(spec)}, {SYMBOL: function}, target),)


def _function(spec: CausalSpec, target: Target) -> tirx.PrimFunc:
    """Return a function of the problem's arrays, the table and a run of tasks."""
    sizes = {name: prod(shape) for name, shape in spec.operands.items()}
    sizes |= dict.fromkeys([*["state"] * bool(spec.state), "x", "y"], ANYWHERE)
    writer = OneTime if rule.one_time(spec) else AcrossChannels if spec.channels_last else AlongTime
    with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
        T.func_name("main")
        T.func_attr({TASKS: 1})
        arrays = {
            name: T.arg(name, T.Buffer((sizes[name],), spec.element.tvm))
            for name in ("x", *spec.operands)
        }
        table = T.arg(rule.ROWS, T.Buffer((TABLE,), "int64"))
        arrays["y"] = T.arg("y", T.Buffer((ANYWHERE,), spec.element.tvm))
        first, last = T.arg("first", T.int32()), T.arg("last", T.int32())
        header = {name: T.Bind(table[at]) for at, name in enumerate(rule.HEADER)}
        runs, size = rule.runs(spec, target), rule.channels_of_a_run(spec, target)
        with T.serial(first, last) as task:
            group, run = T.Bind(wide(task) // runs), T.Bind(wide(task) % runs)
            begin = T.Bind(run * size)
            end = T.Bind(T.min(begin + size, wide(spec.channels)))
            row = T.Bind(group * header["rows_of_a_task"])
            rows = T.Bind(T.min(row + header["rows_of_a_task"], header["rows"]))
            sequences = Sequences(spec, target, arrays, table, header)
            writer(sequences).tasks(row, rows, begin, end)
    return builder.get()
