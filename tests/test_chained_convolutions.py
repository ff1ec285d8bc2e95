"""Convolutions with functions of each element behind them: against the oracle, and their lines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import depthwise as dw
import steps
from depthwise import schedule
from depthwise.bench.peers.posing import POSINGS
from depthwise.errors import ParseError, SpecError
from depthwise.machine.target import host
from depthwise.problem import reference
from depthwise.problem.elementwise import ElementwiseSpec
from depthwise.problem.links import MOST_LINKS, Link
from depthwise.problem.spec import ConvSpec
from depthwise.problem.vocabulary import OPERANDS
from exact import differences
from strategies import chained_specs

LINES = (
    "pointwise n2 c20 o40 hw9 nhwc bias relu6 then mul.image",
    "pointwise n2 c20 o40 hw9 nhwc bias residual then relu mul.gate add.pixel",
    "depthwise n2 c37 hw9 k7 p3 nhwc bias then add.image",
    "depthwise n2 c20 hw9 k3 p1 m2 nhwc then mul.gate min.pixel sub.image",
    "conv n2 c7 o20 hw9 k3 s2 p1 nhwc bias relu then mul.scalar add.channel",
    "conv c6 o20 hw9 k3 p1 g2 nhwc float64 then add.image relu max.pixel",
)


@pytest.mark.parametrize("line", LINES)
def test_lines_are_read_back(line):
    assert str(dw.parse(line)) == line


@settings(max_examples=25)
@given(chained_specs(), st.data())
def test_every_rule_computes_what_the_oracle_does_and_touches_only_its_arrays(guarded, spec, data):
    rules = [rule for rule, reason in schedule.ranking(spec, host(), 1).items() if reason is None]
    rule = data.draw(st.sampled_from(rules))
    guarded.check(spec, rule.default_plan(spec, host(), 1), runs=data.draw(st.integers(1, 3)))


@pytest.mark.parametrize("line", LINES)
def test_neither_threads_nor_the_order_of_tasks_change_a_bit(line):
    steps.check_order(dw.parse(line))


@pytest.mark.parametrize("operand", OPERANDS)
@pytest.mark.parametrize("line", LINES)
def test_the_oracle_computes_one_after_the_other(line, operand):
    spec = dw.parse(line)
    alone = ConvSpec(**{**vars_of(spec), "chain": ()})
    links = (Link("mul", operand), Link("relu"), Link("sub", operand))
    batch, height, width, channels = spec.output_shape
    chain = ElementwiseSpec(
        batch=batch, height=height, width=width, channels=channels, dtype=spec.dtype, chain=links
    )
    both = ConvSpec(**{**vars_of(spec), "chain": links})
    x, *operands, _ = dw.random_problem(both)
    count = len(alone.operands)
    between = reference.forward(alone, x, *operands[:count])
    expected = reference.forward(chain, between, *operands[count:])
    np.testing.assert_array_equal(reference.forward(both, x, *operands), expected)
    got = dw.compile(both)(x, *operands)
    assert differences(both, got, expected) == 0


def vars_of(spec):
    """Return the fields of a convolution."""
    return {name: getattr(spec, name) for name in spec.__dataclass_fields__}


def test_a_call_has_the_operands_of_the_chain_behind_all_others():
    spec = dw.parse("pointwise n2 c4 o6 hw3 nhwc bias residual then mul.gate relu add.channel")
    image = (2, 3, 3, 6)
    assert spec.operands == {
        "weight": (6, 4), "bias": (6,), "residual": image, "operand1": (2, 1, 1, 6),
        "operand3": (6,),
    }  # fmt: skip
    assert spec.computed == ("residual", "operand1")
    assert dw.cost(spec).params == 6 * 4 + 6 + 6


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        (
            "pointwise c8 o4 hw3 then add.image",
            SpecError,
            "nhwc images of real numbers; got float32 NCHW",
        ),
        (
            "depthwise1d c8 l9 k3 nlc then relu",
            SpecError,
            "nhwc images of real numbers; got float32 NLC",
        ),
        ("pointwise c8 o4 hw3 nhwc then", ParseError, "stand behind 'then'"),
        ("pointwise c8 o4 hw3 nhwc then relu then relu", ParseError, "'then' is not a token"),
        ("pointwise c8 o4 hw3 nhwc then add", ParseError, "add is one of add.image"),
        ("pointwise c8 o4 hw3 nhwc add.image", ParseError, "not a token"),
        ("pointwise c8 o4 hw3 nhwc then " + "neg " * (MOST_LINKS + 1), SpecError, "0 to 20"),
        ("separable c8 o4 hw3 k3 nhwc then relu", ParseError, "separable has no chain"),
        ("mean c8 hw3 nhwc then relu", ParseError, "mean has c, hw"),
        ("input_gradient depthwise c8 hw3 k3 nhwc then relu", SpecError, "convolution alone"),
    ],
)
def test_what_is_no_chain_behind_a_convolution_says_why(line, error, words):
    with pytest.raises(error, match=words):
        dw.parse(line)


def test_blocks_have_none_between_or_behind_their_parts():
    chained = dw.parse("pointwise c8 o4 hw3 nhwc then relu")
    with pytest.raises(SpecError, match="no functions of each element stand behind a part"):
        dw.BlockSpec(
            kind="separable", expand=None, depthwise=dw.parse("depthwise c8 hw3 k3 p1 nhwc"),
            project=chained,
        )  # fmt: skip


def test_other_engines_are_not_asked_for_it():
    spec = dw.parse("pointwise c8 o4 hw3 nhwc then relu")
    assert "behind 'then'" in POSINGS[ConvSpec].obstacle(spec)
