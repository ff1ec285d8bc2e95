"""As much of oneDNN's C API as a chain of convolutions needs, through ctypes.

Version 2 (Debian 12) keeps descriptors in structures of the caller's, version 3 behind handles;
`Library` is the same for both.  Numbers that differ between versions are looked up by their names.
Handles are never destroyed, they live as long as the process; the arrays of a `Memory` are not.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from ctypes import byref, c_char_p, c_float, c_int, c_int64, c_size_t, c_uint, c_void_p
from dataclasses import dataclass
from typing import Any

import numpy as np

from depthwise.measure.catalogue import onednn_version
from depthwise.measure.engine import Array

CPU, IN_ORDER, ANY, FLOAT32 = 1, 1, 1, 3
FORWARD_INFERENCE, CONVOLUTION_DIRECT = 96, 1
SRC, DST, FROM, TO, WEIGHTS, BIAS = 1, 17, 1, 17, 33, 41
SRC_MD, WEIGHTS_MD, DST_MD = 129, 131, 133

_DESCRIPTOR_BYTES = 16384  # version 2: its largest descriptor takes about 7000
_NAMED_VALUES = range(1024)
_ALIGNMENT = 64

Descriptor = Any
"""A memory descriptor: a handle (version 3) or a structure (version 2)."""


class _Argument(ctypes.Structure):
    _fields_ = (("index", c_int), ("memory", c_void_p))


@dataclass(frozen=True)
class Memory:
    """An array, where oneDNN finds it, and how it is laid out."""

    handle: c_void_p
    descriptor: Descriptor
    array: Array


class Primitive:
    """An operation with its arguments."""

    def __init__(self, library: Library, handle: c_void_p, arguments: dict[int, Memory]) -> None:
        pairs = [_Argument(index, memory.handle) for index, memory in arguments.items()]
        self._execute = library.c.dnnl_primitive_execute
        self._handle, self._stream, self._count = handle, library.stream, len(pairs)
        self._arguments = (_Argument * len(pairs))(*pairs)
        self._keep = arguments

    def __call__(self) -> None:
        """Give it to the stream; its result is there at the end of `Library.run`."""
        if status := self._execute(self._handle, self._stream, self._count, self._arguments):
            raise RuntimeError(f"dnnl_primitive_execute failed with status {status}")


class Library:
    """oneDNN with one engine and one stream."""

    def __init__(self, path: str) -> None:
        self.c = ctypes.CDLL(path)
        self.c.dnnl_primitive_desc_query_md.restype = c_void_p
        self.c.dnnl_memory_desc_get_size.restype = c_size_t
        self.version = onednn_version(self.c)
        self.engine = self._new("dnnl_engine_create", CPU, c_size_t(0))
        self.stream = self._new("dnnl_stream_create", self.engine, c_uint(IN_ORDER))

    def run(self, steps: Sequence[Callable[[], None]]) -> None:
        """Run primitives one after the other to their end."""
        for step in steps:
            step()
        if status := self.c.dnnl_stream_wait(self.stream):
            raise RuntimeError(f"dnnl_stream_wait failed with status {status}")

    def value_of(self, kind: str, name: str) -> int | None:
        """Return the number of an enumerator, kind "alg_kind" or "fmt_tag"; None if unknown."""
        text = getattr(self.c, f"dnnl_{kind}2str")
        text.restype = c_char_p
        return next((value for value in _NAMED_VALUES if text(value) == name.encode()), None)

    def instruction_set(self) -> str:
        """Return oneDNN's name for the instructions it uses."""
        self.c.dnnl_cpu_isa2str.restype = c_char_p
        name: bytes = self.c.dnnl_cpu_isa2str(self.c.dnnl_get_effective_cpu_isa())
        return name.decode()

    def strided(self, shape: Sequence[int], strides: Sequence[int]) -> Descriptor:
        """Describe an array by its strides, counted in elements."""
        return self._describe("strides", shape, _dims(strides))

    def tagged(self, shape: Sequence[int], tag: int) -> Descriptor:
        """Describe an array by a format tag; `ANY` lets the primitive choose."""
        return self._describe("tag", shape, tag)

    def memory(self, descriptor: Descriptor, array: Array | None = None) -> Memory:
        """Hand an array to oneDNN, or make one of the size that it asks for."""
        if array is None:
            array = _aligned(self.c.dnnl_memory_desc_get_size(descriptor))
        address = c_void_p(array.ctypes.data)
        handle = self._new("dnnl_memory_create", descriptor, self.engine, address)
        return Memory(handle, descriptor, array)

    def plain(self, array: Array) -> Memory:
        """Hand over an array of any strides, its axes in oneDNN's order."""
        strides = [stride // array.itemsize for stride in array.strides]
        return self.memory(self.strided(array.shape, strides), array)

    def reorder(self, source: Memory, target: Memory) -> Callable[[], None]:
        """Return the copy from one layout to another; from an array to itself it does nothing."""
        if source is target:
            return lambda: None
        description = self._new(
            "dnnl_reorder_primitive_desc_create",
            source.descriptor, self.engine, target.descriptor, self.engine, None,
        )  # fmt: skip
        return self.primitive(description, {FROM: source, TO: target})

    def alike(self, memory: Memory, descriptor: Descriptor) -> Memory:
        """Return memory in this layout: the one given where it has it, otherwise a new one."""
        if self.c.dnnl_memory_desc_equal(memory.descriptor, descriptor):
            return memory
        return self.memory(descriptor)

    def convolution(
        self,
        descriptors: tuple[Descriptor, Descriptor, Descriptor | None, Descriptor],
        geometry: Sequence[Sequence[int]],
        epilogue: tuple[int, float, float] | None,
        *,
        accumulates: bool,
    ) -> c_void_p:
        """Return the primitive descriptor of a convolution.

        Args:
            descriptors: source, weights, bias, destination.
            geometry: strides, dilations (0 is none), padding before, padding after.
            epilogue: an elementwise algorithm with its two parameters.
            accumulates: whether the result is added to what the destination holds.
        """
        fixed = (FORWARD_INFERENCE, CONVOLUTION_DIRECT, *descriptors, *map(_dims, geometry))
        attributes = self._attributes(epilogue, accumulates)
        if self.version[0] >= 3:
            return self._new(
                "dnnl_convolution_forward_primitive_desc_create", self.engine, *fixed, attributes
            )
        operation = ctypes.create_string_buffer(_DESCRIPTOR_BYTES)
        self._call("dnnl_dilated_convolution_forward_desc_init", operation, *fixed)
        return self._new("dnnl_primitive_desc_create", operation, attributes, self.engine, None)

    def layout_of(self, description: c_void_p, what: int) -> Descriptor:
        """Return the layout that a primitive chose for one of its arguments."""
        return c_void_p(self.c.dnnl_primitive_desc_query_md(description, what, 0))

    def primitive(self, description: c_void_p, arguments: dict[int, Memory]) -> Primitive:
        """Compile a primitive and bind its arguments."""
        return Primitive(self, self._new("dnnl_primitive_create", description), arguments)

    def _describe(self, how: str, shape: Sequence[int], given: object) -> Descriptor:
        arguments = (len(shape), _dims(shape), FLOAT32, given)
        if self.version[0] >= 3:
            return self._new(f"dnnl_memory_desc_create_with_{how}", *arguments)
        descriptor = ctypes.create_string_buffer(_DESCRIPTOR_BYTES)
        self._call(f"dnnl_memory_desc_init_by_{how}", descriptor, *arguments)
        return descriptor

    def _attributes(
        self, epilogue: tuple[int, float, float] | None, accumulates: bool
    ) -> c_void_p | None:
        if epilogue is None and not accumulates:
            return None
        operations = self._new("dnnl_post_ops_create")
        if epilogue:
            algorithm, alpha, beta = epilogue
            scale = () if self.version[0] >= 3 else (c_float(1.0),)
            self._call(
                "dnnl_post_ops_append_eltwise",
                operations, *scale, algorithm, c_float(alpha), c_float(beta),
            )  # fmt: skip
        if accumulates:
            offset_and_type = (c_int(0), c_int(FLOAT32)) if self.version[0] >= 3 else ()
            self._call("dnnl_post_ops_append_sum", operations, c_float(1.0), *offset_and_type)
        attributes = self._new("dnnl_primitive_attr_create")
        self._call("dnnl_primitive_attr_set_post_ops", attributes, operations)
        return attributes

    def _new(self, function: str, *arguments: object) -> c_void_p:
        handle = c_void_p()
        self._call(function, byref(handle), *arguments)
        return handle

    def _call(self, function: str, *arguments: object) -> None:
        if status := getattr(self.c, function)(*arguments):
            raise RuntimeError(f"{function} failed with status {status}")


def _dims(values: Sequence[int]) -> Any:
    return (c_int64 * 12)(*values)


def _aligned(size: int) -> Array:
    room = np.full(size + _ALIGNMENT, 0xFF, np.uint8)  # every float a NaN
    start = -room.ctypes.data % _ALIGNMENT
    return room[start : start + size]
