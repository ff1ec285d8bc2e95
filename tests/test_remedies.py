"""What errors tell to write instead: another layout, another order of axes, the word meant."""

import itertools
import sys

import numpy as np
import pytest
import torch

import depthwise as dw
from depthwise.commands import cli
from depthwise.errors import ArrayError, DepthwiseError, DTypeError, ParseError
from depthwise.problem import vocabulary
from depthwise.problem.dtypes import DTYPES
from depthwise.problem.values import meant

RNG = np.random.default_rng(2)
X = RNG.standard_normal((2, 6, 5, 7), dtype=np.float32)
LAST = np.ascontiguousarray(X.transpose(0, 2, 3, 1))
WEIGHT = RNG.standard_normal((12, 1, 3, 2), dtype=np.float32)
FILTER = np.ascontiguousarray(WEIGHT.reshape(6, 2, 3, 2).transpose(2, 3, 0, 1))
KERNEL = dw.compile("depthwise n2 c6 h5 w7 k3x2 m2")
SINGLE = dw.compile("depthwise n2 c6 h5 w7 k3x2")
KINDS = pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy], ids=["array", "tensor"])


def said(error, call, *arguments, **options):
    with pytest.raises(error) as caught:
        call(*arguments, **options)
    return str(caught.value)


@KINDS
@pytest.mark.parametrize(
    ("function", "weight"),
    [(dw.depthwise_conv2d, WEIGHT), (dw.pointwise_conv2d, np.ones((3, 6), np.float32))],
)
def test_images_in_another_layout(function, weight, kind):
    for x, given, remedy in ((LAST, "NCHW", "NHWC"), (X, "NHWC", "NCHW")):
        refused = said(ArrayError, function, kind(x), kind(weight), layout=given)
        assert f'(use layout="{remedy}")' in refused
        assert function(kind(x), kind(weight), layout=remedy) is not None


def test_sequences_in_another_layout():
    x, weight = np.ones((2, 10, 6), np.float32), np.ones((6, 1, 3), np.float32)
    assert '(use layout="NLC")' in said(ArrayError, dw.depthwise_conv1d, x, weight)


def test_no_layout_is_named_where_none_fits():
    refused = said(ArrayError, dw.depthwise_conv2d, X, np.ones((11, 1, 3, 3), np.float32))
    assert "use" not in refused


@KINDS
def test_a_filter_of_tensorflow_is_named_and_becomes_the_weight(kind):
    expected = dw.depthwise_conv2d(X, WEIGHT)
    for call in (dw.depthwise_conv2d, KERNEL):
        assert "depthwise.from_tensorflow_filter(weight)" in said(
            ArrayError, call, kind(X), kind(FILTER)
        )
        weight = dw.from_tensorflow_filter(kind(FILTER))
        assert type(weight) is type(kind(FILTER))
        np.testing.assert_array_equal(call(kind(X), weight), expected)


def test_a_filter_of_tensorflow_is_read_as_its_equation_says():
    weight = dw.from_tensorflow_filter(FILTER)
    assert weight.shape == (12, 1, 3, 2)
    for r, s, c, q in itertools.product(*map(range, FILTER.shape)):
        assert weight[c * 2 + q, 0, r, s] == FILTER[r, s, c, q]
    sequence = dw.from_tensorflow_filter(FILTER[:, 0])
    assert sequence.shape == (12, 1, 3)
    np.testing.assert_array_equal(sequence, weight[..., 0])
    for wrong in (FILTER[0, 0], FILTER[:0], FILTER[None]):
        assert "w is (KH, KW, C, M)" in said(ArrayError, dw.from_tensorflow_filter, wrong)


@pytest.mark.parametrize("call", [dw.depthwise_conv2d, SINGLE])
def test_a_weight_without_its_axis_of_one(call):
    weight = WEIGHT[:6]
    assert "(use weight[:, None])" in said(ArrayError, call, X, weight[:, 0])
    assert call(X, weight[:, 0][:, None]).shape == (2, 6, 3, 6)


