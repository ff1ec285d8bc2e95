"""Results that lie where a tensor lies that is read for the last time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Overlap:
    """How a result may lie over a tensor, so that each row is read before it is written over."""

    behind: int
    """How many bytes behind the tensor the result may begin at most; before it if negative."""
    in_place: bool
    """Whether the result may begin just where the tensor begins, whatever the other rule says."""

    def both(self, other: Overlap) -> Overlap:
        """Return how a result may lie that keeps to two rules."""
        return Overlap(min(self.behind, other.behind), self.in_place and other.in_place)

    def aligned(self, align: int) -> Overlap:
        """Return the rule for places that are multiples of a number of bytes."""
        return Overlap(self.behind // align * align, self.in_place)

    def saves(self, tensor: int, result: int) -> int:
        """Return how much less memory a tensor and its result take together than one by one.

        Args:
            tensor: its bytes.
            result: its bytes.
        """
        before = 0 if self.in_place else max(0, -self.behind)
        return max(0, tensor + result - max(result, before + tensor))
