"""The registry of problems: each kind is found by its first word and by its specification."""

import pytest
from hypothesis import given

import depthwise as dw
from depthwise.errors import ParseError
from depthwise.problem.families import BY_KIND, FAMILIES, family_of, is_specification
from depthwise.problem.parse import specification
from depthwise.problem.problem import Problem
from strategies import specs

LINES = (
    "depthwise c4 hw9 k3 p1 bias relu",
    "depthwise1d c4 l9 k3",
    "pointwise c4 o8 hw9 residual",
    "conv c4 o8 hw9 k3 g2",
    "separable c4 o8 hw9 k3 s2",
    "inverted c4 e8 o4 hw9 k3 p1 residual se2",
    "causal c4 l9 k4 silu state3",
    "causal_gradient causal c4 l9 k4 silu state3",
    "input_gradient depthwise c4 hw9 k3",
    "weight_gradient depthwise1d c4 l9 k3 bias",
    "backward depthwise c4 hw9 k3",
    "training depthwise c4 hw9 k3",
    "mean c4 hw9 nhwc",
    "sum c4 hw9 nhwc channels",
    "max c4 hw9 nhwc",
    "l2 c4 hw9 nhwc",
    "meansquare c4 hw9 nhwc channels",
    "sumsquare c4 hw9 nhwc",
    "norm c4 hw9 nhwc eps1e-06",
    "groupnorm c4 hw9 g2 nhwc eps1e-06",
    "elementwise c4 hw9 nhwc mul.channel add.image relu",
    "maxpool c4 hw9 k3 s2 p1 nhwc",
    "avgpool c4 hw9 k3 p1 nhwc padded",
    "gather c4,6 hw9 nhwc b[0:6] a[0:2]/a[2:4]",
    "attention c4 o6 hw9 keys5 heads2 nhwc bias",
    "nearest c4 hw9 by2 nhwc",
    "linear c4 hw9 to5x12 nhwc align_corners",
    "quantize c4 hw9 nhwc uint8",
    "dequantize c4 hw9 nhwc int8",
    "lookup c4 hw9 nhwc uint8",
    "qadd c4 hw9 nhwc int8",
    "qmul c4 hw9 nhwc uint8 gate",
    "qmean c4 hw9 nhwc int8",
)


def test_each_kind_is_of_one_family() -> None:
    assert [line.split()[0] for line in LINES] == list(BY_KIND)
    assert sum(len(family.kinds) for family in FAMILIES) == len(BY_KIND)


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_read_by_the_family_of_its_specification(line: str) -> None:
    spec = dw.parse(line)
    assert str(spec) == line
    assert spec.kind in family_of(spec).kinds
    assert family_of(spec) is BY_KIND[spec.kind]
    assert type(spec) is family_of(spec).specification


@given(specs())
def test_the_arrays_of_a_call_have_names_of_their_own(spec: Problem) -> None:
    assert spec.array_names[1:] == tuple(spec.operands)
    assert len(set(spec.array_names)) == len(spec.array_names)


@pytest.mark.parametrize("line", LINES)
def test_a_problem_of_several_kernels_is_computed_by_those_of_others(line: str) -> None:
    spec = dw.parse(line)
    assert all(kernel.kernels == (kernel,) for kernel in spec.kernels)
    assert (len(spec.kernels) > 1) == (spec.kind in ("backward", "training"))


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (LINES[0], (LINES[0],)),
        (LINES[4], ("depthwise c4 hw9 k3 s2", "pointwise c4 o8 hw4")),
        (LINES[7], ()),
        (LINES[11], ()),
    ],
)
def test_parts_are_the_convolutions_in_their_order(line: str, parts: tuple[str, ...]) -> None:
    assert tuple(map(str, dw.parse(line).parts)) == parts


@pytest.mark.parametrize(
    ("line", "other"),
    [
        (LINES[0], "depthwise n3 c4 h12 w15 k3 p1 bias relu"),
        (LINES[4], "separable n3 c4 o8 h12 w15 k3 s2"),
        (LINES[5], "inverted n3 c4 e8 o4 h12 w15 k3 p1 residual se2"),
        (LINES[18], "norm n3 c4 h12 w15 nhwc eps1e-06"),
        (LINES[19], "groupnorm n3 c4 h12 w15 g2 nhwc eps1e-06"),
        (LINES[22], "avgpool n3 c4 h12 w15 k3 p1 nhwc padded"),
        (LINES[24], "attention n3 c4 o6 h12 w15 keys5 heads2 nhwc bias"),
        (LINES[31], "qmul n3 c4 h12 w15 nhwc uint8 gate"),
        (LINES[20], "elementwise n3 c4 h12 w15 nhwc mul.channel add.image relu"),
    ],
)
def test_a_layer_exists_for_images_of_other_sizes(line: str, other: str) -> None:
    spec = dw.parse(line)
    assert str(spec.resized(3, 12, 15)) == other  # type: ignore[attr-defined]


@pytest.mark.parametrize("line", [line for line in LINES if "nhwc" in line])
@pytest.mark.parametrize("size", [(9, 9), (12, 7)])
def test_the_size_of_a_result_is_known_without_it(line: str, size: tuple[int, int]) -> None:
    spec = dw.parse(line)
    resized = spec.resized(2, *size)  # type: ignore[attr-defined]
    assert resized.output_shape[1:3] == spec.sides(*size)  # type: ignore[attr-defined]


def test_a_problem_is_given_as_a_specification_or_as_its_text() -> None:
    spec = dw.parse(LINES[0])
    assert specification(spec) is spec
    assert specification(LINES[0]) == spec
    assert not is_specification(LINES[0])
    with pytest.raises(ParseError, match="a problem is a line of text; got None"):
        specification(None)  # type: ignore[arg-type]