def test_an_order_of_axes_is_named_that_a_kernel_takes():
    assert "(use x.transpose(0, 3, 1, 2))" in said(ArrayError, KERNEL, LAST, WEIGHT)
    last = torch.from_numpy(LAST)
    assert "(use x.permute(0, 3, 1, 2))" in said(ArrayError, KERNEL, last, WEIGHT)
    kernel = dw.compile("depthwise n2 c6 h5 w7 k3x2 m2 nhwc")
    assert "(use x.transpose(0, 2, 3, 1))" in said(ArrayError, kernel, X, WEIGHT)


@pytest.mark.parametrize(
    ("x", "remedy"),
    [
        (X.astype(np.int8), "(use x.astype(np.float32))"),
        (X.astype(int), "(use x.astype(np.float32))"),
        (torch.from_numpy(X).short(), "(use x.float())"),
        (torch.from_numpy(X).to(torch.float8_e5m2), "(use x.float())"),
    ],
)
def test_other_element_types(x, remedy):
    assert remedy in said(DTypeError, dw.depthwise_conv2d, x, WEIGHT)


@pytest.mark.parametrize("x", [X.astype(np.complex64), torch.from_numpy(X).to_sparse()])
def test_no_type_is_named_where_none_keeps_the_values(x):
    assert "use x" not in said(DepthwiseError, dw.depthwise_conv2d, x, WEIGHT)


WORDS = (
    *vocabulary.ACTIVATIONS, *vocabulary.PADDING_MODES, *DTYPES, *vocabulary.PADDING_WORDS,
    *map(str.lower, vocabulary.LAYOUTS), "bias", "residual",
)  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
def test_every_word_is_found_again_with_a_letter_too_many(word):
    for wrong in (f"{word}y", f"{word[0]}{word[:1]}{word[1:]}"):
        refused = said(ParseError, dw.parse, f"depthwise c8 hw8 k3 {wrong}")
        assert f"{wrong!r} is not a token of a problem (did you mean {word!r}?): " in refused


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("kernel=3", "k3"), ("channels8", "c8"), ("stride2x1", "s2x1"), ("swish", "silu"),
        ("channels_last", "nhwc"), ("half", "float16"), ("edge", "replicate"),
    ],
)  # fmt: skip
def test_the_words_of_others_are_known(given, found):
    refused = said(ParseError, dw.parse, f"depthwise c8 hw8 {given}")
    assert f"(did you mean {found!r}?)" in refused
    assert "did you mean" not in said(ParseError, dw.parse, "depthwise c8 hw8 k3 xyzzy")


@pytest.mark.parametrize(
    ("call", "found"),
    [
        (lambda: dw.parse("dephtwise c8 hw8 k3"), "depthwise"),
        (lambda: dw.depthwise_conv2d(X, WEIGHT, layout="nhwc"), "NHWC"),
        (lambda: dw.depthwise_conv2d(X, WEIGHT, padding="smae"), "same"),
        (lambda: dw.depthwise_conv2d(X, WEIGHT, padding_mode="constant"), "zeros"),
        (lambda: dw.depthwise_conv2d(X, WEIGHT, activation="hard_swish"), "hardswish"),
        (lambda: dw.compile("depthwise c8 hw8 k3", "chanels_first"), "channels_first"),
        (lambda: KERNEL.show("asmm"), "asm"),
    ],
)
def test_the_word_meant_is_named_wherever_one_is_refused(call, found):
    assert f"(did you mean {found!r}?)" in said(DepthwiseError, call)


def test_what_is_no_word_means_none():
    assert meant(3, ("a", "b")) == meant(None, ("a", "b")) == meant("", ("a", "b")) == ""


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["bench", "--layout", "nhcw"], "nhwc"),
        (["bench", "--workload", "mobilenet_v9"], "mobilenet_v2"),
        (["show", "depthwise c8 hw8 k3", "--stage", "asmm"], "asm"),
        (["benhc"], "bench"),
    ],
)
def test_the_command_line_names_the_word_meant(arguments, found, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["depthwise", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    refused = capsys.readouterr().err.lower()
    assert f"did you mean {found!r}?" in refused
