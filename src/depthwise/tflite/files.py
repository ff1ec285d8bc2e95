"""A file of TFLite as plain data, checked: what its flatbuffers say, followed no further than it.

The schema's own classes follow every offset of a file.  All that is read of one is read here, and
whatever a damaged file leads them to raise is caught in `checked`.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tflite
from tflite.utils import BUILTIN_OPCODE2NAME

from depthwise.errors import ModelError
from depthwise.problem.arrays import Array
from depthwise.tflite.sparse import dense

MOST_ELEMENTS = 2**31 - 1
"""No tensor has more."""
_DTYPES = {
    "FLOAT32": "float32", "FLOAT16": "float16", "FLOAT64": "float64", "BOOL": "bool",
    "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64",
    "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64", "INT4": "int8",
    "RESOURCE": "object",
}  # fmt: skip
"""NumPy's names of the types that elements may have; those of 4 bits are read as 8.

(A resource is no array: it stands for a variable.)
"""
_OF_FOUR_BITS = "INT4"
_T = TypeVar("_T")


@dataclass(frozen=True)
class Quantization:
    """How whole numbers stand for others: (number - zero point) * scale.

    Attributes:
        scales: one, or one for each place along an axis, float32.
        zero_points: as many.
        axis: that axis.
    """

    scales: Array
    zero_points: Array
    axis: int


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value of a network.

    Attributes:
        name: as the file has it; it may be empty, or that of others too.
        shape: of the example that the file was made for.
        sizes: the same with -1 for a size that may be any.
        dtype: NumPy's name of the element type.
        constant: the array itself where the file has it.
        quantization: what its whole numbers stand for; None where they are numbers.
    """

    name: str
    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    dtype: str
    constant: Array | None
    quantization: Quantization | None


@dataclass(frozen=True, eq=False)
class Operator:
    """One computation.

    Attributes:
        kind: the schema's name of it: CONV_2D, say; of one that is not in the schema, its own.
        inputs: the numbers of the tensors that it takes; None for one that is left out.
        outputs: those of the tensors that it makes.
        options: the schema's table of its options, if there is one.
    """

    kind: str
    inputs: tuple[int | None, ...]
    outputs: tuple[int, ...]
    options: Any

    def option(self, name: str, default: Any = None) -> Any:
        """Return an option; without a default, one that it has to have.

        Raises:
            ModelError: it has none.
        """
        read = getattr(self.options, name, None)
        if read is None and default is None:
            raise ModelError(f"{self.kind} has the option {name}; got none")
        return default if read is None else read()


