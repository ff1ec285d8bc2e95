"""What every engine of the benchmark looks like, ours included.

An engine runs in a process of its own (`depthwise.measure.worker`), often in a virtual environment
of its own, so an adapter imports nothing of this package beyond the problem, the oracle and NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from numpy.typing import NDArray

from depthwise.problem.problem import Problem

Array: TypeAlias = NDArray[Any]
Clock = Literal["kernel", "call"]
"""What is timed: the kernels alone, or what a person calls (see `Peer.prepare`)."""

TARGET_VARIABLE = "DEPTHWISE_BENCH_TARGET"
"""The environment variable that tells an adapter which CPU to generate code for."""


@dataclass(frozen=True)
class Prepared:
    """One problem made ready in one engine: all that is not timed has been done.

    The time of one call is the time of `run`; where there is a `baseline` it is
    (time of `run` - time of `baseline`) / `calls`.
    """

    run: Callable[[], object]
    """One timed call; returns when the result is there."""
    output: Callable[[], Any]
    """The result in the specification's layout and shape: that of the last `run`, or computed anew
    where there is a `baseline` or a state (see `streams`).  Of a network, a sequence of all its
    results."""
    layout: str
    """The layout in which the engine computes, e.g. "NCHW", "NHWC", "blocked"."""
    excluded: str
    """What the clock does not see, in words, e.g. "weight packing, reorders at both ends"."""
    baseline: Callable[[], object] | None = None
    """Where an engine reorders at both ends of its graph: the same with `calls` fewer of the
    problem, so that the difference is its kernels alone (see `bench.peers.copies`)."""
    calls: int = 1
    """How many times more often `run` computes the problem than `baseline` does."""
    rounds_alike: bool = True
    """Whether whole numbers are rounded as the oracle rounds them, and so are the same, and those
    of 16 bits once; another engine's few may be one off, or rounded between its operators (see
    `worker.compare`)."""


class Peer(Protocol):
    """An engine: `Engine(threads)` in its module.

    The constructor imports the engine, and sets the threads before its first operator.
    """

    name: str
    """The name on the command line, e.g. "torch"."""
    variants: tuple[str, ...]
    """Ways of using it that are measured apart, e.g. ("nchw", "channels_last")."""

    def version(self) -> str:
        """Return the engine's own version."""

    def threads(self) -> int:
        """Return the thread count that took effect, read back from the engine where it tells."""

    def rejects(self, spec: Problem, variant: str, clock: Clock) -> str | None:
        """Say why this engine cannot compute the problem, or None where it can."""

    def prepare(
        self, spec: Problem, variant: str, clock: Clock, arrays: tuple[Array, ...]
    ) -> Prepared:
        """Make the problem ready.

        Args:
            spec: one that it does not reject.
            variant: one of `variants`.
            clock: "kernel" (the engine's favourite layout, weights packed, no reorders, as little
                call overhead as it allows) or "call" (what a person calls, arrays in
                `spec.layout`).
            arrays: what `posed.arrays` gives: input, then `spec.operands` in order, then the empty
                output.
        """


class SpecialPeer(Peer, Protocol):
    """An engine that has other ways with some kinds of problem."""

    special: Mapping[str, tuple[str, ...]]
    """By kind, what stands in the place of `variants`."""


class NetworkPeer(Peer, Protocol):
    """An engine that also runs whole networks."""

    def network(self, folder: Path, variant: str) -> Prepared:
        """Make a network ready.

        Args:
            folder: with the files of the network (`network_files`).
            variant: one of those of its `catalogue.Source`.
        """
