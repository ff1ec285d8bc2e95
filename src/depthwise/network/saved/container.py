"""A file of tensors and a description of them: read as it was written, or refused.

It is a file of safetensors.  The description is JSON in its metadata; one of its tensors is the
SHA-256 of all other bytes of the file.  Tensors are mapped: their memory is the file's.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, TypeAlias

import numpy as np

from depthwise.errors import ModelError
from depthwise.problem.arrays import Array
from depthwise.problem.dtypes import numpy_type

Source: TypeAlias = "str | os.PathLike[str] | bytes"
Content: TypeAlias = "bytearray | mmap.mmap"

_METADATA, _KEY = "__metadata__", "depthwise"
"""Where safetensors keeps words, and the word of ours."""
_DIGEST = "sha256"
"""The name of the tensor that is the digest."""
_DIGEST_BYTES = hashlib.sha256().digest_size
_LENGTH_BYTES = 8
"""How many bytes at the beginning say how long the header is that follows."""
HEAD_BYTES = _LENGTH_BYTES + 1
"""From how many bytes a file is known as one of safetensors."""
_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "F16": "float16",
    "BF16": "bfloat16",
    "U32": "uint32", "I32": "int32", "F32": "float32", "U64": "uint64", "I64": "int64",
    "F64": "float64", "C64": "complex64",
}  # fmt: skip
"""NumPy's name of each type that safetensors names."""


def begins_one(head: bytes) -> bool:
    """Whether a file that begins with these `HEAD_BYTES` is one of safetensors."""
    return head[_LENGTH_BYTES:] == b"{" and head[_LENGTH_BYTES // 2 : _LENGTH_BYTES] == bytes(4)


def written(description: Any, tensors: Mapping[str, Array]) -> bytearray:
    """Return the content of a file.

    The same description and tensors give the same bytes.

    Raises:
        ModelError: a tensor is of a type that the file has no name for.
    """
    from safetensors.numpy import save

    for name, tensor in tensors.items():
        if tensor.dtype.name not in _DTYPES.values():
            raise ModelError(
                f"what is saved is of the types {', '.join(sorted(_DTYPES.values()))}; "
                f"got {tensor.dtype} for {name}"
            )
    ordered = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    ordered[_DIGEST] = np.zeros(_DIGEST_BYTES, np.uint8)
    words = json.dumps(description, separators=(",", ":"))
    content = bytearray(save(ordered, {_KEY: words}))
    begin = _begin(_header(content)[_DIGEST], content)
    content[begin : begin + _DIGEST_BYTES] = _digest(content, begin)
    return content


def read(source: Source) -> tuple[Any, dict[str, Array]]:
    """Return the description and the tensors of a file.

    Raises:
        ModelError: it is not what `written` returned.
        OSError: it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with _file(source) as file, safe_open(f"/proc/self/fd/{file.fileno()}", "np"):
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        header = _header(content)
        words = header.pop(_METADATA)[_KEY]
        _check(content, header.pop(_DIGEST))
        tensors = {name: _tensor(content, each) for name, each in header.items()}
        return json.loads(words), tensors
    except ModelError:
        raise
    except (SafetensorError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ModelError(
            f"a file of a network is one of safetensors as net.save writes it, whole; got {error}"
        ) from None


def _check(content: mmap.mmap, tensor: Mapping[str, Any]) -> None:
    """See that a file has the digest that lies in this tensor of it."""
    begin = _begin(tensor, content)
    if _digest(content, begin) != content[begin : begin + _DIGEST_BYTES]:
        raise ModelError(
            "a file of a network is read as it was written (save it again where it was damaged); "
            "got one whose SHA-256 is not that of its content"
        )
    content.madvise(mmap.MADV_DONTNEED)  # it was read for this; what is used will be read again


@contextmanager
def _file(source: Source) -> Iterator[IO[bytes]]:
    """Yield a source as a file that can be mapped."""
    if not isinstance(source, bytes):
        with open(source, "rb") as file:
            yield file
        return
    with os.fdopen(os.memfd_create(_KEY), "w+b") as memory:
        memory.write(source)
        memory.flush()
        yield memory


def _header(content: Content) -> dict[str, Any]:
    """Return what the file says of each tensor: type, shape, and where it lies."""
    found: dict[str, Any] = json.loads(bytes(content[_LENGTH_BYTES : _data(content)]))
    return found


def _data(content: Content) -> int:
    """Return where the tensors begin."""
    return _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")


def _begin(tensor: Mapping[str, Any], content: Content) -> int:
    """Return where a tensor lies."""
    begin: int = tensor["data_offsets"][0]
    return _data(content) + begin


def _digest(content: Content, begin: int) -> bytes:
    """Return the digest of all bytes but those of the digest, which lie from there on."""
    with memoryview(content) as whole:
        found = hashlib.sha256(whole[:begin])
        found.update(whole[begin + _DIGEST_BYTES :])
    return found.digest()


def _tensor(content: Content, tensor: Mapping[str, Any]) -> Array:
    kind, shape = numpy_type(_DTYPES[tensor["dtype"]]), tensor["shape"]
    if 0 in shape:
        return np.zeros(shape, kind)
    count = int(np.prod(shape, dtype=np.int64))
    flat = np.frombuffer(content, kind, count, _begin(tensor, content))
    lies: Array = flat.reshape(shape)
    return lies
