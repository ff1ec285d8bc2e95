"""Weights laid out as a program takes them, and known again in the next call."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from depthwise.machine import team
from depthwise.problem.arrays import Array, Memory, is_tensor
from depthwise.problem.spec import ConvSpec
from depthwise.problem.values import nbytes
from depthwise.schedule.form import Form, as_array

MOST_BYTES = 64 * 2**20
"""What all packed weights of the process that are known take at most, and what knows them."""
_WORTH_KEEPING = 4096
"""Bytes from which on comparing weights is faster than packing them, where that is one pass."""
_MOST_SEEN = 1024
"""How many weights of one problem are known to have been seen once."""


@dataclass(frozen=True, eq=False, slots=True)
class _Kept:
    """Weights that are known, and where they lie."""

    packer: Packer
    address: int
    copy: Array
    packed: Memory
    memory: weakref.ref[Any] | None
    """What the weights lie in, where that can be referred to so."""


_kept: OrderedDict[_Kept, None] = OrderedDict()
"""All that are known, those that were not used for longest first.

Threads, the handlers of signals, and the end of any weights, may change it between any two lines.
"""


def kept_bytes() -> int:
    """Return what all weights that are known take now, and what knows them."""
    return sum(known.packer.kept_bytes for known in list(_kept))


def _used(known: _Kept) -> None:
    try:
        _kept.move_to_end(known)
    except KeyError:  # forgotten by now
        return


class Packer:
    """Lays out the weights of a convolution in a form, and knows those that it packed before.

    Weights are known by their address and by every byte, so that what was changed in place is
    packed anew.  They are forgotten when their memory is freed, and where all that are known take
    too much, those go that were not used for longest.
    """

    def __init__(self, spec: ConvSpec, form: Form) -> None:
        self._spec = spec
        self._pack = form.pack(spec)
        size = nbytes(spec.weight_shape, spec.dtype)
        self.kept_bytes = size + nbytes(form.weight_shape(spec), spec.dtype)
        self._keeps = (form.slow_to_pack or size >= _WORTH_KEEPING) and self.kept_bytes < MOST_BYTES
        self._seen: set[int] = set()
        self._known: dict[int, _Kept] = {}

    def __call__(self, weight: Memory, given: Any = None) -> Memory:
        """Return a C-contiguous weight, or that at an address, as the program takes it.

        What is seen for the second time at an address is kept, with a copy to compare with, as long
        as there is the memory of the array or tensor that was `given` for it, if it is not itself.
        """
        if self._pack is None:
            return weight
        if not self._keeps:
            return self._pack(weight)
        address = weight if isinstance(weight, int) else weight.__array_interface__["data"][0]
        known = self._known.get(address)
        if known and team.native().same(weight, known.copy):
            _used(known)
            return known.packed
        packed = self._pack(weight)
        if address in self._seen:
            copy = as_array(weight, self._spec).copy()
            memory = _watched(weight if given is None else given, partial(self._freed, address))
            self._keep(_Kept(self, address, copy, packed, memory))
        else:
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen.add(address)
        return packed

    def _keep(self, new: _Kept) -> None:
        if old := self._known.get(new.address):
            _kept.pop(old, None)
        self._known[new.address] = new
        _kept[new] = None
        excess = kept_bytes() - MOST_BYTES
        for oldest in list(_kept):
            if excess <= 0:
                break
            oldest.packer._forget(oldest)
            excess -= oldest.packer.kept_bytes

    def _freed(self, address: int, memory: weakref.ref[Any]) -> None:
        known = self._known.get(address)
        if known and known.memory is memory:
            self._forget(known)

    def _forget(self, known: _Kept) -> None:
        _kept.pop(known, None)
        if self._known.get(known.address) is known:
            self._known.pop(known.address, None)


def _watched(given: Any, freed: Callable[[weakref.ref[Any]], None]) -> weakref.ref[Any] | None:
    """Return a reference to what an array lies in, which calls `freed` when that is gone.

    None for a bare address, and for memory of kinds that cannot be referred to, such as bytes.
    """
    while isinstance(given, np.ndarray) and given.base is not None:
        given = given.base
    memory = given.untyped_storage() if is_tensor(given) else given
    try:
        return weakref.ref(memory, freed)
    except TypeError:
        return None
