"""Who computes what no kernel of ours does: the engine of the front end that read a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from depthwise.errors import ModelError
from depthwise.problem.arrays import Array

if TYPE_CHECKING:
    from depthwise.network.graph import Node, Value


Counts: TypeAlias = "tuple[int, int]"
"""How many values a step takes, and how many it makes."""


def check_counts(stated: Counts, own: Counts) -> None:
    """Refuse a step that is not what its engine makes of it.

    Raises:
        ModelError: it takes or makes another number of values.
    """
    if stated != own:
        raise ModelError(
            "what an engine computes takes and makes as many values as its step (save the network "
            f"again where its file was changed); got {own} for {stated}"
        )


class Runner(Protocol):
    """Some nodes, ready to be computed by an engine, for one workspace of one network."""

    def place(self, position: int, array: Array) -> None:
        """Take an input from this memory in every call; (N, C, H, W) may lie channels-last."""

    def place_output(self, position: int, array: Array) -> None:
        """Write an output to this memory in every call."""

    def settled(self) -> list[Any] | None:
        """Return the outputs where they are the same memory in every call; None elsewhere."""

    def run(self, given: Sequence[Any]) -> list[Any]:
        """Compute.

        Args:
            given: for each input a value of a call: an array, or what a runner of the same engine
                returned; None where `place` said where it lies.

        Returns:
            The outputs; None for those with a place.
        """


class Engine(Protocol):
    """An engine."""

    name: str
    takes_whole_graphs: bool
    """Whether it computes many nodes at once, or one at a time."""
    shares_memory: bool
    """Whether its results may lie in the memory of what it takes, where a node may view."""

    def write(
        self, nodes: Sequence[Node], inputs: Sequence[Value], outputs: Sequence[Value],
        images: frozenset[Value],
    ) -> bytes:  # fmt: skip
        """Return nodes as something that can be saved.

        Args:
            nodes: in order.
            inputs: what they take from elsewhere.
            outputs: what others take of what they make.
            images: the values of four axes that are given, or are to be returned, channels-last.
        """

    def title(self, nodes: Sequence[Node]) -> str:
        """Return what nodes compute, in words."""

    def runner(self, payload: bytes, threads: int, counts: Counts) -> Runner:
        """Return what `write` returned, ready to run on so many threads.

        Raises:
            ModelError: it takes or makes another number of values.
        """

    def result(self, value: Any, *, inside: bool) -> Any:
        """Return what a runner returned as the front end's users have it.

        Args:
            value: what it returned.
            inside: whether it may lie in the network's memory, which the next call overwrites.
        """

    def compute(self, payload: bytes, given: Sequence[Any], makes: int) -> list[Any]:
        """Compute what `write` returned, once; images are (N, C, H, W) in any order.

        Arrays come in and out as NumPy's.

        Raises:
            ModelError: see `runner`.
        """
