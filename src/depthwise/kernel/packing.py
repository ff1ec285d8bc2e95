"""Weights laid out as a program takes them, and known again in the next call."""

from __future__ import annotations

from depthwise.machine import team
from depthwise.problem.arrays import Array, Memory
from depthwise.problem.spec import ConvSpec
from depthwise.problem.values import nbytes
from depthwise.schedule.form import Form, as_array

_WORTH_KEEPING = 4096
"""Bytes from which on comparing weights is faster than packing them, where that is one pass."""
_MOST_KEPT = 32
"""How many weights of one problem are known at a time."""


class Packer:
    """Lays out the weights of a convolution in a form, and knows those that it packed before.

    Weights are known by their address and by every byte, so that what was changed in place is
    packed anew.
    """

    def __init__(self, spec: ConvSpec, form: Form) -> None:
        self._spec = spec
        self._pack = form.pack(spec)
        size = nbytes(spec.weight_shape, spec.dtype)
        self._keeps = form.slow_to_pack or size >= _WORTH_KEEPING
        self._known: dict[int, tuple[Array, Memory] | None] = {}

    def __call__(self, weight: Memory) -> Memory:
        """Return a C-contiguous weight, or that at an address, as the program takes it.

        What is seen for the second time at an address is kept, with a copy to compare with.
        """
        if self._pack is None:
            return weight
        if not self._keeps:
            return self._pack(weight)
        address = weight if isinstance(weight, int) else weight.__array_interface__["data"][0]
        kept = self._known.get(address)
        if kept and team.native().same(weight, kept[0]):
            return kept[1]
        packed = self._pack(weight)
        again = address in self._known
        while len(self._known) >= _MOST_KEPT:
            self._known.pop(next(iter(self._known)), None)
        self._known[address] = (as_array(weight, self._spec).copy(), packed) if again else None
        return packed
