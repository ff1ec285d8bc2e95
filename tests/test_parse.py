"""The text form: every problem that can exist prints as a line that parses back to it."""

import doctest
import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import depthwise as dw
from depthwise.errors import ParseError, SpecError
from depthwise.problem.elementwise import ElementwiseSpec
from depthwise.problem.gathers import GatherSpec
from depthwise.problem.problem import Problem
from depthwise.problem.training import PassSpec
from strategies import specs


@given(specs())
def test_every_line_parses_back(spec: Problem) -> None:
    assert dw.parse(str(spec)) == spec


def parts_in_order(spec: Problem) -> tuple[object, ...]:
    """Return what a line has at its end in an order that matters."""
    if isinstance(spec, ElementwiseSpec):
        return spec.chain
    return spec.picks if isinstance(spec, GatherSpec) else ()


@given(specs(), st.data())
def test_tokens_come_in_any_order(spec: Problem, data: st.DataObject) -> None:
    tokens = str(spec).split()
    kinds = 2 if isinstance(spec, PassSpec) else 1
    shuffled = data.draw(st.permutations(tokens[kinds:]))
    ordered = str(spec).split()[-len(parts_in_order(spec)) or len(tokens) :]
    parts = iter(ordered)
    shuffled = [next(parts) if token in ordered else token for token in shuffled]
    assert dw.parse(" ".join([*tokens[:kinds], *shuffled])) == spec


@given(specs())
def test_the_longest_line_stays_far_from_the_limit(spec: Problem) -> None:
    assert len(str(spec)) < 200


