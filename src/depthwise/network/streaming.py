"""A network that is called with one chunk after the other, and keeps its state between them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from depthwise.errors import ArrayError
from depthwise.network.states import states_of
from depthwise.network.steps import Port, State
from depthwise.problem.arrays import Array, like

if TYPE_CHECKING:
    from depthwise.network.network import Network


class _Alone:
    """Held by one call at a time; those of other threads wait."""

    def __init__(self) -> None:
        self._lock, self._held = threading.RLock(), False

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._held:
            self._lock.release()
            raise ArrayError(
                "a stream computes one chunk after the other (net.stream() makes another stream); "
                "got a call from within a call, by a signal handler for instance"
            )
        self._held = True

    def __exit__(self, *_: object) -> None:
        self._held = False
        self._lock.release()


class Stream:
    """A network with a state of its own; `Network.stream` makes one.

    Several threads may call one stream, whose calls then wait for one another, and several streams
    of one network side by side.  A call that fails leaves the state as it was.

    Attributes:
        inputs: what a chunk is: the network's inputs but the states.
        outputs: what is returned of it: the outputs but the states.
    """

    def __init__(
        self,
        network: Network,
        state: Mapping[str, str] | None = None,
        initial: Mapping[str, Any] | None = None,
    ) -> None:
        program = network.program
        self._network, self._states = network, states_of(program, state)
        kept = {each.made for each in self._states}
        taken = {each.taken: each for each in self._states}
        self._chunk = [n for n in range(len(program.inputs)) if n not in taken]
        self._results = [n for n in range(len(program.outputs)) if n not in kept]
        self.inputs = tuple(program.inputs[n] for n in self._chunk)
        self.outputs = tuple(program.outputs[n] for n in self._results)
        self._ports = {each.taken: program.inputs[each.taken] for each in self._states}
        self._initial = self._begun(initial or {})
        self._now: dict[int, Array] = dict(self._initial)
        self._alone = _Alone()

    def __call__(self, *arrays: Any) -> Any:
        """Return what the network computes of the next chunk: one array, or a tuple of several.

        Args:
            arrays: the inputs but the states, in the order of `self.inputs`.

        Raises:
            ArrayError: there are others than the network takes, or one does not fit.
        """
        results = self._computed(arrays)
        if not all(isinstance(array, (np.ndarray, np.generic)) for array in arrays[:1]):
            results = [like(arrays[0])(result) for result in results]
        return results[0] if len(results) == 1 else tuple(results)

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs by name, of inputs by name; see `__call__`."""
        names = [port.name for port in self.inputs]
        if set(arrays) != set(names):
            raise ArrayError(f"a chunk is of {_list(names)}; got {_list(arrays)}")
        results = self._computed([arrays[name] for name in names])
        return {port.name: each for port, each in zip(self.outputs, results, strict=True)}

    def reset(self) -> None:
        """Begin anew: the state is what it was before the first call."""
        with self._alone:
            self._now = dict(self._initial)

    @property
    def state(self) -> dict[str, Array]:
        """Copies of what is kept, by the name of the input that it is.

        Of a size that follows from the first chunk there is none before that.
        """
        with self._alone:
            now = dict(self._now)
        return {self._ports[number].name: array.copy() for number, array in now.items()}

    def _computed(self, chunk: Sequence[Any]) -> list[Any]:
        """Return the results but the states for a chunk, and keep these."""
        with self._alone:
            given = self.taken(chunk)
            results = self._network.results(given)
            self._now = {
                each.taken: self._after(each, given[each.taken], results) for each in self._states
            }
        return [results[number] for number in self._results]

    def taken(self, chunk: Sequence[Any]) -> list[Any]:
        """Return all inputs of the network for the next chunk, the states among them.

        Raises:
            ArrayError: a chunk is of more arrays, or fewer.
        """
        if len(chunk) != len(self._chunk):
            names = _list([port.name for port in self.inputs])
            raise ArrayError(f"a chunk is of {names}; got {len(chunk)} arrays")
        given: list[Any] = [None] * len(self._network.inputs)
        for number, array in zip(self._chunk, chunk, strict=True):
            given[number] = array
        for state in self._states:
            given[state.taken] = self._before(state, chunk)
        return given

    def _before(self, state: State, chunk: Sequence[Any]) -> Array:
        """Return a state before a call: zeros before the first one, in the sizes of its chunk."""
        now = self._now.get(state.taken)
        if now is not None:
            return now
        port = self._ports[state.taken]
        known: dict[str, int] = {}
        for each, array in zip(self.inputs, chunk, strict=True):
            for word, size in zip(each.sizes or (), getattr(array, "shape", ()), strict=False):
                if isinstance(word, str):
                    known[word] = int(size)
        shape = [
            size if isinstance(size, int) else known.get(size, self._usual(state, axis))
            for axis, size in enumerate(port.sizes or ())
        ]
        return np.zeros(shape, port.dtype)

    def _usual(self, state: State, axis: int) -> int:
        """Return an open size that no chunk has: of what grows with each call, or of one."""
        program = self._network.program
        taken, made = (
            program.shapes.get(number) for number in (state.taken, program.results[state.made])
        )
        grows = taken is not None and made is not None and made[axis] > taken[axis]
        return 0 if grows else 1

    def _after(self, state: State, before: Array, results: Sequence[Any]) -> Array:
        """Return a state behind a call.

        Raises:
            ArrayError: the next call cannot take it.
        """
        array: Array = results[state.made]
        if array.shape != before.shape or array.dtype != before.dtype:
            _check(self._ports[state.taken], array, "a state that the network makes")
        return array

    def _begun(self, initial: Mapping[str, Any]) -> dict[int, Array]:
        """Return the states before the first call, but those whose sizes follow from a chunk.

        Raises:
            ArrayError: an array is for no state, or does not fit.
        """
        names = {port.name: number for number, port in self._ports.items()}
        if strange := [name for name in initial if name not in names]:
            raise ArrayError(f"the states are {_list(list(names))}; got {_list(strange)}")
        found = {each.taken: each.initial for each in self._states if each.initial is not None}
        for number, port in self._ports.items():
            if port.name in initial:
                array = np.array(initial[port.name])
                _check(port, array, "an initial state")
                found[number] = array
            elif number not in found and all(isinstance(s, int) for s in port.sizes or ()):
                found[number] = np.zeros(port.shape, port.dtype)  # type: ignore[arg-type]
        return found


def _check(port: Port, array: Any, what: str) -> None:
    """Refuse an array that is no state."""
    sizes = port.sizes or ()
    shape, dtype = np.shape(array), getattr(array, "dtype", None)
    fits = len(sizes) == len(shape) and all(
        isinstance(wanted, str) or wanted == size for wanted, size in zip(sizes, shape, strict=True)
    )
    if not fits or dtype != np.dtype(port.dtype):
        wanted = ", ".join("any" if isinstance(size, str) else str(size) for size in sizes)
        raise ArrayError(
            f"{what} is as its input {port.name}, ({wanted}) of {port.dtype}; got {shape} of "
            f"{dtype}"
        )


def _list(names: Any) -> str:
    return ", ".join(names) or "none"
