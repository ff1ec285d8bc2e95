"""A network as a module: its weights, and its steps computed by torch where somebody watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from depthwise.network import steps
from depthwise.network.operators import Permute, Reshape
from depthwise.network.steps import Call, Program, Step, View
from depthwise.problem.arrays import as_tensor
from depthwise.torch.network.calls import filled, read
from depthwise.torch.network.constants import as_array
from depthwise.torch.network.functions import reshape
from depthwise.torch.network.stage import Stage


class Network(nn.Module):
    """A program with its arrays as buffers; from a list of tensors to a list of results.

    Attributes:
        results: what is returned, with a `Ref` for each of the program's results.
    """

    def __init__(self, program: Program, results: Any) -> None:
        super().__init__()
        self.results = results
        self.stages = nn.ModuleList(
            Stage(each.spec, {name: as_tensor(array) for name, array in each.operands.items()})
            for each in program.stages()
        )
        self._constants = len(program.constants)
        for number, array in enumerate(program.constants):
            self.register_buffer(f"constant{number}", as_tensor(array).clone())
        self._bare = _without_arrays(program)
        self._start()

    def _start(self) -> None:
        self.program = _with_arrays(self._bare, self.kernels(), self.constants())

    def constants(self) -> list[Tensor]:
        """Return the tensors that are the same in each call, other than the stages' weights."""
        return [self.get_buffer(f"constant{number}") for number in range(self._constants)]

    def kernels(self) -> list[Stage]:
        """Return the stages."""
        return [stage for stage in self.stages if isinstance(stage, Stage)]

    def forward(self, *inputs: Any) -> Any:
        """Compute step by step, as anyone may watch: torch's tracers, fake tensors, other modes."""
        wanted = self.program.results
        found = {number: value for number, value in self.values(inputs) if number in wanted}
        return filled(self.results, lambda place: found[wanted[place]])

    def values(self, inputs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Yield each value with its number; those that no step needs any more are let go of."""
        values = dict(enumerate([*inputs, *self.constants()]))
        yield from values.items()
        stages = iter(self.kernels())
        last = {number: step for step in self.program.steps for number in step.inputs}
        for step in self.program.steps:
            given = [values[number] for number in step.inputs]
            (made,) = step.outputs
            values[made] = _computed(step, given, stages)
            del given
            yield made, values[made]
            for number in {*step.inputs, made}:
                if last.get(number, step) is step:
                    del values[number]

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        del state["program"]  # whose arrays are the buffers
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._start()


def _computed(step: Step, given: list[Any], stages: Iterator[Callable[..., Any]]) -> Any:
    work = step.work
    if isinstance(work, Call):
        return read(work.payload)(given.__getitem__)
    if not isinstance(work, View):
        return next(stages)(*given)
    if isinstance(work.operator, Permute):
        return torch.permute(given[0], work.operator.order)
    assert isinstance(work.operator, Reshape)  # the others are of sequences of ONNX
    return reshape(given[0], list(work.operator.shape))


def _without_arrays(program: Program) -> Program:
    return replace(
        program,
        constants=(),
        steps=tuple(
            replace(step, work=replace(step.work, operands={}))
            if isinstance(step.work, steps.Stage)
            else step
            for step in program.steps
        ),
    )


def _with_arrays(bare: Program, stages: Sequence[Stage], constants: Sequence[Tensor]) -> Program:
    """Return a program whose arrays are those of a module's buffers, in the same memory."""
    waiting = iter(stages)
    return replace(
        bare,
        constants=tuple(map(as_array, constants)),
        steps=tuple(
            replace(step, work=replace(step.work, operands=_arrays(next(waiting))))
            if isinstance(step.work, steps.Stage)
            else step
            for step in bare.steps
        ),
    )


def _arrays(stage: Stage) -> dict[str, Any]:
    return {name: as_array(stage.get_buffer(name)) for name in stage.weights}
