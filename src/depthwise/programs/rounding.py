"""Rounding without the C library, for processors that have no instruction for it.

A float32 of at most 2^22 and 1.5 * 2^23 add up to a number of which the last bits are those of the
whole number next to it, the even one of two, in two's complement.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from depthwise.machine.target import Target

_CALLING = ("thumb", "armv7", "wasm")
"""Architectures for which LLVM calls `lrintf`."""
_SHIFT, _SHIFT_BITS = 1.5 * 2**23, 0x4B400000


def without_library(func: tirx.PrimFunc, target: Target) -> tirx.PrimFunc:
    """Return a function that rounds by an addition; what it rounds is small."""
    if not target.architecture.startswith(_CALLING):
        return func

    def replaced(call: Any) -> Any:
        if call.op.name != "tirx.call_llvm_pure_intrin" or int(call.args[0]) != _rounding():
            return call
        value, kind = call.args[1], str(call.ty.dtype)
        shift, bits = tirx.const(_SHIFT, "float32"), tirx.const(_SHIFT_BITS, "int32")
        if (lanes := tvm_ffi.dtype(kind).lanes) > 1:
            shift, bits = tirx.Broadcast(shift, lanes), tirx.Broadcast(bits, lanes)
        return tirx.reinterpret(kind, value + shift) - bits

    return tvm_ffi.structural_map(func, [(tvm.ir.Call, replaced)])


@cache
def _rounding() -> int:
    """Return LLVM's number of the function that rounds."""
    return int(tvm_ffi.get_global_func("target.llvm_lookup_intrinsic_id")("llvm.lrint"))
