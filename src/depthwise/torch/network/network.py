"""A network as steps: stages of ours and operators of torch, each from earlier values to one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from torch import Tensor, fx, nn

from depthwise.errors import ModelError
from depthwise.torch.network.absorb import draft_of
from depthwise.torch.network.naming import called
from depthwise.torch.network.operators import function, is_stage, target_name
from depthwise.torch.network.simplify import covers
from depthwise.torch.network.stage import Stage
from depthwise.torch.network.tracing import Trace


@dataclass(frozen=True)
class Ref:
    """The value of a number: the inputs come first, then the constants, then each step's."""

    number: int


@dataclass(frozen=True)
class Step:
    """One computation of a network.

    Attributes:
        name: the modules of the model that it stands for.
        function: the number of a stage, or the name of a function of torch.
        args: its arguments, with a `Ref` for each value.
        kwargs: the same by name.
        output: the number of its result.
        before_us: the microseconds that its part took in the model.
        reason: why it is left to torch; None where it is not, or there is nothing to say.
    """

    name: str
    function: int | str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    output: int = 0
    before_us: float = 0.0
    reason: str | None = None

    @property
    def inputs(self) -> list[int]:
        """The numbers of the values that it takes."""
        found: list[int] = []
        filled((self.args, self.kwargs), found.append)
        return found


Values: TypeAlias = "list[Any]"


def filled(arguments: Any, value: Callable[[int], Any]) -> Any:
    """Return arguments with each reference replaced by its value."""
    if isinstance(arguments, Ref):
        return value(arguments.number)
    if isinstance(arguments, (tuple, list)):
        return type(arguments)([filled(each, value) for each in arguments])
    if isinstance(arguments, dict):
        return {name: filled(each, value) for name, each in arguments.items()}
    return arguments


class Network(nn.Module):
    """Steps, and the weights that they take; from a list of tensors to a list of results.

    Attributes:
        inputs: how many of the values are given.
        steps: what is computed, in order.
        results: what is returned, with a `Ref` for each value.
        stages: the problems that our kernels compute.
    """

    def __init__(
        self,
        inputs: int,
        constants: Sequence[Tensor],
        stages: Sequence[Stage],
        steps: Sequence[Step],
        results: Any,
    ) -> None:
        super().__init__()
        self.inputs, self.steps, self.results = inputs, tuple(steps), results
        self.stages = nn.ModuleList(stages)
        self._constants = len(constants)
        for number, constant in enumerate(constants):
            self.register_buffer(f"constant{number}", constant.detach().clone())

    def constants(self) -> list[Tensor]:
        """Return the tensors that are the same in each call, other than the stages' weights."""
        return [self.get_buffer(f"constant{number}") for number in range(self._constants)]

    def stage(self, step: Step) -> Stage | None:
        """Return the stage that a step computes, or None where it is torch's."""
        if isinstance(step.function, str):
            return None
        found = self.stages[step.function]
        assert isinstance(found, Stage)
        return found

    def kernels(self) -> list[Stage]:
        """Return the stages."""
        return [stage for stage in self.stages if isinstance(stage, Stage)]

    def forward(self, *inputs: Any) -> Any:
        """Compute step by step, as anyone may watch: torch's tracers, fake tensors, other modes."""
        wanted: list[int] = []
        filled(self.results, wanted.append)
        results = {number: value for number, value in self.values(inputs) if number in wanted}
        return filled(self.results, results.__getitem__)

    def values(self, inputs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Yield each value with its number; those that no step needs any more are let go of."""
        values = dict(enumerate([*inputs, *self.constants()]))
        yield from values.items()
        last = {number: step for step in self.steps for number in step.inputs}
        for step in self.steps:
            args, kwargs = filled((step.args, step.kwargs), values.__getitem__)
            compute = self.stage(step) or function(str(step.function))
            values[step.output] = compute(*args, **kwargs)
            del args, kwargs
            yield step.output, values[step.output]
            for number in {*step.inputs, step.output}:
                if last.get(number, step) is step:
                    del values[number]


def lowered(trace: Trace) -> Network:
    """Return the network of a graph.

    Raises:
        ModelError: the graph calls something that cannot be saved.
    """
    nodes = list(trace.graph.nodes)
    used = {each for node in nodes if node not in trace.constants for each in node.all_input_nodes}
    kept = [node for node in nodes if node in trace.constants and node in used]
    numbers = {node: number for number, node in enumerate([*trace.inputs, *kept])}
    stages: list[Stage] = []
    steps: list[Step] = []
    results: Any = None
    for node in nodes:
        if node.op == "output":
            results = _referring(node.args[0], numbers)
        elif node not in numbers and node not in trace.constants:
            numbers[node] = len(numbers)
            steps.append(_step(node, numbers, stages))
    constants = [trace.constants[node] for node in kept]
    return Network(len(trace.inputs), constants, stages, steps, results)


def _step(node: fx.Node, numbers: dict[fx.Node, int], stages: list[Stage]) -> Step:
    args, kwargs = (_referring(each, numbers) for each in (node.args, node.kwargs))
    before = sum(each.meta.get("us", 0.0) for each in dict.fromkeys(covers(node)))
    if is_stage(node):
        draft = draft_of(node)
        stages.append(Stage(draft.spec, draft.operands))
        return Step(called(node), len(stages) - 1, tuple(args), {}, numbers[node], before)
    target = target_name(node.target)
    if target is None:
        raise ModelError(f"a model calls torch's operators; got {node.format_node()}")
    reason = node.meta.get("reason")
    return Step(called(node), target, tuple(args), dict(kwargs), numbers[node], before, reason)


def _referring(arguments: Any, numbers: dict[fx.Node, int]) -> Any:
    refer: Any = lambda node: Ref(numbers[node])  # noqa: E731 (fx knows of no references)
    return fx.node.map_arg(arguments, refer)
