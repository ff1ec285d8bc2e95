"""ONNX Runtime: what computes the nodes that no kernel does."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from depthwise.errors import ModelError
from depthwise.network.engine import Counts, check_counts
from depthwise.network.images import TO_NCHW, TO_NHWC
from depthwise.onnx.layouts import LIES_NHWC
from depthwise.problem.arrays import Array

if TYPE_CHECKING:
    from depthwise.network.graph import Node, Value

_WORDS = ("float", "double", "float16", "bool")
_WHOLE = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_BOUND = frozenset(f"tensor({word})" for word in (*_WORDS, *_WHOLE))


class OnnxRuntime:
    """The engine of networks that were read from ONNX.

    Sessions never spin (two pools that spin take the cores from each other).  Each is made once
    for a number of threads; who calls binds it to memory.
    """

    name = "onnxruntime"
    takes_whole_graphs = True
    shares_memory = False

    def __init__(self, dialect: Any = None) -> None:
        self._dialect = dialect
        self._sessions: dict[tuple[bytes, int], Any] = {}
        self._lock = threading.Lock()

    def write(
        self, nodes: Sequence[Node], inputs: Sequence[Value], outputs: Sequence[Value],
        images: frozenset[Value],
    ) -> bytes:  # fmt: skip
        """Return nodes as the bytes of a model; see `Engine.write`."""
        from depthwise.onnx.writing import Writer

        model = Writer(self._dialect).model(nodes, inputs, outputs, images)
        return bytes(model.SerializeToString())

    def title(self, nodes: Sequence[Node]) -> str:
        """Return the names of the first few operators."""
        names = list(dict.fromkeys(node.name for node in nodes))
        shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        return shown if len(nodes) == 1 else f"{len(nodes)} operators: {shown}"

    def runner(self, payload: bytes, threads: int, counts: Counts) -> Bound | Fed:
        """Return a model ready to run on so many threads.

        Raises:
            ModelError: ONNX Runtime is not installed, or refuses the model; or see `Engine.runner`.
        """
        with self._lock:
            session = self._sessions.get((payload, threads))
            if session is None:
                session = self._sessions[payload, threads] = _session(payload, threads)
        check_counts(counts, (len(session.get_inputs()), len(session.get_outputs())))
        return Bound(session) if _binds(session) else Fed(session)

    def compute(self, payload: bytes, given: Sequence[Any], makes: int) -> list[Any]:
        """See `Engine.compute`."""
        return self.runner(payload, 1, (len(given), makes)).compute(given)

    def result(self, value: Any, *, inside: bool) -> Any:
        """Return what a runner returned as an array, or a list of arrays."""
        del inside
        return _array(value)


def _array(value: Any) -> Any:
    """Return a value of ONNX Runtime's as an array; what is none of its own as it is."""
    return np.array(value.numpy()) if hasattr(value, "numpy") else value


_INEXACT = ("DoubleQDQPairsRemover", "WeightBiasQuantization")
"""What ONNX Runtime would do to networks in 8 bits beyond what they say: leave out one of two
roundings, and round weights that are real numbers."""


def _session(payload: bytes, threads: int) -> Any:
    try:
        never_spins = ("session.intra_op.allow_spinning", "0")
        return session_of(payload, threads, never_spins, without=_INEXACT)
    except ImportError:
        raise ModelError(
            "what no kernel computes is computed by ONNX Runtime (pip install onnxruntime); "
            "it is not installed"
        ) from None
    except Exception as error:  # its errors have no base of their own
        raise _refused(error) from None


_EXACT = "session.x64quantprecision", "1"
"""Sums of whole numbers never saturate.  (Without it they do where AVX2 has no dot products.)"""


