"""A chain of convolutions that one kernel computes strip by strip: its plans, forms and memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil

import numpy as np

from depthwise.plan import Plan
from depthwise.schedule import channels_last, multiples, pointwise
from depthwise.schedule.rule import Form, Rule
from depthwise.spec import ConvSpec
from depthwise.target import Target

_LINE_BYTES = 64


@dataclass(frozen=True)
class Chain:
    """Two or three parts of a block in one kernel.

    The parts are a pointwise convolution or none, a depthwise one, a pointwise one or none.  Inside,
    everything is one image and channels-last.
    """

    parts: tuple[ConvSpec, ...]
    """As the block has them."""
    plans: tuple[Plan, ...]
    """One for each part."""
    rows: int
    """Output rows of a strip."""
    target: Target

    @cached_property
    def inner(self) -> tuple[ConvSpec, ...]:
        """The parts as they are computed: one image, channels-last.

        A residual of channels-first data is added when the result is laid out.
        """
        return tuple(
            replace(part, batch=1, layout="NHWC", residual=part.residual and part.channels_last)
            for part in self.parts
        )

    @property
    def channels_last(self) -> bool:
        """Whether input and output are."""
        return self.parts[0].channels_last

    @property
    def _middle(self) -> int:
        return next(i for i, part in enumerate(self.parts) if part.kind == "depthwise")

    @property
    def names(self) -> tuple[str, ...]:
        """What the parts are called."""
        first = 1 - self._middle
        return ("expand", "depthwise", "project")[first : first + len(self.parts)]

    @property
    def depthwise_plan(self) -> Plan:
        """The plan of the part in the middle."""
        return self.plans[self._middle]

    @property
    def expand(self) -> ConvSpec | None:
        """The part before the depthwise convolution."""
        return self.inner[0] if self._middle else None

    @property
    def depthwise(self) -> ConvSpec:
        """The part in the middle."""
        return self.inner[self._middle]

    @property
    def project(self) -> ConvSpec | None:
        """The part behind the depthwise convolution."""
        return self.inner[-1] if self._middle < len(self.inner) - 1 else None

    @cached_property
    def rule(self) -> Rule:
        """The rule of the depthwise convolution."""
        return channels_last if self.depthwise.multiplier == 1 else multiples

    @cached_property
    def forms(self) -> tuple[Form, ...]:
        """The forms in which the parts take their weights."""
        return tuple(
            self.rule.form(part, plan, self.target)
            if part.kind == "depthwise"
            else Form(panels=pointwise.panels(part, plan, self._pixels_at_once(part), self.target))
            for part, plan in zip(self.inner, self.plans, strict=True)
        )

    def _pixels_at_once(self, part: ConvSpec) -> int:
        """Return the fewest pixels of a call of a product: a row where rows are new one by one."""
        rest = self.depthwise.out_height - (self.strips - 1) * self.rows
        return part.width * (1 if part is self.expand else rest)

    @property
    def strips(self) -> int:
        """Strips of an image."""
        return ceil(self.depthwise.out_height / self.rows)

    @property
    def has_ring(self) -> bool:
        """Whether the depthwise convolution reads a ring of rows, and not the input itself."""
        return self.expand is not None or not self.channels_last

    @property
    def ring_rows(self) -> int:
        """Input rows that a strip of outputs reads."""
        conv = self.depthwise
        reach = (self.rows - 1) * conv.stride[0] + (conv.kernel[0] - 1) * conv.dilation[0] + 1
        return min(reach, conv.height)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Elements of the buffers in scratch memory, each a number of whole cache lines."""
        conv, project = self.depthwise, self.project
        pixels = self.rows * conv.out_width
        sizes = {}
        if self.has_ring:
            sizes["ring"] = self.ring_rows * conv.width * conv.channels
        if project or not self.channels_last:
            sizes["strip"] = pixels * conv.out_channels
        if project and not self.channels_last:
            sizes["result"] = pixels * project.out_channels
        line = _LINE_BYTES // np.dtype(conv.dtype).itemsize
        return {name: ceil(size / line) * line for name, size in sizes.items()}

    @property
    def scratch_bytes(self) -> int:
        """Bytes of scratch memory of each thread."""
        return sum(self.sizes.values()) * np.dtype(self.depthwise.dtype).itemsize
