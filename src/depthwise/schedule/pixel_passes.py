"""Sums, means and norms of pixels: one way each, most of them in one launch.

Norms with the statistics of whole images take three: means and squares of runs of pixels, each of
which stays near while both are summed; what follows of them for each channel of each image; and all
pixels normalised with that.
"""

from __future__ import annotations

from dataclasses import dataclass

from depthwise.machine.target import Target
from depthwise.problem.pixels import PixelSpec
from depthwise.problem.problem import Problem
from depthwise.schedule.one_way import OneWay
from depthwise.schedule.plan import Plan
from depthwise.schedule.steps import INPUT, OUTPUT, Buffer, Step, worth_waking

_BYTES_OF_A_RUN = 16384
"""Half of a first-level cache."""
_MOST_RUNS = 4096


@dataclass(frozen=True)
class Runs:
    """The pixels of each image in runs, as equal as they can be."""

    images: int
    pixels: int
    """Those of an image."""
    count: int
    """The runs of an image."""


def runs(spec: PixelSpec) -> Runs:
    """Return the runs of pixels whose statistics are found at once."""
    pixels = spec.height * spec.width
    nbytes = pixels * spec.channels * spec.element.bytes
    return Runs(spec.batch, pixels, max(1, min(pixels, _MOST_RUNS, nbytes // _BYTES_OF_A_RUN)))


@dataclass(frozen=True)
class PixelPasses(OneWay):
    """The rule for all of them."""

    name: str = "pixel_passes"

    def steps(self, problem: Problem, plan: Plan, target: Target) -> tuple[Step, ...]:
        """Return the one launch, or the three of a groupnorm."""
        assert isinstance(problem, PixelSpec)
        if problem.kind != "groupnorm":
            return super().steps(problem, plan, target)
        most, (weight, bias) = worth_waking(problem), problem.operands
        of_runs = problem.batch, runs(problem).count, 2, problem.groups
        statistics = {"statistics": Buffer.of_sums(of_runs, problem)}
        factors = {"factors": Buffer.of_sums((problem.batch, 2, problem.channels), problem)}
        return (
            Step(
                f"{problem}: means and squares of runs", problem, plan, (INPUT, *statistics), most,
                buffers=statistics,
            ),
            Step(
                f"{problem}: those of images", problem, plan, (*statistics, weight, *factors), 1,
                number=1, buffers=factors,
            ),
            Step(
                f"{problem}: pixels", problem, plan, (INPUT, *factors, bias, OUTPUT), most,
                number=2,
            ),
        )  # fmt: skip