def test_the_example_in_the_documentation_runs() -> None:
    results = doctest.testmod(importlib.import_module("depthwise.problem.parse"))
    assert (results.attempted, results.failed) == (1, 0)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("depthwise c144 hw56 k3 p1", "depthwise c144 hw56 k3 p1"),
        ("depthwise c4 h5 w5 k3x3 s1x1 p1,1,1,1 d1 m1 n1 nchw float32", "depthwise c4 hw5 k3 p1"),
        (
            "depthwise n8 c96 h56 w48 k7x5 s2x1 p3,3,2,2 d1x2 m2 nhwc float64 bias silu",
            "depthwise n8 c96 h56 w48 k7x5 s2x1 p3,2 d1x2 m2 nhwc float64 bias silu",
        ),
        ("depthwise c4 hw5 k3 p0,1", "depthwise c4 hw5 k3 p0,1"),
        ("depthwise c4 hw5 k3 p0,1,2,3", "depthwise c4 hw5 k3 p0,1,2,3"),
        ("depthwise c4 hw224 k3 s2 same", "depthwise c4 hw224 k3 s2 p0,1,0,1"),
        ("depthwise c4 hw5 k3 valid", "depthwise c4 hw5 k3"),
        ("depthwise c4 hw5 k3 p1 reflect NHWC", "depthwise c4 hw5 k3 p1 nhwc reflect"),
        ("depthwise1d c1536 l2048 k4 causal", "depthwise1d c1536 l2048 k4 p3,0"),
        ("depthwise1d c4 l9 k4 d2 same nlc", "depthwise1d c4 l9 k4 p3 d2 nlc"),
        ("depthwise1d c4 l9 k4 same", "depthwise1d c4 l9 k4 p1,2"),
        ("conv c8 o64 hw128 k3 g1 bias", "conv c8 o64 hw128 k3 bias"),
        ("pointwise c144 o24 hw56 residual", "pointwise c144 o24 hw56 residual"),
        (
            "separable c144 o24 hw56 k3 p1 relu6/none",
            "separable c144 o24 hw56 k3 p1 relu6/none",
        ),
        ("separable c4 o8 hw5 k3 none/none dbias pbias", "separable c4 o8 hw5 k3 bias"),
        (
            "inverted c24 e144 o24 hw56 k3 p1 relu6 residual se6",
            "inverted c24 e144 o24 hw56 k3 p1 relu6 residual se6",
        ),
        ("inverted c24 o24 hw7 k3 se6:relu/sigmoid bias", "inverted c24 o24 hw7 k3 bias se6"),
        ("inverted c8 e9 o8 hw7 k3 ebias", "inverted c8 e9 o8 hw7 k3 ebias"),
        ("training depthwise c4 hw5 bias k3x3", "training depthwise c4 hw5 k3 bias"),
        (
            "input_gradient depthwise nhwc n8 c96 hw56 k7 p3",
            "input_gradient depthwise n8 c96 hw56 k7 p3 nhwc",
        ),
        (
            "weight_gradient  depthwise1d c8 l9 k4 causal",
            "weight_gradient depthwise1d c8 l9 k4 p3,0",
        ),
        (" depthwise\tc4\nhw5   k3 ", "depthwise c4 hw5 k3"),
    ],
)
def test_defaults_are_left_out(text: str, canonical: str) -> None:
    assert str(dw.parse(text)) == canonical


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a problem begins with one of depthwise, depthwise1d"),
        ("Depthwise c4 hw5 k3", "a problem begins with one of"),
        (
            "gradient depthwise c4 hw5 k3",
            "linear, quantize, dequantize, lookup, qadd, qmul, qmean; got 'gradient depthwise",
        ),
        ("training", "training is followed by depthwise or depthwise1d"),
        ("training pointwise c4 o8 hw5", "training is followed by depthwise or depthwise1d"),
        ("training training depthwise c4 hw5 k3", "training is followed by depthwise"),
        ("input_gradient depthwise c4 hw5", "depthwise needs k (kernel)"),
        ("input_gradient depthwise c4 hw5 k3 x", "'x' is not a token"),
        ("weight_gradient depthwise c4 hw5 k3 residual", "depthwise has no residual"),
        ("depthwise c4 hw5", "depthwise needs k (kernel)"),
        ("depthwise c4 k3", "depthwise needs h (height)"),
        ("depthwise c4 h5 k3", "depthwise needs w (width)"),
        ("depthwise hw5 k3", "depthwise needs c (channels)"),
        ("depthwise1d c4 k3", "depthwise1d needs l (length)"),
        ("separable c4 hw5 k3", "separable needs o (out_channels)"),
        ("depthwise c4 hw5 h5 k3", "depthwise has no height"),
        ("depthwise c4 o8 hw5 k3", "depthwise has no out_channels"),
        ("depthwise c4 hw5 k3 residual", "depthwise has no residual"),
        ("depthwise c4 hw5 k3 g4", "depthwise has no groups"),
        ("pointwise c4 o8 hw5 k3", "pointwise has no kernel"),
        ("pointwise c4 o8 hw5 reflect", "pointwise has no padding_mode"),
        ("separable c4 o8 hw5 k3 relu", "separable has no activation"),
        ("separable c4 o8 hw5 k3 se2", "separable has no squeeze_excite"),
        ("inverted c4 o8 hw5 k3 relu/relu", "inverted has no activations"),
        ("inverted c4 o8 hw5 k3 ebias", "inverted has no ebias"),
        ("depthwise c4 c4 hw5 k3", "channels is given once; got 'c4' as a second one"),
        ("depthwise c4 hw5 k3 p1 same", "padding is given once; got 'same'"),
        ("depthwise c4 hw5 k3 nchw nhwc", "layout is given once"),
        ("depthwise c4 hw5 k3 relu silu", "activation is given once"),
        ("norm c4 hw5 nhwc eps1.2.3", "'eps1.2.3' is not a token"),
        ("norm c4 hw5 nhwc eps.5", "'eps.5' is not a token"),
        ("depthwise c4 hw5 kx", "'kx' is not a token"),
        ("depthwise c4 hw5 k", "'k' is not a token"),
        ("depthwise c4 hw5 k3.0", "'k3.0' is not a token"),
        ("depthwise c4 hw5 k\uff11", "'k\uff11' is not a token"),
        ("depthwise cnan hw5 k3", "'cnan' is not a token"),
        ("depthwise c1e3 hw5 k3", "'c1e3' is not a token"),
        ("depthwise c4 hw5 k3 half", "'half' is not a token"),
        ("depthwise c4 hw5 k3 swish", "'swish' is not a token"),
        ("depthwise c4 hw5 k3 j5", "'j5' is not a token"),
        ("inverted c4 o8 hw5 k3 se", "'se' is not a token"),
        ("inverted c4 o8 hw5 k3 se0", "squeeze-and-excite channels are at least 1; got 0"),
        ("inverted c4 o8 hw5 k3 se4:elu/relu", "squeeze-and-excite activation is one of"),
        ("depthwise c4 hw5 k3x3x3", "k3x3x3 has too many numbers"),
        ("depthwise c4 hw5 k3,3", "k3,3 has too many numbers or the wrong separator"),
        ("depthwise c4 hw5x5 k3", "hw5x5 has too many numbers"),
        ("depthwise c4 hw5 k3 p1x1", "p1x1 has too many numbers or the wrong separator"),
        ("depthwise c4 hw5 k3 p1,2,3", "p1,2,3 has too many numbers"),
        ("depthwise1d c4 l5 k3 p1,1,1,1", "p1,1,1,1 has too many numbers"),
        ("depthwise1d c4 l5 k3x3", "k3x3 has too many numbers"),
        ("depthwise c" + "9" * 5000, "at most 400 characters; got 5011"),
    ],
)
def test_what_is_not_a_problem_is_refused(text: str, words: str) -> None:
    with pytest.raises(ParseError) as caught:
        dw.parse(text)
    assert words in str(caught.value)
    assert len(text) > 400 or " ".join(text.split()) in str(caught.value)


