"""A network that was loaded: call it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depthwise.errors import ArrayError
from depthwise.machine import team
from depthwise.network.execution import Execution, Workspaces
from depthwise.network.prepare import Told
from depthwise.network.steps import Port, Program
from depthwise.network.streaming import Stream
from depthwise.network.weights import PackedWeights
from depthwise.problem.arrays import Array, is_tensor, like, of_tensor
from depthwise.problem.dtypes import numpy_type

if TYPE_CHECKING:
    from depthwise.network.report import Report

_NUMPY = (np.ndarray, np.generic)
MOST_EXECUTIONS = 16
"""For how many shapes of inputs a network is ready at a time."""


class Network:
    """A trained network on this package's kernels: from NumPy arrays to NumPy arrays.

    Kernels are compiled where they are needed: for each shape of the inputs at its first use.
    Several threads may call one network.

    Attributes:
        inputs: name, shape (None for a size that may be any) and element type of what it takes.
        outputs: the same of what it returns.
    """

    def __init__(self, program: Program, threads: int | None = None) -> None:
        self.program = program
        self.inputs, self.outputs = program.inputs, program.outputs
        self._threads = threads
        self._dtypes = tuple(None if x.dtype is None else numpy_type(x.dtype) for x in self.inputs)
        self._executions: dict[Any, Execution] = {}
        self._weights, self._workspaces = PackedWeights(), Workspaces()

    def __call__(self, *arrays: Any) -> Any:
        """Return what the network computes: one array, or a tuple where there are several outputs.

        Args:
            arrays: the inputs in the order of `self.inputs`.  Of a file of TFLite with variables
                these may be left out: then it computes the first chunk of a stream, and returns
                the outputs without them.

        Raises:
            ArrayError: there are others than the network takes, or one does not fit.
        """
        if self._is_chunk(len(arrays)):
            return self.stream()(*arrays)
        results = self.results(arrays)
        if arrays and not isinstance(arrays[0], _NUMPY):
            results = [like(arrays[0])(result) for result in results]
        return results[0] if len(results) == 1 else tuple(results)

    def results(self, arrays: Sequence[Any]) -> list[Any]:
        """Return all outputs as NumPy's arrays; see `__call__`."""
        try:
            key = tuple([(array.shape, array.dtype) for array in arrays])
            execution = self._executions.get(key)
        except (AttributeError, TypeError):
            execution = None
        if execution is None or not all(type(array) is np.ndarray for array in arrays):
            arrays = self._checked(arrays)
            execution = self.execution(arrays)
        return execution(arrays)

    def stream(
        self,
        state: Mapping[str, str] | None = None,
        initial: Mapping[str, Any] | None = None,
    ) -> Stream:
        """Return the network with a state that is kept from one call to the next.

        Args:
            state: the name of the input that an output is in the next call, by the name of the
                output; None takes those that a file of TFLite states, or else those that names
                tell: state and stateN, h_in and h_out, past_x and present_x (docs/networks.md).
            initial: what states are before the first call, by the name of their inputs; zeros for
                others.

        Raises:
            ModelError: no state is known, or several for one input, or they do not fit.
            ArrayError: what is initial does not fit.
        """
        return Stream(self, state, initial)

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs by name, of inputs by name; see `__call__`."""
        names = [port.name for port in self.inputs]
        if self._is_chunk(len(arrays)):
            return self.stream().run(arrays)
        if set(arrays) != set(names):
            raise ArrayError(
                f"the network's inputs are {', '.join(names)}; got {', '.join(arrays) or 'none'}"
            )
        results = self(*(arrays[name] for name in names))
        results = results if isinstance(results, tuple) else (results,)
        return {port.name: array for port, array in zip(self.outputs, results, strict=True)}

    def save(self, file: str | os.PathLike[str], *, with_code: bool = False) -> None:
        """Write the network to a file that `depthwise.load` takes, without ONNX or torch.

        It has the steps and their weights, and kernels are compiled where it is loaded; as
        `torch.save(model, file)`, but nothing in it is executed.  docs/networks.md says how it is
        laid out.

        Args:
            file: where to; a regular file is replaced whole.
            with_code: take along the machine code of the kernels for the inputs that the network
                was loaded for.  `load(file, trust=True)` uses it, on such a CPU and with this
                version of depthwise, so that no kernel of those is compiled.

        Raises:
            ModelError: a constant is of a type that the file has no name for, or machine code
                cannot be made here.
            DepthwiseError: the file cannot be written; what was there is left.
        """
        from depthwise.network.saved.file import write

        write(self.program, Path(file), with_code=with_code)

    def prepare(self, *arrays: Any, step: Told = lambda _: None) -> None:
        """Compile what a call with inputs like these needs, which the first one does otherwise.

        Args:
            arrays: see `__call__`.
            step: called before each piece of work with words that name it.

        Raises:
            ArrayError: see `__call__`.
        """
        given = self.stream().taken(arrays) if self._is_chunk(len(arrays)) else arrays
        self.execution(self._checked(given), step)

    def execution(self, arrays: Sequence[Any], step: Told = lambda _: None) -> Execution:
        """Return what runs for inputs like these, made at first use."""
        key = _kind(arrays)
        found = self._executions.get(key)
        if found is None:
            if len(self._executions) >= MOST_EXECUTIONS:
                self._executions.clear()
                self._workspaces = Workspaces()
            found = Execution(
                self.program, arrays, self._weights, self._workspaces, self._threads, step=step
            )
            self._executions[key] = found
        return found

    @property
    def threads(self) -> int:
        """On how many threads a call runs."""
        return self._threads or team.size()

    @property
    def report(self) -> Report:
        """What became of each part; plans are of the inputs that it is ready for, if there are."""
        from depthwise.network.report import Report, parts_of  # which draws tables

        ready = next(iter(self._executions.values()), None)
        kernels = {} if ready is None else ready.kernels()
        parts = tuple(parts_of(self.program, kernels))
        return Report(parts=parts, dropped=self.program.dropped)

    def __str__(self) -> str:
        return str(self.report)

    def _repr_html_(self) -> str:
        return self.report._repr_html_()

    def _is_chunk(self, count: int) -> bool:
        """Whether so many arrays are the inputs without the states that the file has."""
        states = len(self.program.states)
        return states > 0 and count == len(self.inputs) - states

    def _checked(self, given: Sequence[Any]) -> list[Any]:
        if len(given) != len(self.inputs):
            names = ", ".join(port.name for port in self.inputs) or "none"
            raise ArrayError(f"the network's inputs are {names}; got {len(given)} arrays")
        sizes: dict[str, int] = {}
        return [
            _fitting(array, port, dtype, sizes)
            for array, port, dtype in zip(given, self.inputs, self._dtypes, strict=True)
        ]


def _kind(value: Any) -> Any:
    """Return what is the same for all values that one execution takes."""
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype
    return tuple(map(_kind, value)) if isinstance(value, (list, tuple)) else type(value)


def _as_array(given: Any) -> Array:
    if isinstance(given, _NUMPY):
        return np.asarray(given)
    return of_tensor(given) if is_tensor(given) else np.from_dlpack(given)


def _fitting(given: Any, port: Port, dtype: Any, sizes: dict[str, int]) -> Any:
    """Return an input as an array; one that is a sequence, or may be missing, as it is.

    Raises:
        ArrayError: it is not of the type and the sizes that the network takes.
    """
    if dtype is None:
        return given
    try:
        array = _as_array(given)
    except (AttributeError, BufferError, RuntimeError, TypeError):
        kind = type(given).__name__
        raise ArrayError(
            f"input {port.name} is a NumPy array or a DLPack tensor on the CPU; got {kind}"
        ) from None
    if dtype == np.dtype(object) and array.dtype.kind == "U":
        array = array.astype(object)
    if array.dtype != dtype:
        raise ArrayError(
            f"input {port.name} is of {dtype} (use .astype(np.{dtype})); got {array.dtype}"
        )
    if port.sizes is None:
        return array
    fits = len(port.sizes) == array.ndim and all(
        size == (wanted if isinstance(wanted, int) else sizes.setdefault(wanted, size))
        for size, wanted in zip(array.shape, port.sizes, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if isinstance(size, str) else str(size) for size in port.sizes)
        raise ArrayError(f"input {port.name} has the sizes ({wanted}); got {array.shape}")
    return array
