"""How long a model, a network and its steps take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from depthwise.machine import team
from depthwise.measure.timing import Summary, sample
from depthwise.torch.network.network import Step
from depthwise.torch.network.operators import function
from depthwise.torch.network.optimized import Optimized
from depthwise.torch.network.tracing import is_view
from depthwise.torch.optimize_report import Row

_REPEATS, _SECONDS = 5, 0.3
_OF_SIZES = ("torch.ops.aten.sym_size.int", "getitem", "add", "sub", "mul", "floordiv", "mod")
"""What is computed of numbers; with the launches, it is the time between the rows."""


def call(model: Callable[..., Any], args: Sequence[Any]) -> float:
    """Return the microseconds of a call: the median of some, fewer where one takes long."""
    with torch.no_grad():
        return Summary.of(sample(lambda: model(*args), _REPEATS, most_seconds=_SECONDS)).median


def conditions(args: tuple[Any, ...]) -> str:
    """Return the number of threads and the inputs of what is timed, in words."""
    tensors = [each for each in pytree.tree_leaves(args) if isinstance(each, Tensor)]
    shapes = ["x".join(map(str, each.shape)) for each in tensors]
    types = {str(each.dtype).removeprefix("torch.") for each in tensors}
    return f"{team.in_words(team.size())}, inputs {', '.join(shapes)} {'/'.join(sorted(types))}"


def rows(fast: Optimized, inputs: Sequence[Any]) -> tuple[tuple[Row, ...], float]:
    """Return the parts of a network with their times, and the time of a whole call."""
    execution = fast.execution(inputs)
    total = call(execution, (inputs,))
    with torch.no_grad():
        times = execution.times(inputs, _REPEATS)
    kernels = execution.kernels()
    found = [
        Row(
            name="(input)", kind="torch", problem="to channels-last", plan=None, before_us=0.0,
            after_us=times[number], reason="kernels take channels-last images",
        )
        for number in range(fast.network.inputs)
        if number in times
    ]  # fmt: skip
    for step in fast.network.steps:
        if step.function in _OF_SIZES:
            continue
        stage = fast.network.stage(step)
        kernel = kernels.get(step.output)
        found.append(
            Row(
                name=step.name,
                kind="torch" if stage is None else stage.kind,
                problem=_torch_name(step) if stage is None else str(stage.spec),
                plan=None if kernel is None else str(kernel.plan),
                before_us=step.before_us,
                after_us=times.get(step.output, 0.0),
                reason=step.reason or (None if stage else _why_torch(step)),
            )
        )
    return tuple(found), total


def _why_torch(step: Step) -> str:
    return "it moves nothing" if is_view(function(str(step.function))) else "no kernel computes it"


def _torch_name(step: Step) -> str:
    return str(step.function).removeprefix("torch.ops.")
