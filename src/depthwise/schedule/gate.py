"""The gate of a squeeze-and-excite block: which products turn means of channels into scales."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from depthwise.machine.target import Target
from depthwise.problem.block import BlockSpec
from depthwise.problem.spec import ConvSpec
from depthwise.schedule import pointwise
from depthwise.schedule.form import PanelsForm

_ONE_ROW = ((1, 1),)


@dataclass(frozen=True)
class Gate:
    """What is computed, and how."""

    reduce: ConvSpec
    """From the mean of each channel to a few."""
    expand: ConvSpec
    """From these to the scale of each channel."""
    images: int
    rows: int
    """Sums of an image."""
    pixels: int
    """Pixels of an image."""
    target: Target

    @classmethod
    def of(cls, spec: BlockSpec, target: Target) -> Gate:
        """Return the gate of a block."""
        conv, gate = spec.depthwise, spec.squeeze_excite
        assert gate is not None
        common: dict[str, Any] = {"bias": True, "layout": "NHWC", "dtype": conv.dtype}
        wide, narrow = conv.out_channels, gate.channels
        reduce = ConvSpec.pointwise(wide, narrow, 1, activation=gate.activation, **common)
        expand = ConvSpec.pointwise(narrow, wide, 1, activation=gate.gate, **common)
        pixels = conv.out_height * conv.out_width
        return cls(reduce, expand, conv.batch, conv.out_height, pixels, target)

    @cached_property
    def forms(self) -> tuple[PanelsForm, PanelsForm]:
        """The forms in which the two products take their weights."""
        return self._form(self.reduce), self._form(self.expand)

    def _form(self, part: ConvSpec) -> PanelsForm:
        plan = pointwise.plan_for(part.dtype, part.out_channels, _ONE_ROW, self.target)
        return PanelsForm(
            pointwise.panels(part.out_channels, _ONE_ROW, plan, part.dtype, self.target)
        )
