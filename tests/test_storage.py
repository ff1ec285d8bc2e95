"""Numbers of 16 bits as float32 and back: every one of them, and what lies between two."""

import ctypes
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import host
from depthwise.problem.dtypes import element
from depthwise.programs.build import SYMBOL, Program
from depthwise.programs.conversions import conversion

EVERY = np.concatenate([np.arange(2**16), np.arange(13)]).astype(np.uint16)
"""All, and some again for the end, which is not a whole vector."""
PLAIN = replace(host(), isa="sse")
"""This machine, for all that is asked of it one without instructions for float16."""
WAYS = {
    "bfloat16": ("bfloat16", host()),
    "float16": ("float16", host()),
    "float16 without instructions": ("float16", PLAIN),
}


@pytest.fixture(scope="module", params=WAYS.values(), ids=WAYS)
def way(request):
    return request.param


def numpys(name):
    return np.dtype(element(name).numpy)


def computed(name, target, given, *, wide):
    """Return numbers as float32, or the other way round, computed in vectors and one by one."""
    how, count, lanes = conversion(element(name), target), given.size, 16
    types = (how.storage, "float32") if wide else ("float32", how.storage)
    with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
        T.func_name("main")
        x, y = (T.arg(n, T.Buffer((count,), t)) for n, t in zip("xy", types, strict=True))
        convert = how.widen if wide else how.narrow
        whole = count // lanes * lanes
        with T.serial(0, whole // lanes) as turn, T.vectorized(0, lanes) as lane:
            T.buffer_store(y, convert(x[turn * lanes + lane]), [turn * lanes + lane])
        with T.serial(whole, count) as each:
            T.buffer_store(y, convert(x[each]), [each])
    result = np.empty(count, np.float32 if wide else numpys(name))
    built = Program({}, {SYMBOL: builder.get()}, target).built
    address, owner = built.address()
    pointers = [ctypes.c_void_p(each.ctypes.data) for each in (given, result)]
    ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int32] * 2)(address)(*pointers, 0, 1)
    del owner
    return result


def equal(got, wanted):
    """Whether arrays are the same to the last bit, NaN for NaN."""
    kind = np.uint16 if got.dtype.itemsize == 2 else np.uint32
    same = got.view(kind) == wanted.view(kind)
    with np.errstate(invalid="ignore"):
        return np.all(same | (np.isnan(got) & np.isnan(wanted)))


def test_every_number_is_widened_exactly_and_comes_back(way):
    name, target = way
    given = EVERY.view(numpys(name))
    wide = computed(name, target, given, wide=True)
    with np.errstate(invalid="ignore"):
        assert equal(wide, given.astype(np.float32))
    assert equal(computed(name, target, wide, wide=False), given)


def between(name):
    """Return numbers of float32 at, and beside, the middle of each two neighbours, and others."""
    with np.errstate(invalid="ignore"):
        finite = EVERY.view(numpys(name)).astype(np.float32)
    finite = np.unique(finite[np.isfinite(finite)])
    middle = (finite[1:].astype(np.float64) + finite[:-1]).astype(np.float64) / 2
    near = [middle.astype(np.float32)]
    near += [np.nextafter(near[0], np.float32(end)) for end in (-np.inf, np.inf)]
    bits = np.random.default_rng(0).integers(0, 2**32, 2**20, dtype=np.uint64).astype(np.uint32)
    largest = np.float32([np.finfo(np.float32).max, np.finfo(np.float32).tiny, np.inf, np.nan, 0])
    return np.concatenate([*near, bits.view(np.float32), largest, -largest])


def test_rounding_is_to_the_nearest_and_of_two_to_the_even(way):
    name, target = way
    given = between(name)
    with np.errstate(over="ignore", invalid="ignore"):
        assert equal(computed(name, target, given, wide=False), given.astype(numpys(name)))


def test_nan_stays_nan_whatever_its_bits(way):
    name, target = way
    bits = np.uint32([0x7F800001, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF, 0x7FC00000, 0x7F80FFFF])
    assert np.isnan(computed(name, target, bits.view(np.float32), wide=False)).all()


def test_types_of_memory_are_those_of_the_numbers():
    assert numpys("bfloat16") == ml_dtypes.bfloat16
    for name in ("bfloat16", "float16"):
        kind = element(name)
        assert (kind.bytes, kind.computed.name) == (2, "float32")
        assert kind.epsilon == float(ml_dtypes.finfo(numpys(name)).eps)
        assert host().lanes(name) == host().lanes("float32")
    assert conversion(element("float32"), host()) is None