@dataclass(frozen=True)
class File:
    """A network: its first graph, and those by number that are called once before it."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    graphs: Mapping[int, File] = field(default_factory=dict)


@contextmanager
def checked(name: str) -> Iterator[None]:
    """Turn whatever reading a damaged file raises into an error of ours.

    Args:
        name: of the file, or of what is read.

    Raises:
        ModelError: in one line.
    """
    try:
        yield
    except (
        ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error,
        AssertionError, MemoryError,
    ) as error:  # fmt: skip
        if isinstance(error, ModelError):
            raise
        said = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(
            f"a file of TFLite is whole and keeps its schema (fetch or export it again); got "
            f"{name}: {said}"
        ) from error


def read(source: str | os.PathLike[str] | bytes) -> File:
    """Return what a file says.

    Raises:
        ModelError: it is damaged, or has what we do not read.
        OSError: it cannot be read.
    """
    if isinstance(source, bytes):
        data, name = source, "the bytes given"
    else:
        data, name = Path(source).read_bytes(), os.fspath(source)
    with checked(name):
        return _Reader(data).file()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._model = tflite.Model.GetRootAs(data, 0)

    def file(self) -> File:
        first = self._graph(0)
        once = {
            each.option("InitSubgraphIndex") for each in first.operators if each.kind == "CALL_ONCE"
        }
        ends = (first.tensors[number] for number in (*first.inputs, *first.outputs))
        if variables := [each.name for each in ends if each.dtype == _DTYPES["RESOURCE"]]:
            raise ModelError(
                f"what a network takes and returns are arrays; got the variable {variables[0]!r}"
            )
        return replace(first, graphs={number: self._graph(number) for number in sorted(once)})

    def _graph(self, number: int) -> File:
        model = self._model
        codes = self._all(model.OperatorCodesLength, model.OperatorCodes, _kind)
        if number >= model.SubgraphsLength():
            raise ModelError(
                f"a file of TFLite has the graphs that it calls; got {number} of "
                f"{model.SubgraphsLength()}"
            )
        graph = model.Subgraphs(number)
        tensors = self._all(graph.TensorsLength, graph.Tensors, self._tensor)
        count = len(tensors)
        operators = self._all(
            graph.OperatorsLength, graph.Operators, lambda each: _operator(each, codes, count)
        )
        return File(
            tensors=tuple(tensors),
            operators=tuple(operators),
            inputs=_numbers(graph.InputsAsNumpy(), count),
            outputs=_numbers(graph.OutputsAsNumpy(), count),
        )

    def _all(
        self, length: Callable[[], int], item: Callable[[int], Any], read: Callable[[Any], _T]
    ) -> list[_T]:
        """Return the items of a vector of tables, of which each takes four bytes at least."""
        count = length()
        if count * 4 > len(self._data):
            raise ModelError(f"a file has room for what it lists; got {count} items")
        return [read(item(number)) for number in range(count)]

    def _tensor(self, table: Any) -> Tensor:
        name = (table.Name() or b"").decode("utf-8", "replace")
        kind = _word(tflite.TensorType, table.Type())
        if kind not in _DTYPES:
            raise ModelError(
                f"elements are of {', '.join(_DTYPES)}; got {kind} for the tensor {name!r}"
            )
        shape = _whole(table.ShapeAsNumpy())
        open_sizes = _whole(table.ShapeSignatureAsNumpy())
        if table.IsVariable():
            raise ModelError(f"a network keeps nothing between calls; got the variable {name!r}")
        if shape and (min(shape) < 0 or math.prod(shape) > MOST_ELEMENTS):
            raise ModelError(
                f"sizes are no less than 0 and elements no more than {MOST_ELEMENTS}; got "
                f"{shape} for the tensor {name!r}"
            )
        return Tensor(
            name=name,
            shape=shape,
            sizes=open_sizes if len(open_sizes) == len(shape) else shape,
            dtype=_DTYPES[kind],
            constant=self._constant(table, kind, shape, name),
            quantization=_quantization(table.Quantization(), shape, name),
        )

    def _constant(self, table: Any, kind: str, shape: tuple[int, ...], name: str) -> Array | None:
        number = table.Buffer()
        if number >= self._model.BuffersLength():
            raise ModelError(
                f"a tensor's buffer is one of {self._model.BuffersLength()}; got {number} for "
                f"{name!r}"
            )
        content = self._content(self._model.Buffers(number))
        if content is None:
            return None
        sparsity = table.Sparsity()
        size = math.prod(shape) if sparsity is None else None
        array = _four_bits(content, size) if kind == _OF_FOUR_BITS else content
        values = array.view(_DTYPES[kind])
        if sparsity is not None:
            return dense(sparsity, values, shape)
        return values.reshape(shape)

    def _content(self, buffer: Any) -> Array | None:
        """Return the bytes of a buffer, which lie behind the flatbuffers where they are many."""
        begin, size = buffer.Offset(), buffer.Size()
        if begin > 1:
            return np.frombuffer(self._data, np.uint8, size, begin)
        return None if not buffer.DataLength() else np.asarray(buffer.DataAsNumpy(), np.uint8)


def _four_bits(content: Array, size: int | None) -> Array:
    """Return numbers of which each byte has two, the first in its lower half."""
    pairs = np.stack([content << 4, content & 0xF0], -1).reshape(-1)
    return (pairs.view(np.int8) >> 4)[:size].view(np.uint8)


def _quantization(table: Any, shape: tuple[int, ...], name: str) -> Quantization | None:
    if table is None or not table.ScaleLength():
        return None
    scales = np.asarray(table.ScaleAsNumpy(), np.float32)
    given = np.asarray(table.ZeroPointAsNumpy() if table.ZeroPointLength() else [0], np.int64)
    zero_points = np.broadcast_to(given, scales.shape)
    axis = table.QuantizedDimension()
    fits = len(scales) == 1 or (0 <= axis < len(shape) and shape[axis] == len(scales))
    if not fits or not (np.isfinite(scales).all() and (scales > 0).all()):
        raise ModelError(
            f"scales are positive, and one or one for each place along an axis; got {len(scales)} "
            f"along axis {axis} of {shape} for the tensor {name!r}"
        )
    return Quantization(scales, zero_points, axis)


def _operator(table: Any, kinds: Sequence[str], tensors: int) -> Operator:
    number = table.OpcodeIndex()
    if number >= len(kinds):
        raise ModelError(f"an operator's code is one of {len(kinds)}; got {number}")
    inputs = _numbers(table.InputsAsNumpy(), tensors, least=-1)
    return Operator(
        kind=kinds[number],
        inputs=tuple(None if each < 0 else each for each in inputs),
        outputs=_numbers(table.OutputsAsNumpy(), tensors),
        options=_options(table),
    )


def _options(table: Any) -> Any:
    """Return the table of an operator's options; None where there is none."""
    union = table.BuiltinOptions()
    name = _word(tflite.BuiltinOptions, table.BuiltinOptionsType())
    if union is None or name == "NONE":
        return None
    options = getattr(tflite, name)()
    options.Init(union.Bytes, union.Pos)
    return options


def _kind(code: Any) -> str:
    """Return the name of an operator, whose number is in two places since there are many."""
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    name = str(BUILTIN_OPCODE2NAME.get(number, f"operator {number}"))
    own = (code.CustomCode() or b"").decode("utf-8", "replace")
    return f"{name} {own}" if name == "CUSTOM" else name


def _word(words: Any, number: int) -> str:
    """Return the name of a number of the schema's."""
    names: Mapping[Any, str] = {
        value: name for name, value in vars(words).items() if isinstance(value, int)
    }
    return names.get(number, str(number))


def _whole(array: Any) -> tuple[int, ...]:
    """Return the numbers of a vector; the schema's classes have 0 for none."""
    return () if np.ndim(array) == 0 else tuple(map(int, array))


def _numbers(array: Any, count: int, least: int = 0) -> tuple[int, ...]:
    """Return the numbers of tensors.

    Raises:
        ModelError: there are no such tensors.
    """
    found = _whole(array)
    if found and not least <= min(found) <= max(found) < count:
        raise ModelError(f"tensors have the numbers 0 to {count - 1}; got {found}")
    return found
