"""How long a model, a network and its steps take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from depthwise.machine import team
from depthwise.measure.timing import Summary, sample
from depthwise.network import report
from depthwise.network.steps import Call, Stage, Work
from depthwise.torch.network.calls import read
from depthwise.torch.network.optimized import Optimized
from depthwise.torch.network.tracing import is_view
from depthwise.torch.optimize_report import Row

_REPEATS, _SECONDS = 5, 0.3
_OF_SIZES = ("aten.sym_size.int", "getitem", "add", "sub", "mul", "floordiv", "mod")
"""What is computed of numbers; with the launches, it is the time between the rows."""


def call(model: Callable[..., Any], args: Sequence[Any]) -> float:
    """Return the microseconds of a call: the median of some, fewer where one takes long."""
    with torch.no_grad():
        return Summary.of(sample(lambda: model(*args), _REPEATS, most_seconds=_SECONDS)).median


def conditions(args: tuple[Any, ...]) -> str:
    """Return the number of threads and the inputs of what is timed, in words."""
    tensors = [each for each in pytree.tree_leaves(args) if isinstance(each, Tensor)]
    types = [str(each.dtype).removeprefix("torch.") for each in tensors]
    return report.conditions(team.size(), [tuple(each.shape) for each in tensors], types)


def rows(fast: Optimized, inputs: Sequence[Any]) -> tuple[tuple[Row, ...], float]:
    """Return the parts of a network with their times, and the time of a whole call."""
    ready = fast.ready(inputs)
    total = call(ready, (inputs,))
    with torch.no_grad():
        times = ready.execution.times(inputs, _REPEATS)
    kernels = ready.execution.kernels()
    program = fast.network.program
    found = [
        Row(
            name="(input)", kind="torch", problem="to channels-last", plan=None, before_us=0.0,
            after_us=times[number], reason="kernels take channels-last images",
        )
        for number in range(len(program.inputs))
        if number in times
    ]  # fmt: skip
    for step, part in zip(program.steps, report.parts_of(program, kernels), strict=True):
        if part.problem not in _OF_SIZES:
            found.append(
                Row(
                    name=part.name,
                    kind=part.kind if isinstance(step.work, Stage) else "torch",
                    problem=part.problem,
                    plan=part.plan,
                    before_us=step.before_us,
                    after_us=times.get(step.outputs[0], 0.0),
                    reason=part.reason or _why_torch(step.work),
                )
            )
    return tuple(found), total


def _why_torch(work: Work) -> str | None:
    if isinstance(work, Stage):
        return None
    moves = isinstance(work, Call) and not is_view(read(work.payload).callable)
    return "no kernel computes it" if moves else "it moves nothing"
