"""Arrays at the border: NumPy, or anything on the CPU that speaks DLPack, without a copy."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from depthwise.errors import ArrayError, DTypeError
from depthwise.problem import remedies
from depthwise.problem.dtypes import ANY_REAL, DTYPES, element
from depthwise.problem.problem import Problem

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[Any]
Memory: TypeAlias = "Array | int"
"""A C-contiguous array, or the address of one that somebody keeps."""


class DLPack(Protocol):
    """An array of another library that lends its memory."""

    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the array as a capsule."""

    def __dlpack_device__(self) -> tuple[Any, Any]:
        """Return where its memory is."""


Given = TypeVar("Given", "NDArray[Any]", "Tensor", "DLPack")
"""The kind of array that a function is given, and returns: NumPy's, torch's or another."""

_DLPACK_CPU = 1
_BFLOAT16 = "bfloat16"
"""The type that neither NumPy nor DLPack's way into it has by itself."""
CACHE_LINE = 64
"""Its bytes.  Vectors that lie across two of them cost a fifth of the speed of hot data."""
_WORTH_ALIGNING = 2**20


def new_arrays(shape: tuple[int, ...], dtype: Any) -> Callable[[], Array]:
    """Return what makes arrays, large ones at the beginning of a cache line as torch's are.

    (NumPy's begin 16 bytes into one; a small array is computed faster than it is aligned.)
    """
    kind = np.dtype(dtype)
    large = math.prod(shape) * kind.itemsize >= _WORTH_ALIGNING
    return partial(aligned if large else np.empty, shape, kind)


def aligned(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return a new array that begins with a cache line."""
    kind = np.dtype(dtype)
    raw = np.empty(math.prod(shape) * kind.itemsize + CACHE_LINE, np.uint8)
    array: Array = np.ndarray(shape, kind, raw, -raw.ctypes.data % CACHE_LINE)
    return array


def as_numpy(array: Any, name: str, dtypes: Sequence[str] = DTYPES) -> Array:
    """Return a NumPy view of an array of one of some types.

    Raises:
        DTypeError: it is neither a NumPy array nor a DLPack tensor, or of an unsupported type.
        ArrayError: its memory is not the CPU's, or gradients would be lost.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise DTypeError(f"{name} has no mask (use .filled()); got a masked array")
    view = array if isinstance(array, np.ndarray) else _view(array, name)
    if not (view.dtype.isnative and view.dtype.name in dtypes):
        cast = remedies.of_type(array, name)
        raise DTypeError(f"{name} has dtype {ANY_REAL}; got {view.dtype}{cast}")
    return view


def like(array: Any) -> Callable[[Array], Any]:
    """Return the function that turns a NumPy result into the kind of array that came in."""
    torch = _torch()
    if torch is not None and isinstance(array, torch.Tensor):
        return as_tensor
    if isinstance(array, np.ndarray) or not hasattr(array, "__array_namespace__"):
        return lambda result: result
    return array.__array_namespace__().from_dlpack  # type: ignore[no-any-return]


def as_tensor(array: Array) -> Any:
    """Return the tensor of torch's that lies in the memory of an array."""
    torch = sys.modules["torch"]
    if array.dtype.name != _BFLOAT16:
        return torch.from_numpy(array)
    return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)


def of_tensor(tensor: Any) -> Array:
    """Return the array that lies in the memory of a tensor of torch's.

    Raises:
        RuntimeError, TypeError: NumPy has no such arrays.
    """
    torch, held = sys.modules["torch"], tensor.detach()
    if tensor.dtype is not torch.bfloat16:
        array: Array = held.numpy()
        return array
    words: Array = held.view(torch.int16).numpy()
    return words.view(element(_BFLOAT16).numpy)


def reach(tensor: Any) -> int:
    """Return the bytes of memory from a tensor's first element to the end of its last."""
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    last = sum((size - 1) * step for size, step in steps)
    return int(tensor.element_size() * (last + 1)) if tensor.numel() else 0


def check_storage(tensor: Any, name: str) -> None:
    """Refuse a tensor whose storage, which may be freed or shrunk at any time, is too small.

    Raises:
        ArrayError: it does not hold all of the tensor's elements.
    """
    needed, held = reach(tensor), tensor.untyped_storage().nbytes()
    if needed and held < needed + tensor.element_size() * tensor.storage_offset():
        raise ArrayError(
            f"{name} has a storage that holds its elements (make the tensor anew where it was "
            f"freed or shrunk); got {held} bytes for {needed} from element "
            f"{tensor.storage_offset()} on, shape {tuple(tensor.shape)} {tensor.dtype}"
        )


_tensors: tuple[type, ...] = ()


def is_tensor(array: Any) -> bool:
    """Whether this is one of torch's plain tensors."""
    return type(array) in (_tensors or _tensor_types())


def _tensor_types() -> tuple[type, ...]:
    """Return the types of torch's plain tensors, none as long as torch is not in the process."""
    global _tensors  # noqa: PLW0603 (asked for in every call)
    if not _tensors and (torch := _torch()) is not None:
        _tensors = torch.Tensor, torch.nn.Parameter
    return _tensors


def _torch() -> Any:
    """Return torch where it is in the process, whole: another thread may be importing it."""
    torch = sys.modules.get("torch")
    return torch if hasattr(getattr(torch, "nn", None), "Parameter") else None


def tracked(tensor: Any) -> bool:
    """Whether autograd would lose a gradient."""
    return bool(tensor.requires_grad) and bool(sys.modules["torch"].is_grad_enabled())