def session_of(
    model: bytes | str, threads: int, entry: tuple[str, str], without: Sequence[str] = ()
) -> Any:
    """Return a session on so many threads.

    Args:
        model: as bytes, or its file.
        threads: how many.
        entry: of its configuration: how its threads wait.
        without: which of its passes it goes without.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry(*entry)
    options.add_session_config_entry(*_EXACT)
    return onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(without)
    )


def _refused(error: object) -> ModelError:
    said = " ".join(str(error).split())
    return ModelError(f"what no kernel computes is computed by ONNX Runtime; it says: {said}")


def _binds(session: Any) -> bool:
    """Whether all that a session takes and returns are arrays of types that NumPy has."""
    kinds = {each.type for each in (*session.get_inputs(), *session.get_outputs())}
    return kinds <= _BOUND


class Bound:
    """A session bound to memory; see `Runner`."""

    def __init__(self, session: Any) -> None:
        from onnxruntime import OrtValue

        self._value_of = OrtValue.ortvalue_from_numpy
        self._session, self._binding = session, session.io_binding()
        self._inputs = [each.name for each in session.get_inputs()]
        self._outputs = [each.name for each in session.get_outputs()]
        self._copied: list[tuple[Array, Array]] = []
        for name in self._outputs:  # in this order they come back
            self._binding.bind_output(name, "cpu")
        self._free = list(self._outputs)

    def place(self, position: int, array: Array) -> None:
        """See `Runner`."""
        name = self._inputs[position]
        lies = _as_bound(array, name)
        if not lies.flags.c_contiguous:
            source, lies = lies, np.empty(lies.shape, lies.dtype)
            self._copied.append((lies, source))
        self._binding.bind_ortvalue_input(name, self._value_of(lies))

    def place_output(self, position: int, array: Array) -> None:
        """See `Runner`."""
        name = self._outputs[position]
        self._binding.bind_ortvalue_output(name, self._value_of(_as_bound(array, name)))
        self._free.remove(name)

    def settled(self) -> None:
        """Return None: every call makes new arrays."""

    def run(self, given: Sequence[Any]) -> list[Any]:
        """See `Runner`."""
        for name, value in zip(self._inputs, given, strict=True):
            if value is not None:
                self._binding.bind_ortvalue_input(name, self._given(name, value))
        for lies, source in self._copied:
            np.copyto(lies, source)
        for name in self._free:  # or it would write to what it returned before
            self._binding.bind_output(name, "cpu")
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # its errors have no base of their own
            raise _refused(error) from None
        return self._binding.get_outputs() if self._free else [None] * len(self._outputs)

    def compute(self, given: Sequence[Array]) -> list[Array]:
        """Compute once, of arrays in the order of their axes, which the results have as well."""
        return _in_order(self._outputs, self.run(given))

    def _given(self, name: str, value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        return self._value_of(np.asarray(_as_bound(value, name), order="C"))


class Fed:
    """A session that takes or returns what has no memory to be bound to; see `Runner`.

    That is text, types that NumPy lacks, sequences, and what may be missing.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._inputs = [each.name for each in session.get_inputs()]
        self._outputs = [each.name for each in session.get_outputs()]
        self._placed: dict[int, Array] = {}
        self._places: dict[int, Array] = {}

    def place(self, position: int, array: Array) -> None:
        """See `Runner`."""
        self._placed[position] = array

    def place_output(self, position: int, array: Array) -> None:
        """See `Runner`."""
        self._places[position] = array

    def settled(self) -> None:
        """Return None: every call makes new values."""

    def run(self, given: Sequence[Any]) -> list[Any]:
        """See `Runner`."""
        feeds = {}
        for position, name in enumerate(self._inputs):
            value = _array(self._placed.get(position, given[position]))
            feeds[name] = _as_bound(value, name) if isinstance(value, np.ndarray) else value
        try:
            results: list[Any] = self._session.run(self._outputs, feeds)
        except Exception as error:  # its errors have no base of their own
            raise _refused(error) from None
        for position, place in self._places.items():
            target, result = _as_bound(place, self._outputs[position]), results[position]
            if target.shape != result.shape:
                raise _refused(f"a result has the shape {result.shape}; got {target.shape} for it")
            np.copyto(target, result)
            results[position] = None
        return results

    def compute(self, given: Sequence[Any]) -> list[Any]:
        """Compute once; see `Bound.compute`."""
        return _in_order(self._outputs, self.run(given))


def _in_order(names: Sequence[str], results: Sequence[Any]) -> list[Any]:
    """Return what a session returned, arrays in the order of their axes."""
    return [
        _array(value).transpose(TO_NCHW) if name.endswith(LIES_NHWC) else _array(value)
        for name, value in zip(names, results, strict=True)
    ]


def _as_bound(array: Array, name: str) -> Array:
    """Return an array as the session takes it.

    Raises:
        ModelError: it is no image where the session takes one.
    """
    if not name.endswith(LIES_NHWC):
        return array
    if array.ndim != len(TO_NHWC):
        raise _refused(f"an image has the axes (N, C, H, W); got {array.shape} for {name}")
    turned: Array = array.transpose(TO_NHWC)
    return turned
