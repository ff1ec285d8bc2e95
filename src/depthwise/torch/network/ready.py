"""A network for tensors of certain shapes, ready to run: tensors in, tensors out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from depthwise.kernel.addresses import addresses_of
from depthwise.network.binding import Run, Values
from depthwise.network.execution import Execution, Workspaces
from depthwise.network.weights import PackedWeights
from depthwise.problem.arrays import Array, as_tensor
from depthwise.torch.network.calls import Ref, filled
from depthwise.torch.network.constants import as_array
from depthwise.torch.network.network import Network


class Ready:
    """An execution of a network's program.

    Attributes:
        execution: that, for arrays.
    """

    def __init__(
        self,
        network: Network,
        inputs: Sequence[Any],
        weights: PackedWeights,
        workspaces: Workspaces,
    ) -> None:
        arrays = [as_array(each) if isinstance(each, Tensor) else each for each in inputs]
        self.execution = Execution(
            network.program, arrays, weights, workspaces, taken=_taken, order="K"
        )
        self._results = network.results
        self._plain = network.results == [Ref(n) for n in range(len(network.results))]

    def __call__(self, inputs: Sequence[Any]) -> Any:
        """Compute; see `Network.forward`."""
        found = [_as_given(each) for each in self.execution(inputs)]
        return found if self._plain else filled(self._results, found.__getitem__)


def _as_given(result: Any) -> Any:
    return as_tensor(result) if isinstance(result, np.ndarray) else result


def _taken(number: int, place: Array, _: int) -> Run:
    """Return what copies an input to its place; its storage has to hold it."""
    with torch.inference_mode(False):  # what is made in this mode serves no other
        target = as_tensor(place)
    checks: dict[tuple[int, ...], Callable[[Sequence[Tensor]], Any]] = {}

    def run(values: Values) -> None:
        value = values[number]
        strides = value.stride()
        check = checks.get(strides)
        if check is None:
            check = checks[strides] = addresses_of((value,), (f"input {number}",))
        check((value,))
        target.copy_(value)

    return run