def fit(array: Any, name: str, shape: tuple[int, ...], spec: Problem) -> Array:
    """Return a C-contiguous NumPy array of this shape; a copy only where the memory needs one.

    A weight may carry unit axes at its end, as a 1x1 convolution's (O, C, 1, 1).

    Raises:
        ArrayError: the shape is another one.
        DTypeError: the element type is not the specification's.
    """
    wanted = element(spec.dtype_of(name)).numpy
    view = as_numpy(array, name, (*DTYPES, wanted))
    if view.dtype != wanted:
        raise DTypeError(f"{name} has the problem's dtype {wanted}; got {view.dtype}: {spec}")
    units = view.ndim - len(shape)
    if name.endswith("weight") and units > 0 and view.shape == (*shape, *(1,) * units):
        view = view.reshape(shape)
    if view.shape != shape:
        turned = remedies.of_shape(array, name, shape)
        raise ArrayError(f"{name} has shape {shape}; got {view.shape}{turned}: {spec}")
    return np.ascontiguousarray(view)


def write(
    out: Any, view: Array, spec: Problem, inputs: Sequence[Array], compute: Callable[[Array], None]
) -> Any:
    """Have a result computed into an array of the caller's, and return that array.

    Args:
        out: what the caller gave.
        view: the same memory in the shape of the problem's output.
        spec: the problem.
        inputs: what is read meanwhile.
        compute: writes the result to contiguous memory.

    Raises:
        ArrayError: its shape is not the output's, it is read-only, its elements share memory, or it
            overlaps an input.
        DTypeError: its element type is not the specification's.
    """
    check_output(view, spec)
    check_writable(view, spec)
    if any(np.may_share_memory(view, array) for array in inputs):
        raise overlap(spec)
    if view.flags.c_contiguous:
        compute(view)
    else:
        result = np.empty(view.shape, view.dtype)
        compute(result)
        view[...] = result
    written(out)
    return out


def check_writable(out: Array, spec: Problem) -> None:
    """Refuse an output that is read-only."""
    if not out.flags.writeable:
        raise ArrayError(f"out is writable; got a read-only array: {spec}")


def written(out: Any) -> None:
    """Tell autograd that an array was written to, where it is a tensor."""
    if is_tensor(out):
        sys.modules["torch"].autograd.graph.increment_version(out)


def overlap(spec: Problem) -> ArrayError:
    """Return the error of an output that shares memory with an input."""
    return ArrayError(f"out shares no memory with an input; got one that may: {spec}")


def check_output(out: Array, spec: Problem) -> None:
    """Refuse an output by what its shape, its strides and its element type tell.

    Raises:
        ArrayError: its shape is not the problem's, or its elements share memory.
        DTypeError: its element type is not the problem's.
    """
    wanted = element(spec.dtype_of("y")).numpy
    if out.dtype != wanted:
        raise DTypeError(f"out has the problem's dtype {wanted}; got {out.dtype}: {spec}")
    if out.shape != spec.output_shape:
        raise ArrayError(f"out has shape {spec.output_shape}; got {out.shape}: {spec}")
    check_apart(out, "out", spec)


def check_apart(array: Array, name: str, spec: Problem) -> None:
    """Refuse to write to an array whose elements share memory.

    Raises:
        ArrayError: they do.
    """
    if array.size and _overlaps_itself(array):
        raise ArrayError(f"{name} has memory for each element; got strides {array.strides}: {spec}")


def _overlaps_itself(array: Array) -> bool:
    """Whether elements share memory, or lie so entangled that they may."""
    reach = array.itemsize
    for step, size in sorted(zip(map(abs, array.strides), array.shape, strict=True)):
        if size > 1 and step < reach:
            return True
        reach += (size - 1) * step
    return False


def _view(array: Any, name: str) -> Array:
    torch = _torch()
    if torch is not None and isinstance(array, torch.Tensor):
        if tracked(array):
            raise ArrayError(
                f"{name} requires no gradient here (use depthwise.torch, .detach() or "
                f"torch.no_grad()); got requires_grad=True"
            )
        if array.device.type != "cpu":
            raise ArrayError(f"{name} lies in CPU memory; got a tensor on {array.device}")
        if array.is_neg():
            raise ArrayError(f"{name} holds its values (use .resolve_neg()); got a negated view")
        _check_dense(array, name)
        try:
            check_storage(array, name)
            return of_tensor(array)
        except (RuntimeError, TypeError) as error:
            kind = str(array.dtype).removeprefix("torch.")
            got = error if kind in DTYPES else f"{kind}{remedies.of_type(array, name)}"
            raise DTypeError(f"{name} has dtype {ANY_REAL}; got {got}") from None
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
        raise DTypeError(f"{name} has dtype {ANY_REAL}; got {error}") from None


def _check_dense(tensor: Any, name: str) -> None:
    """Refuse a tensor of torch's whose elements do not lie in memory at its strides."""
    if tensor.is_nested:
        raise ArrayError(f"{name} is dense (use .to_padded_tensor(0)); got a nested tensor")
    if str(tensor.layout) != "torch.strided":
        raise ArrayError(f"{name} is dense (use .to_dense()); got a {tensor.layout} tensor")
    if _lies_nowhere(tensor):
        raise ArrayError(
            f"{name} lies in memory (depthwise.torch has what torch.func and torch.compile take); "
            f"got a tensor that stands for others, shape {tuple(tensor.shape)} {tensor.dtype}"
        )


def _lies_nowhere(tensor: Any) -> bool:
    try:
        return bool(tensor.untyped_storage().nbytes() and not tensor.data_ptr())
    except RuntimeError:  # as of those that torch.func.vmap gives, and of fake ones
        return True
