"""Arrays at the border: NumPy, or anything on the CPU that speaks DLPack, without a copy."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from depthwise.errors import ArrayError, DTypeError
from depthwise.problem.dtypes import DTYPES, element, names_by
from depthwise.problem.problem import Problem
from depthwise.problem.values import nbytes

Array = NDArray[Any]
Memory: TypeAlias = "Array | int"
"""A C-contiguous array, or the address of one that somebody keeps."""

_DLPACK_CPU = 1
DTYPE_NAMES = names_by(lambda entry: np.dtype(entry.numpy))
"""Problems' names of element types by NumPy's types."""

CACHE_LINE = 64
"""Its bytes.  Vectors that lie across two of them cost a fifth of the speed of hot data."""
_WORTH_ALIGNING = 2**20


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return a new array, a large one at the beginning of a cache line as torch's are.

    (NumPy's begin 16 bytes into one; a small array is computed faster than it is aligned.)
    """
    large = math.prod(shape) * np.dtype(dtype).itemsize >= _WORTH_ALIGNING
    return aligned(shape, dtype) if large else np.empty(shape, dtype)


def aligned(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return a new array that begins with a cache line."""
    kind = np.dtype(dtype)
    raw = np.empty(math.prod(shape) * kind.itemsize + CACHE_LINE, np.uint8)
    array: Array = np.ndarray(shape, kind, raw, -raw.ctypes.data % CACHE_LINE)
    return array


_kept = threading.local()


def kept_arrays(shapes: Sequence[tuple[int, ...]], dtype: str) -> list[Array]:
    """Return arrays of these shapes in memory that the calling thread keeps, one behind another.

    `dtype` is the name of a problem's element type.
    """
    sizes = [nbytes(shape, dtype) for shape in shapes]
    memory = getattr(_kept, "memory", None)
    if memory is None or memory.nbytes < sum(sizes):
        memory = _kept.memory = np.empty(sum(sizes), np.uint8)
    arrays, start = [], 0
    for shape, size in zip(shapes, sizes, strict=True):
        arrays.append(memory[start : start + size].view(element(dtype).numpy).reshape(shape))
        start += size
    return arrays


def as_numpy(array: Any, name: str) -> Array:
    """Return a NumPy view of an array.

    Raises:
        DTypeError: it is neither a NumPy array nor a DLPack tensor, or of an unsupported type.
        ArrayError: its memory is not the CPU's, or gradients would be lost.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise DTypeError(f"{name} has no mask (use .filled()); got a masked array")
    view = array if isinstance(array, np.ndarray) else _view(array, name)
    if view.dtype not in DTYPE_NAMES:
        raise DTypeError(f"{name} has dtype {' or '.join(DTYPES)}; got {view.dtype}")
    return view


def like(array: Any) -> Callable[[Array], Any]:
    """Return the function that turns a NumPy result into the kind of array that came in."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return torch.from_numpy  # type: ignore[no-any-return]
    if isinstance(array, np.ndarray) or not hasattr(array, "__array_namespace__"):
        return lambda result: result
    return array.__array_namespace__().from_dlpack  # type: ignore[no-any-return]


def signature(array: Any) -> Any:
    """Return what of an array, beside its values, a call depends on: shape, strides and type.

    Calls with equal signatures are prepared once.

    Raises:
        TypeError: arrays of this kind have none; each call has to look at them anew.
    """
    kind = type(array)
    if kind is np.ndarray:
        return array.shape, array.strides, array.dtype
    if array is None:
        return None
    if kind in (_tensors or _tensor_types()) and array.is_cpu:
        if array.is_neg() or (array.requires_grad and _tracked(array)):
            raise TypeError(kind)
        return array.shape, array.stride(), array.dtype
    raise TypeError(kind)


def in_place(array: Any) -> Callable[[Any], Memory] | None:
    """Return the function that gives kernels the memory of arrays with this one's `signature`.

    Of a contiguous NumPy array that is the array itself; of a tensor it is the address, whatever
    the order of its axes, which the caller has checked.  None is returned where such arrays must be
    viewed or copied first.
    """
    if type(array) in _tensor_types():
        return type(array).data_ptr  # type: ignore[no-any-return]
    if type(array) is np.ndarray and array.flags.c_contiguous:
        return _itself
    return None


def _itself(array: Any) -> Any:
    return array


_tensors: tuple[type, ...] = ()


def _tensor_types() -> tuple[type, ...]:
    """Return the types of torch's plain tensors, none as long as torch is not in the process."""
    global _tensors  # noqa: PLW0603 (asked for in every call)
    if not _tensors and (torch := sys.modules.get("torch")) is not None:
        _tensors = torch.Tensor, torch.nn.Parameter
    return _tensors


def _tracked(tensor: Any) -> bool:
    """Whether autograd would lose a gradient."""
    return bool(tensor.requires_grad) and bool(sys.modules["torch"].is_grad_enabled())


def fit(array: Any, name: str, shape: tuple[int, ...], spec: Problem) -> Array:
    """Return a C-contiguous NumPy array of this shape; a copy only where the memory needs one.

    A weight may carry unit axes at its end, as a 1x1 convolution's (O, C, 1, 1).

    Raises:
        ArrayError: the shape is another one.
        DTypeError: the element type is not the specification's.
    """
    view = as_numpy(array, name)
    if view.dtype != spec.element.numpy:
        raise DTypeError(f"{name} has the problem's dtype {spec.dtype}; got {view.dtype}: {spec}")
    units = view.ndim - len(shape)
    if name.endswith("weight") and units > 0 and view.shape == (*shape, *(1,) * units):
        view = view.reshape(shape)
    if view.shape != shape:
        raise ArrayError(f"{name} has shape {shape}; got {view.shape}: {spec}")
    return np.ascontiguousarray(view)


@contextmanager
def output(out: Any, view: Array, spec: Problem, inputs: list[Array]) -> Iterator[Array]:
    """Yield contiguous memory to write the result to; afterwards the result is in `out`.

    Args:
        out: what the caller gave.
        view: the same memory in the shape of the problem's output.
        spec: the problem.
        inputs: what is read meanwhile.

    Raises:
        ArrayError: its shape is not the output's, it is read-only, its elements share memory, or it
            overlaps an input.
        DTypeError: its element type is not the specification's.
    """
    _check_output(view, spec, inputs)
    if view.flags.c_contiguous:
        yield view
    else:
        result = np.empty(view.shape, view.dtype)
        yield result
        view[...] = result
    if type(out) in _tensor_types():
        sys.modules["torch"].autograd.graph.increment_version(out)


def _check_output(out: Array, spec: Problem, inputs: list[Array]) -> None:
    if out.dtype != spec.element.numpy:
        raise DTypeError(f"out has the problem's dtype {spec.dtype}; got {out.dtype}: {spec}")
    if out.shape != spec.output_shape:
        raise ArrayError(f"out has shape {spec.output_shape}; got {out.shape}: {spec}")
    if not out.flags.writeable:
        raise ArrayError(f"out is writable; got a read-only array: {spec}")
    if any(size > 1 and not step for size, step in zip(out.shape, out.strides, strict=True)):
        raise ArrayError(f"out has memory for each element; got strides {out.strides}: {spec}")
    if any(np.may_share_memory(out, array) for array in inputs):
        raise ArrayError(f"out shares no memory with an input; got one that may: {spec}")


def _view(array: Any, name: str) -> Array:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        if _tracked(array):
            raise ArrayError(
                f"{name} requires no gradient here (use depthwise.torch, .detach() or "
                f"torch.no_grad()); got requires_grad=True"
            )
        if array.device.type != "cpu":
            raise ArrayError(f"{name} lies in CPU memory; got a tensor on {array.device}")
        if array.is_neg():
            raise ArrayError(f"{name} holds its values (use .resolve_neg()); got a negated view")
        try:
            return array.detach().numpy()  # type: ignore[no-any-return]
        except (RuntimeError, TypeError) as error:
            raise DTypeError(f"{name} has dtype {' or '.join(DTYPES)}; got {error}") from None
    if not hasattr(array, "__dlpack_device__"):
        kind = type(array).__name__
        raise DTypeError(f"{name} is a NumPy array or a DLPack tensor on the CPU; got {kind}")
    try:
        device = array.__dlpack_device__()[0]
    except (BufferError, RuntimeError, ValueError) as error:
        raise ArrayError(f"{name} lies in CPU memory; got {error}") from None
    if device != _DLPACK_CPU:
        raise ArrayError(f"{name} lies in CPU memory; got DLPack device type {int(device)}")
    try:
        return np.from_dlpack(array)
    except (BufferError, RuntimeError, TypeError) as error:
        raise DTypeError(f"{name} has dtype {' or '.join(DTYPES)}; got {error}") from None
