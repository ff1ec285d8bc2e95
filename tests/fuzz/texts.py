"""Functions of problems, plans and counts, called with lines and values that mean nothing.

A call is refused in words, or returns what it should; lines that are read are printed and read
again.
"""

from __future__ import annotations

import warnings
from math import prod

import numpy as np

import depthwise as dw
from depthwise.errors import DepthwiseError, InternalError
from depthwise.problem import reference
from fuzz.parts import Outcome
from fuzz.windows import ODD

LINES = (
    "depthwise c4 hw5 k3 p1", "depthwise c8 h7 w9 k3x5 s2x1 p'same' nhwc bias relu6",
    "depthwise1d c4 l9 k4 causal", "pointwise c8 o4 hw5 bias residual", "conv c4 o8 hw5 k3 p1 nhwc",
    "separable c4 o8 hw5 k3 p1 nhwc", "inverted c4 e8 o4 hw5 k3 p1 nhwc residual",
    "inverted c8 e16 o8 hw5 k3 p1 nhwc se4", "input_gradient depthwise c4 hw5 k3 p1",
    "weight_gradient depthwise c4 hw5 k3 p1 nhwc bias", "backward depthwise c4 hw5 k3 p1",
    "mean c8 hw5 nhwc", "norm c8 hw5 nhwc eps1e-05",
    "groupnorm c8 hw5 g2 nhwc eps1e-05", "max c8 hw5 nhwc channels",
    "elementwise c8 hw5 nhwc mul.channel add.image relu", "depthwise c4 hw5 k3 p1 float64 d2 m2 n3",
    "attention c8 o12 hw5 keys7 heads2 nhwc bias scale0.5", "causal c4 l9 k4 silu bias state3",
)  # fmt: skip
PLANS = (
    "default", "general", "channels_last tc8 tw4", "packed tc16 tw4", "pointwise",
    "expand depthwise project rows1 | pointwise | channels_last tc8 | pointwise", "channels_first",
)  # fmt: skip
NUMBERS = (
    "0", "1", "2", "7", "-1", "1e3", "1.5", "", "99999999999999999999", "2147483648", "1e999",
    "nan", "0x3", "٣", "3x", "x3", "3x3x3", "9" * 5000,
)  # fmt: skip
JUNK = (
    "",
    " ",
    "é",
    "\ud800",
    "\x00",
    "k",
    "depthwise",
    "(((",
    "'",
    "p'",
    "|",
    "\n",
    "[red]",
    "%s",
    "🙂",
)
LITTLE = 10**6
"""How many elements arrays may have that are made."""


def spoilt_line(rng, lines):
    """Return a line of text with some words changed, or something else."""
    if rng.random() < 0.15:
        return rng.choice(ODD)
    words = rng.choice(lines).split(" ")
    for _ in range(rng.choice([0, 1, 1, 2, 5])):
        at = rng.randrange(len(words) + 1)
        other = rng.choice([*rng.choice(lines).split(" "), *JUNK])
        if at < len(words) and rng.random() < 0.5:
            kept = words[at].rstrip("0123456789.")
            words[at] = rng.choice([kept + rng.choice(NUMBERS), other, words[at] * 2])
        elif rng.random() < 0.5:
            words.insert(at, other)
        else:
            words[at : at + 1] = []
    return " ".join(words)


def elements(problem):
    return sum(map(prod, [problem.input_shape, *problem.operands.values(), problem.output_shape]))


def parse(rng):
    problem = dw.parse(spoilt_line(rng, LINES))
    assert dw.parse(str(problem)) == problem
    return problem


def cost(rng):
    found = dw.cost(spoilt_line(rng, LINES))
    assert found.macs >= 0
    assert found.bytes > 0


def explain(rng):
    target = spoilt_line(rng, ("znver3", "skylake-avx512")) if rng.random() < 0.3 else None
    threads = rng.choice([1, 2, *ODD]) if rng.random() < 0.3 else None
    found = dw.explain(spoilt_line(rng, LINES), target, threads)
    assert None in found.values()


def random_problem(rng):
    problem = parse(rng)
    if elements(problem) <= LITTLE:
        seed = rng.choice([0, 1, *ODD]) if rng.random() < 0.3 else 0
        arrays = dw.random_problem(problem, seed)
        assert arrays[0].shape == problem.input_shape
        assert arrays[-1].shape == problem.output_shape


def compiled(rng):
    """Compile with drawn plans; what compiles computes what the oracle does."""
    problem = dw.parse(rng.choice(LINES[:9]))
    plan = spoilt_line(rng, PLANS)
    threads = rng.choice([None, None, 1, 2, *ODD])
    kernel = dw.compile(problem, plan, None, threads)
    *arrays, _ = dw.random_problem(problem)
    wanted = reference.forward(problem, *arrays)
    np.testing.assert_allclose(kernel(*arrays), wanted, *reference.tolerance(problem))


def compile_line(rng):
    problem = parse(rng)
    if elements(problem) > LITTLE:
        raise DepthwiseError("not tried")
    dw.compile(problem, spoilt_line(rng, PLANS))


def tune(rng):
    """Tune with something that is none."""
    name, value = rng.choice(["threads", "seconds"]), rng.choice([-1, 0, "1", "", (), [], 1j, {}])
    line = rng.choice([*LINES, spoilt_line(rng, LINES)])
    dw.tune(line, **{name: value})
    raise AssertionError(f"tuned with {name} {value}")


def constructors(rng):
    """Make specifications and plans of drawn fields."""
    kind = rng.choice([dw.ConvSpec, dw.BlockSpec, dw.Plan, dw.BlockPlan])
    makers = {
        dw.ConvSpec: (dw.ConvSpec.depthwise, dw.ConvSpec.pointwise, dw.ConvSpec),
        dw.BlockSpec: (dw.BlockSpec.separable, dw.BlockSpec.inverted, dw.BlockSpec),
    }
    make = rng.choice(makers.get(kind, (kind,)))
    values = [1, 3, 4, 5, (5, 5), "packed", (), *ODD]
    given = [rng.choice(values) for _ in range(rng.randint(0, 5))]
    names = ["stride", "padding", "layout", "dtype", "batch", "multiplier", "activation", "kind"]
    named = {rng.choice(names): rng.choice(values) for _ in range(rng.choice([0, 0, 1, 2]))}
    try:
        made = make(*given, **named)
    except TypeError as error:
        if "argument" not in str(error) or isinstance(error, DepthwiseError):
            raise
        return  # Python's own: too many arguments, or too few
    str(made)
    hash(made)


TRIES = {
    "parse": parse, "cost": cost, "explain": explain, "random_problem": random_problem,
    "compile plan": compiled, "compile line": compile_line, "tune": tune,
    "ConvSpec BlockSpec Plan BlockPlan": constructors,
}  # fmt: skip
WEIGHTS = (10, 10, 5, 5, 2, 1, 2, 10)


def attempt(rng):
    (name,) = rng.choices([*TRIES], WEIGHTS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            TRIES[name](rng)
    except InternalError:
        raise
    except DepthwiseError:
        return Outcome("refused")
    return Outcome("right")
