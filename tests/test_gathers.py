"""Channels gathered into one image: against the oracle, and what a line may say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings

import depthwise as dw
from depthwise.errors import ParseError, SpecError
from depthwise.problem.gathers import MOST_RUNS, GatherSpec, Run
from exact import check_exact
from strategies import gather_specs


@settings(max_examples=60)
@given(gather_specs())
@example(dw.parse("gather c58,58 hw28 nhwc a[0:29]/b[0:29]"))
@example(dw.parse("gather n2 c7,5,64 h3 w4 nhwc b[1:4] c[0:64] a[2:5]/a[0:3]/a[4:7]"))
@example(dw.parse("gather c1 hw1 nhwc float64 a[0:1]"))
@example(dw.parse("gather c200,7 hw9 nhwc uint8 a[0:200] b[3:7]"))
@example(dw.parse("gather c192,37639 hw1 nhwc a[0:192] b[0:37632] b[37632:37639]"))
@example(dw.parse("gather n3 c20011,9 hw1 nhwc b[1:3] a[7:20000] a[0:5]"))
@example(dw.parse("gather c70001 h1 w2 nhwc float64 a[40000:70001] a[0:40000]"))
def test_results_are_the_oracles(spec):
    check_exact(spec)


def test_it_is_what_torch_concatenates():
    x, y = torch.randn(2, 3, 4, 9), torch.randn(2, 3, 4, 5)
    kernel = dw.compile("gather n2 c9,5 h3 w4 nhwc b[0:5] a[2:9] a[0:2]/b[3:5]")
    in_turn = torch.stack([x[..., 0:2], y[..., 3:5]], -1).flatten(-2)
    wanted = torch.cat([y, x[..., 2:], in_turn], -1)
    np.testing.assert_array_equal(kernel(x, y), wanted)


def test_nothing_is_read_twice_or_counted():
    cost = dw.cost("gather c100 hw2 nhwc a[0:10]")
    assert (cost.macs, cost.params, cost.bytes) == (0, 0, 2 * 4 * 10 * 4)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("gather c4 hw3 nhwc", "needs c with the channels of each image, and runs"),
        ("gather hw3 nhwc a[0:1]", "needs c with the channels of each image, and runs"),
        ("gather c4 hw3 a[0:1]", "is of nhwc images"),
        ("gather c4 nhwc a[0:1]", "needs h"),
        ("gather c4 hw3 nhwc a[0:]", r"runs such as a\[0:8\]"),
        ("gather c4 hw3 nhwc bias a[0:1]", "has no bias"),
    ],
)
def test_a_line_that_cannot_be_read_says_why(line, words):
    with pytest.raises(ParseError, match=words):
        dw.parse(line)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("gather c4 hw3 nhwc a[1:5]", r"within its image of 4 channels; got a\[1:5\]"),
        ("gather c4 hw3 nhwc a[2:2]", r"got a\[2:2\]"),
        ("gather c4 hw3 nhwc b[0:1]", "runs are of 1 images; got number 1"),
        ("gather c4 hw3 nhwc a[0:2]/a[3:4]", "equally long"),
        ("gather c4,0 hw3 nhwc a[0:2]", "sizes are at least 1; got c=0"),
        ("gather c4 hw3 nhwc" + " a[0:1]" * (MOST_RUNS + 1), f"1 to {MOST_RUNS}; got 21"),
    ],
)
def test_a_problem_that_cannot_exist_says_why(line, words):
    with pytest.raises(SpecError, match=words):
        dw.parse(line)


def test_the_longest_line_is_read_back():
    runs = tuple((Run(number, 10000, 10001),) for number in range(MOST_RUNS))
    spec = GatherSpec(images=(10001,) * MOST_RUNS, picks=runs, height=1, width=1)
    with pytest.raises(ParseError, match="at most 400 characters"):
        dw.parse(str(spec))
    spec = GatherSpec(images=(1001,) * MOST_RUNS, picks=runs_of(1000), height=1, width=1)
    assert dw.parse(str(spec)) == spec


def runs_of(start):
    return tuple((Run(number, start, start + 1),) for number in range(MOST_RUNS))


def test_as_many_images_as_a_line_may_have_are_gathered():
    picks = tuple((Run(number, 0, 2),) for number in range(MOST_RUNS))
    check_exact(GatherSpec(images=(3,) * MOST_RUNS, picks=picks, height=2, width=3))
