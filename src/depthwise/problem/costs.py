"""What a problem costs, known before any code runs: parameters, MACs, FLOPs and bytes.

`depthwise.problem.counting` says what counts as what.
"""

from __future__ import annotations

from math import prod

from depthwise.problem.counting import Cost
from depthwise.problem.families import family_of
from depthwise.problem.parse import specification
from depthwise.problem.problem import Problem
from depthwise.problem.vocabulary import Pair


def cost(problem: Problem | str) -> Cost:
    """Return the cost of a problem, given as a specification or in its text form.

    >>> cost("conv c8 o64 hw128 k3 bias").params, cost("separable c8 o64 hw128 k3 bias").params
    (4672, 656)

    Raises:
        ParseError: the text is not a problem.
        SpecError: the problem that the text names cannot exist.
    """
    spec = specification(problem)
    return family_of(spec).cost(spec)


def parameter_ratio(channels: int, out_channels: int, kernel: Pair, *, bias: bool = False) -> float:
    """Return how many times the parameters of its separable counterpart a convolution has.

    For C input channels, K output channels and a kernel of R x S, with the terms in brackets where
    there is a bias: (K*C*R*S [+ K]) / (C*R*S + K*C [+ C + K]).  Source: "Depthwise Separable
    Convolution", Lei Mao, 2021.
    """
    c, k, taps = channels, out_channels, prod(kernel)
    return (k * c * taps + bias * k) / (c * taps + k * c + bias * (c + k))


def parameter_ratio_limit(kernel: Pair) -> int:
    """Return what `parameter_ratio` tends to as the channels grow: R*S."""
    return prod(kernel)
