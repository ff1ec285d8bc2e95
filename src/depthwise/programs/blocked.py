"""Depthwise NCHW[x]c: the program of a channels-last image, called for each block of channels."""

from __future__ import annotations

from math import prod
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.programs import channels_last
from depthwise.programs.build import SYMBOL, TASKS, Program, task_count
from depthwise.schedule import blocked as rule
from depthwise.schedule.plan import Plan

Expr: TypeAlias = Any


def programs(spec: ConvSpec, plan: Plan, target: Target) -> tuple[Program]:
    """Return the one program of a convolution."""
    block = rule.block_of(spec)
    definition, function = channels_last.transform.functions(block, plan, target)
    functions = {"block": function, SYMBOL: _kernel(spec, block, task_count(function))}
    return (Program({SYMBOL: definition}, functions, target),)


def _kernel(spec: ConvSpec, block: ConvSpec, tasks: int) -> tirx.PrimFunc:
    """Return the kernel, whose tasks are those of all blocks, the first ones of each first."""
    blocks = spec.channels // block.channels
    sizes = {"X": spec.input_shape, "K": (blocks, prod(block.weight_shape))}
    sizes |= {"bias": (spec.channels,)} if spec.bias else {}
    sizes["Y"] = spec.output_shape
    with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
        T.func_name("main")
        T.func_attr({TASKS: spec.batch * blocks * tasks})
        arrays = {
            name: T.arg(name, T.Buffer((prod(shape),), spec.element.tvm))
            for name, shape in sizes.items()
        }
        first, last = T.arg("first", T.int32()), T.arg("last", T.int32())
        with T.serial(first // tasks, (last + (tasks - 1)) // tasks) as image:
            before = T.Bind(image * tasks)
            starts = {
                "X": image * prod(block.input_shape),
                "K": image % blocks * prod(block.weight_shape),
                "bias": image % blocks * block.channels,
                "Y": image * prod(block.output_shape),
            }
            addresses = [T.address_of(array[starts[name]]) for name, array in arrays.items()]
            begin, end = T.max(first - before, 0), T.min(last - before, tasks)
            T.evaluate(tirx.call_extern("void", "block", *addresses, begin, end))
    return builder.get()