@pytest.mark.parametrize(
    "text", [None, 3, b"depthwise c4 hw5 k3", ["depthwise"], pytest.param(10**5000, id="huge")]
)
def test_what_is_not_text_is_refused(text: object) -> None:
    with pytest.raises(ParseError, match="a problem is a line of text; got"):
        dw.parse(text)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["depthwise c4 hw5 k3 \ud800", "depthwise c4\0", "\x1b[31m"])
def test_what_no_terminal_prints_is_refused(text: str) -> None:
    with pytest.raises(ParseError, match="a problem is a line of printable text; got '") as caught:
        dw.parse(text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("norm c4 hw5 nhwc eps1e999", "epsilon is 0 or more, a finite number; got inf: norm c4"),
        ("depthwise c0 hw5 k3", "sizes are at least 1; got c=0"),
        ("depthwise c-4 hw5 k3", "sizes are at least 1; got c=-4"),
        ("depthwise c4 hw5 k3 s0 same", "stride is at least 1; got s0"),
        ("depthwise1d c4 l5 k3 s0 same", "stride is at least 1; got s1x0"),
        ("depthwise c4 hw5 k3 p-1", "padding is not negative"),
        ("depthwise c" + "9" * 300 + " hw5 k3", "channels is at most 2147483647 in size"),
        ("depthwise c4 hw5 k3 causal", "padding as a word is 'same', 'valid' or, in 1-D, 'causal'"),
        ("depthwise c4 hw5 k3 ncl", "1-D layouts go with depthwise1d"),
        ("depthwise1d c4 l5 k3 nhwc", "1-D layouts go with depthwise1d"),
        ("training depthwise c4 hw5 k3 reflect", "gradients are those of zero padding"),
        ("training depthwise c4 hw5 k3 relu", "gradients are those of the convolution alone"),
    ],
)
def test_a_line_that_names_an_impossible_problem_is_refused(text: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        dw.parse(text)
    assert words in str(caught.value)


@given(
    st.text(max_size=60) | st.lists(st.text("depthwisc0123x,-/: nhor", max_size=6)).map(" ".join)
)
def test_any_text_either_parses_or_is_refused(text: str) -> None:
    starts = ("", "depthwise c4 hw5 k3 ", "inverted c4 o4 hw5 k3 ", "training ")
    for line in (start + text for start in starts):
        try:
            spec = dw.parse(line)
        except SpecError:
            continue
        assert dw.parse(str(spec)) == spec
