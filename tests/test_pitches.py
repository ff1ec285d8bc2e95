"""Runs of the channels of wider images as the arrays of a problem: nothing beside is touched."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import depthwise as dw
from depthwise import schedule
from depthwise.errors import ArrayError, ParseError, SpecError
from depthwise.machine.target import host
from strategies import (
    chained_specs,
    conv_specs,
    elementwise_specs,
    gather_specs,
    pixel_specs,
    quantized_specs,
    wide_block_specs,
)

EXACT = (None, "relu", "relu6")
LINES = (
    "depthwise c20 hw9 k3 p1 nhwc bias relu x@33 y@25",
    "depthwise c20 hw9 k3 s2 p1 m2 nhwc bias relu x@33 y@41",
    "depthwise c70 hw9 k5 p2 nhwc x@100 y@300",
    "pointwise c20 o40 hw9 nhwc bias relu residual residual@64 x@21 y@57",
    "pointwise c20 o40 hw9 nhwc bias relu then mul.image add.gate operand1@64 y@57",
    "depthwise n2 c20 hw9 k3 p1 nhwc bias then add.image relu operand1@33 x@30 y@25",
    "depthwise c20 hw9 k3 p1 m2 nhwc then min.pixel add.image operand2@41 y@50",
    "conv c5 o40 hw9 k3 p1 nhwc bias then add.image relu operand1@41 x@6 y@44",
    "conv c5 o40 hw9 k3 p1 nhwc bias relu x@6 y@44",
    "conv c5 o40 hw9 k3 nhwc x@6 y@44",
    "conv c6 o4 hw9 k3 p1 g2 nhwc bias x@9 y@7",
    "separable c20 o24 hw9 k3 p1 nhwc bias relu/none residual residual@25 x@30 y@48",
    "inverted c8 e24 o8 hw9 k3 p1 nhwc bias relu residual residual@10 x@9 y@11",
    "mean c20 hw9 nhwc x@30",
    "l2 c20 hw9 nhwc x@30",
    "gather n2 c20011,9 hw1 nhwc b[1:3] a[7:20000] image1@12 x@20100 y@20031",
    "gather n2 c7,5 hw3 nhwc b[0:5] a[2:4]/a[0:2] image1@6 x@9 y@14",
    "elementwise c20 hw9 nhwc mul.channel add.image relu operand2@32 x@30 y@21",
    "quantize c20 hw9 nhwc uint8 x@30 y@21",
    "dequantize c20 hw9 nhwc int8 x@30 y@21",
    "lookup c90 hw9 nhwc int8 x@91 y@140",
    "qadd c20 hw9 nhwc uint8 other@32 x@30 y@21",
    "qmul c20 hw9 nhwc uint8 gate x@30 y@21",
    "qmul c20 hw9 nhwc int8 other@25 x@30 y@21",
    "qmean c20 hw9 nhwc int8 x@30",
)


@pytest.mark.parametrize("line", LINES)
def test_lines_are_read_back(line):
    assert str(dw.parse(line)) == line


@pytest.mark.parametrize("line", LINES)
def test_every_schedule_touches_the_runs_alone(guarded, line):
    spec = dw.parse(line)
    rules = schedule.ranking(spec, host(), 1)
    for rule in [rule for rule, reason in rules.items() if reason is None]:
        guarded.check(line, rule.default_plan(spec, host(), 1), runs=2)


def channels_last():
    convs = conv_specs() | chained_specs() | wide_block_specs(size=9, activations=EXACT)
    others = gather_specs(channels=30) | elementwise_specs(size=9, tame=True) | pixel_specs(size=9)
    others |= quantized_specs(size=9, channels=90)
    return (convs | others).filter(lambda spec: spec.may_be_runs)


@settings(max_examples=60)
@given(channels_last(), st.data())
def test_runs_are_read_and_written_alone(guarded, spec, data):
    shapes = {"x": spec.input_shape, **spec.operands, "y": spec.output_shape}
    names = data.draw(st.sets(st.sampled_from(spec.may_be_runs), min_size=1))
    pitches = {name: shapes[name][-1] + data.draw(st.integers(0, 40)) for name in sorted(names)}
    pitched = spec.pitched(pitches)
    assert dw.parse(str(pitched)) == pitched
    guarded.check(pitched, runs=data.draw(st.integers(1, 3)))


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        ("pointwise c8 o4 hw3 nhwc x@7", SpecError, "at least the 8 channels of x; got 7"),
        ("pointwise c8 o4 hw3 nhwc residual@9", SpecError, "pitches are of x, y"),
        ("pointwise c8 o4 hw3 x@9", SpecError, "pitches are of no array"),
        ("depthwise c8 hw3 k3 p1 nhwc x@9 x@10", SpecError, "pitches are of x, y"),
        ("norm c8 hw3 nhwc eps1e-5 x@9", SpecError, "pitches are of no array"),
        ("maxpool c8 hw3 k3 p1 nhwc x@9", SpecError, "windows of a depthwise convolution"),
        ("input_gradient depthwise c8 hw3 k3 p1 nhwc x@9", SpecError, "whole images"),
        ("pointwise c8 o4 hw3 nhwc x@", ParseError, "not a token"),
    ],
)
def test_what_is_no_run_says_why(line, error, words):
    with pytest.raises(error, match=words):
        dw.parse(line)


def test_a_pitch_of_all_channels_is_none():
    assert dw.parse("pointwise c8 o4 hw3 nhwc x@8") == dw.parse("pointwise c8 o4 hw3 nhwc")


def test_a_call_of_runs_is_refused():
    kernel = dw.compile("elementwise c4 hw3 nhwc relu x@8")
    with pytest.raises(ArrayError, match="only networks"):
        kernel.bind()
