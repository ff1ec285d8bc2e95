"""One convolution as a problem: THE size and padding rule, shapes, and what cannot exist."""

import copy
import dataclasses
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthwise.errors import DTypeError, SpecError
from depthwise.problem.spec import ConvSpec, causal_padding, output_size, resolve_padding
from strategies import conv_specs

HUGE = 10**5000


def outputs_counted(n: int, k: int, s: int, pads: tuple[int, int], d: int) -> int:
    """Count the positions of a dilated kernel that lie wholly inside the padded axis."""
    positions = range(-pads[0], n + pads[1], s)
    return sum(first + d * (k - 1) < n + pads[1] for first in positions)


@given(
    st.integers(1, 12), st.integers(1, 6), st.integers(1, 4),
    st.tuples(st.integers(0, 4), st.integers(0, 4)), st.integers(1, 3),
)  # fmt: skip
def test_the_output_size_is_the_number_of_places_where_the_kernel_fits(
    n: int, k: int, s: int, pads: tuple[int, int], d: int
) -> None:
    assert max(output_size(n, k, s, pads, d), 0) == outputs_counted(n, k, s, pads, d)


@pytest.mark.parametrize(
    ("n", "k", "s", "d", "pads"),
    [
        (224, 3, 2, 1, (0, 1)),
        (224, 7, 2, 1, (2, 3)),
        (112, 5, 2, 1, (1, 2)),
        (299, 3, 2, 1, (1, 1)),
        (7, 3, 2, 1, (1, 1)),
        (5, 3, 1, 1, (1, 1)),
        (5, 2, 1, 1, (0, 1)),
        (4, 3, 3, 1, (1, 1)),
        (4, 1, 2, 1, (0, 0)),
        (10, 3, 1, 2, (2, 2)),
        (1, 3, 1, 1, (1, 1)),
    ],
)
def test_same_padding_is_that_of_tensorflow(
    n: int, k: int, s: int, d: int, pads: tuple[int, int]
) -> None:
    spec = ConvSpec.depthwise(1, n, k, stride=s, dilation=d, padding="same")
    assert spec.padding == (pads, pads)
    assert spec.out_height == -(-n // s)


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 5), st.integers(1, 4))
def test_same_padding_gives_one_output_a_stride(n: int, k: int, s: int, d: int) -> None:
    (before, after), _ = resolve_padding("same", (n, n), (k, k), (s, s), (d, d))
    assert 0 <= after - before <= 1
    assert output_size(n, k, s, (before, after), d) == -(-n // s)


@given(st.integers(1, 20), st.integers(1, 6), st.integers(1, 4))
def test_causal_padding_lets_no_output_see_what_comes_later(n: int, k: int, d: int) -> None:
    before, after = causal_padding(k, d)
    last_read_by_output_0 = d * (k - 1) - before
    assert (last_read_by_output_0, after) == (0, 0)
    assert output_size(n, k, 1, (before, after), d) == n


@pytest.mark.parametrize(
    ("padding", "resolved"),
    [
        (1, ((1, 1), (1, 1))),
        ((0, 1), ((0, 0), (1, 1))),
        ([1, 0], ((1, 1), (0, 0))),
        (((0, 1), (2, 3)), ((0, 1), (2, 3))),
        ([[0, 1], [2, 3]], ((0, 1), (2, 3))),
        ((1, (2, 3)), ((1, 1), (2, 3))),
        (np.int64(2), ((2, 2), (2, 2))),
        ("valid", ((0, 0), (0, 0))),
        ("SAME", ((2, 2), (0, 1))),
    ],
)
def test_each_form_of_padding(padding: object, resolved: object) -> None:
    named = ConvSpec.depthwise(2, (9, 8), (5, 3), stride=(1, 2), padding=padding)
    direct = ConvSpec(
        kind="depthwise", channels=2, height=9, width=8, kernel=(5, 3), out_channels=2, groups=2,
        stride=(1, 2), padding=padding,
    )  # fmt: skip
    assert named.padding == resolved
    assert direct == named


def test_padding_of_one_axis_alone_pads_that_axis() -> None:
    width_only = ConvSpec.depthwise(3, 6, 3, padding=(0, 1))
    assert (width_only.padding, width_only.output_shape) == (((0, 0), (1, 1)), (1, 3, 4, 6))
    top_only = ConvSpec.depthwise(3, 6, 3, padding=((1, 0), (0, 0)))
    assert top_only.output_shape == (1, 3, 5, 4)


@pytest.mark.parametrize(
    ("spec", "x", "y", "operands"),
    [
        (
            ConvSpec.depthwise(4, (9, 8), (3, 2), multiplier=2, bias=True, batch=5),
            (5, 4, 9, 8), (5, 8, 7, 7), {"weight": (8, 1, 3, 2), "bias": (8,)},
        ),
        (
            ConvSpec.depthwise(4, (9, 8), 3, stride=(2, 1), layout="NHWC"),
            (1, 9, 8, 4), (1, 4, 6, 4), {"weight": (4, 1, 3, 3)},
        ),
        (
            ConvSpec.depthwise1d(6, 10, 4, padding="causal", layout="NLC", multiplier=3),
            (1, 10, 6), (1, 10, 18), {"weight": (18, 1, 4)},
        ),
        (ConvSpec.depthwise1d(6, 10, 4), (1, 6, 10), (1, 6, 7), {"weight": (6, 1, 4)}),
        (
            ConvSpec.pointwise(6, 9, 4, bias=True, residual=True, batch=2),
            (2, 6, 4, 4), (2, 9, 4, 4),
            {"weight": (9, 6), "bias": (9,), "residual": (2, 9, 4, 4)},
        ),
        (
            ConvSpec.conv(6, 9, 4, 3, groups=3, padding=1),
            (1, 6, 4, 4), (1, 9, 4, 4), {"weight": (9, 2, 3, 3)},
        ),
        (
            ConvSpec.depthwise(1, 2, 5, padding=((3, 0), (2, 2))),
            (1, 1, 2, 2), (1, 1, 1, 2), {"weight": (1, 1, 5, 5)},
        ),
    ],
    ids=str,
)  # fmt: skip
def test_shapes(spec: ConvSpec, x: object, y: object, operands: object) -> None:
    assert (spec.input_shape, spec.output_shape, spec.operands) == (x, y, operands)


@given(conv_specs())
def test_a_problem_is_a_value(spec: ConvSpec) -> None:
    for same in (dataclasses.replace(spec), copy.deepcopy(spec), pickle.loads(pickle.dumps(spec))):
        assert same == spec
        assert hash(same) == hash(spec)
    assert dataclasses.replace(spec, batch=9) != spec


def test_integers_of_any_type_become_int() -> None:
    spec = ConvSpec.depthwise(
        np.int64(4), (np.int8(5), np.uint16(6)), np.array(3), stride=[np.int32(1), 2]
    )
    assert spec == ConvSpec.depthwise(4, (5, 6), 3, stride=(1, 2))
    numbers = (spec.channels, spec.height, spec.width, *spec.kernel, *spec.stride, spec.groups)
    assert {type(number) for number in numbers} == {int}


def depthwise(**fields: object) -> ConvSpec:
    return ConvSpec.depthwise(**{"channels": 4, "size": 5, "kernel": 3, **fields})  # type: ignore[arg-type]


def depthwise1d(**fields: object) -> ConvSpec:
    return ConvSpec.depthwise1d(**{"channels": 4, "length": 5, "kernel": 3, **fields})  # type: ignore[arg-type]


def conv(**fields: object) -> ConvSpec:
    fields = {"channels": 4, "out_channels": 6, "size": 5, "kernel": 3, **fields}
    return ConvSpec.conv(**fields)  # type: ignore[arg-type]


def pointwise(**fields: object) -> ConvSpec:
    return ConvSpec.pointwise(**{"channels": 4, "out_channels": 6, "size": 5, **fields})  # type: ignore[arg-type]


def direct(**fields: object) -> ConvSpec:
    base = {"kind": "depthwise", "channels": 4, "height": 5, "width": 5, "kernel": 3}
    return ConvSpec(**{**base, "out_channels": 4, "groups": 4, **fields})  # type: ignore[arg-type]


IMPOSSIBLE = [
    # sizes
    (depthwise, {"channels": 0}, "sizes are at least 1; got c=0", "depthwise c0 hw5 k3"),
    (depthwise, {"size": (5, 0)}, "sizes are at least 1; got w=0", "depthwise c4 h5 w0 k3"),
    (depthwise, {"size": -5}, "sizes are at least 1; got h=-5 w=-5", "depthwise c4 hw-5 k3"),
    (depthwise, {"kernel": 0}, "sizes are at least 1; got kh=0 kw=0", "depthwise c4 hw5 k0"),
    (depthwise, {"stride": (1, 0)}, "sizes are at least 1; got sw=0", "k3 s1x0"),
    (depthwise, {"dilation": (-1, 1)}, "sizes are at least 1; got dh=-1", "k3 d-1x1"),
    (depthwise, {"batch": 0}, "sizes are at least 1; got n=0", "depthwise n0 c4 hw5 k3"),
    (depthwise, {"multiplier": 0}, "sizes are at least 1; got o=0", "depthwise c4 hw5 k3 m0"),
    (conv, {"groups": 0}, "sizes are at least 1; got g=0", "conv c4 o6 hw5 k3 g0"),
    # an output without elements
    (depthwise, {"kernel": 6}, "the dilated kernel fits into the padded input", "c4 hw5 k6"),
    (depthwise, {"dilation": 3}, "got dilated kernel 7, padded input 5x5", "hw5 k3 d3"),
    (depthwise1d, {"kernel": 8, "padding": (2, 0)}, "padded input 1x7", "depthwise1d c4 l5 k8"),
    # groups
    (conv, {"groups": 4}, "groups divide the input and the output channels; got 4", "k3 g4"),
    (conv, {"channels": 5, "groups": 2}, "got 2 groups, 5 -> 6 channels", "conv c5 o6 hw5 k3 g2"),
    (direct, {"groups": 2}, "depthwise: one channel a group", "depthwise c4 hw5 k3"),
    (direct, {"out_channels": 6}, "got 4 groups, 4 -> 6 channels", "depthwise c4 hw5 k3"),
    # padding
    (depthwise, {"padding": -1}, "padding is not negative; got [-1", "k3 p-1"),
    (depthwise, {"padding": ((0, -2), (0, 0))}, "padding is not negative; got [-2]", "p0,-2,0,0"),
    (
        depthwise, {"padding": 5, "padding_mode": "reflect"},
        "reflect padding is smaller than the input", "p5 reflect",
    ),
    (
        depthwise, {"padding": ((0, 6), (0, 0)), "padding_mode": "circular"},
        "circular not larger; got h=5 with padding (0, 6)", "p0,6,0,0 circular",
    ),
    (depthwise, {"padding": "full"}, "padding as a word is 'same', 'valid' or", "p'full'"),
    (depthwise, {"padding": "causal"}, "in 1-D, 'causal'; got 'causal'", "depthwise c4"),
    (depthwise, {"padding": "same", "stride": 0}, "stride is at least 1; got s0", "c4 hw5 k3 s0"),
    (depthwise1d, {"padding": "same", "stride": 0}, "stride is at least 1", "depthwise1d c4"),
    # steps that generated code cannot count
    (depthwise, {"stride": 2**28}, "are at most 1048576; got s268435456", "k3 s268435456"),
    (conv, {"kernel": 1, "dilation": (1, 2**31 - 1)}, "got d1x2147483647", "k1 d1x2147483647"),
    # what is refused before there is a problem prints as one nevertheless
    (conv, {"padding": "full", "kernel": (3, 3), "groups": 2}, "or,", "c4 o6 hw5 k3 p'full' g2"),
    (depthwise, {"padding": 1.5, "stride": (2, 1), "batch": 2}, "got 1.5", "n2 c4 hw5 k3 s2x1"),
    (depthwise, {"stride": 0.5, "padding": ((1, 2), (3, 4))}, "got 0.5", "k3 s0.5 p1,2,3,4"),
    (depthwise1d, {"kernel": 0.5, "padding": (1, 2)}, "got 0.5", "depthwise1d c4 l5 k0.5 p1,2"),
    (depthwise, {"kernel": (HUGE, 3)}, "kernel is at most", "k<unprintable tuple>"),
    (depthwise, {"stride": 0.5, "padding": (1, 2)}, "got 0.5", "depthwise c4 hw5 k3 s0.5 p1,2"),
    (depthwise1d, {"stride": 0.5, "padding": (1, 2)}, "got 0.5", "depthwise1d c4 l5 k3 s0.5 p1,2"),
    # ranks
    (depthwise, {"size": (5, 5, 5)}, "size is one number or two; got (5, 5, 5)", "depthwise c4"),
    (depthwise, {"kernel": ()}, "kernel is one number or two; got ()", "k()"),
    (depthwise, {"stride": (1,)}, "stride is one number or two; got (1,)", "s(1,)"),
    (depthwise, {"padding": (1, 1, 1, 1)}, "padding is one number or two", "p(1, 1, 1, 1)"),
    (depthwise, {"padding": ((1, 1),)}, "padding is ((top, bottom), (left, right))", "p((1, 1),)"),
    (depthwise, {"padding": ((1,), (1, 1))}, "padding of the height is one number or two", "p(("),
    (depthwise, {"layout": "NLC"}, "1-D layouts go with depthwise1d", "c4 hw5 k3 nlc"),
    (depthwise1d, {"layout": "NCHW"}, "1-D layouts go with depthwise1d", "depthwise1d c4 l5 k3"),
    (depthwise1d, {"length": (5, 5)}, "size is a whole number; got (5, 5)", "depthwise1d c4"),
    (direct, {"kind": "depthwise1d", "layout": "NCL"}, "1-D layouts go with", "depthwise1d c4 l5"),
    # what a kind fixes
    (pointwise, {"stride": 2}, "pointwise: 1x1); got kernel (1, 1), stride (2, 2)", "s2"),
    (pointwise, {"kernel": 3}, "pointwise: 1x1); got kernel (3, 3)", "pointwise c4 o6 hw5"),
    (pointwise, {"groups": 2}, "got kernel (1, 1), stride (1, 1)", "pointwise c4 o6 hw5"),
    (pointwise, {"padding_mode": "reflect"}, "'reflect' where nothing is padded", "reflect"),
    (depthwise, {"residual": True}, "where only pointwise takes one", "k3 residual"),
    # words
    (direct, {"kind": "dense"}, "kind is one of depthwise, depthwise1d", "dense c4 o4 hw5 k3 g4"),
    (direct, {"kind": "\ud800"}, "kind is one of", "'\\ud800' c4 o4 hw5 k3 g4"),
    (direct, {"kind": np.array(["a", "b"])}, "kind is one of", "array(['a', 'b']"),
    (depthwise, {"layout": "nhwc"}, "layout is one of NCHW, NHWC, NCL, NLC", "layout='nhwc'"),
    (depthwise, {"layout": ["NHWC"]}, "layout is one of", "layout=['NHWC']"),
    (depthwise, {"layout": np.array(["a", "b"])}, "layout is one of", "layout=array("),
    (depthwise, {"activation": "swish"}, "activation is one of relu, relu6", "activation='swish'"),
    (depthwise, {"activation": ""}, "activation is one of", "activation=''"),
    (depthwise, {"activation": {}}, "activation is one of", "activation={}"),
    (depthwise, {"padding_mode": "constant"}, "padding_mode is one of zeros", "'constant'"),
    # flags
    (depthwise, {"bias": "no"}, "bias is True or False; got 'no'", "bias='no'"),
    (depthwise, {"bias": 1}, "bias is True or False; got 1", "bias=1"),
    (depthwise, {"bias": np.zeros(4)}, "bias is True or False; got array([0., 0.", "bias=array("),
    (pointwise, {"residual": None}, "residual is True or False; got None", "residual=None"),
    # numbers that are not whole, or not finite
    (depthwise, {"channels": float("nan")}, "channels is a whole number; got nan", "cnan hw5"),
    (depthwise, {"size": float("inf")}, "size is a whole number; got inf", "hwinf"),
    (depthwise, {"size": (5, -np.inf)}, "size is a whole number; got -inf", "hw(5, -inf)"),
    (depthwise, {"kernel": 3.0}, "kernel is a whole number; got 3.0", "k3.0"),
    (depthwise, {"stride": True}, "stride is a whole number; got True", "sTrue"),
    (depthwise, {"dilation": "2"}, "dilation is a whole number; got '2'", "d'2'"),
    (depthwise, {"batch": None}, "batch is a whole number; got None", "nNone"),
    (depthwise, {"multiplier": 1.5}, "multiplier is a whole number; got 1.5", "m1.5"),
    (depthwise, {"padding": None}, "padding is a whole number; got None", "pNone"),
    (depthwise, {"padding": np.array([1, 1])}, "padding is a whole number; got array([1", "parray"),
    (depthwise1d, {"kernel": "x", "padding": "causal"}, "kernel is a whole number", "k'x'"),
    (depthwise, {"channels": np.bool_(True)}, "channels is a whole number", "depthwise c"),
    # huge
    (depthwise, {"channels": 2**31}, "channels is at most 2147483647 in size", "c2147483648"),
    (depthwise, {"channels": HUGE}, "in size; got <unprintable int>", "c<unprintable int>"),
    (depthwise, {"padding": -HUGE}, "padding is at most", "p<unprintable int>"),
    (depthwise, {"layout": HUGE}, "layout is one of", "layout=<unprintable int>"),
    (depthwise, {"channels": 2**30, "multiplier": 2}, "out_channels is at most", "depthwise c"),
    (depthwise, {"size": 30_000}, "elements; got padded input of 3600000000", "hw30000"),
    (conv, {"channels": 60_000, "out_channels": 60_000, "kernel": 1}, "got weight of", "conv c"),
    (
        depthwise, {"size": 1, "padding": 2**14, "kernel": 2**14},
        "elements; got padded input of 4295229444: ", "k16384 p16384",
    ),
    (depthwise, {"stride": 2**20, "padding": "same", "kernel": 2**31 - 1}, "elements", "k21474"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("construct", "fields", "words", "line"),
    IMPOSSIBLE,
    ids=[f"{case[0].__name__}-{','.join(case[1])}-{i}" for i, case in enumerate(IMPOSSIBLE)],
)
def test_an_impossible_problem_is_refused_with_its_rule_its_values_and_its_line(
    construct: Callable[..., ConvSpec], fields: dict[str, object], words: str, line: str
) -> None:
    with pytest.raises(SpecError) as caught:
        construct(**fields)
    message = str(caught.value)
    assert words in message
    assert line in message.partition("; got ")[2]
    assert len(message) < 700
    assert "\n" not in message


@pytest.mark.parametrize("dtype", ["half", "int16", "", None, float, np.float32, np.dtype("f4")])
def test_other_element_types_are_refused(dtype: object) -> None:
    with pytest.raises(
        DTypeError,
        match=r"one of float32, float64, bfloat16, float16, int8, uint8; got .*: depthwise c4",
    ):
        depthwise(dtype=dtype)


def test_a_refused_problem_changes_nothing() -> None:
    size, kernel, padding = [5, 5], [3, 3], [[1, 1], [1, -1]]
    with pytest.raises(SpecError):
        ConvSpec.depthwise(4, size, kernel, padding=padding)
    assert (size, kernel, padding) == ([5, 5], [3, 3], [[1, 1], [1, -1]])
    spec = ConvSpec.depthwise(4, 5, 3)
    with pytest.raises(SpecError):
        dataclasses.replace(spec, stride=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.stride = (2, 2)  # type: ignore[misc]
    assert spec == ConvSpec.depthwise(4, 5, 3)


WEIRD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary()
    | st.sampled_from([2**31, -(2**31), int, object(), np.float32(1), np.int8(2), np.ones(2)]),
    lambda inner: st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple),
    max_leaves=6,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([f.name for f in dataclasses.fields(ConvSpec)]), WEIRD))
def test_no_value_whatever_gets_past_the_rules_or_raises_anything_else(
    fields: dict[str, object],
) -> None:
    try:
        spec = direct(**fields)
    except (SpecError, DTypeError):
        return
    assert min(*spec.input_shape, *spec.output_shape) >= 1
    assert isinstance(str(spec), str)
