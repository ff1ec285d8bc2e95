"""The costs: exact figures, conventions, and agreement with torch's and ptflops' counters."""

import contextlib
import io
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ptflops import get_model_complexity_info
from torch.utils.flop_counter import FlopCounterMode

import depthwise as dw
from depthwise import cost
from depthwise.problem.costs import parameter_ratio, parameter_ratio_limit

STANDARD = "conv c8 o64 hw128 k3 bias"
SEPARABLE = "separable c8 o64 hw128 k3 bias"


def separable_formula(bs: int, ic: int, oc: int, oh: int, ow: int, kh: int, kw: int) -> int:
    return 2 * bs * ic * oh * ow * (kh * kw + oc)


def test_the_flops_of_256_to_512_channels_at_12x12() -> None:
    assert cost("conv c256 o512 hw12 k3 p1").flops == 339_738_624
    assert cost("separable c256 o512 hw12 k3 p1").flops == 38_412_288


def test_a_mac_is_two_flops() -> None:
    block = cost(SEPARABLE)
    assert block.flops == 2 * block.macs == 2 * 126 * 126 * (8 * 9 + 8 * 64)


@pytest.mark.parametrize("n", [1, 3])
def test_the_formula_published_as_that_of_depthwise_is_that_of_separable(n: int) -> None:
    published = separable_formula(n, 256, 512, 12, 12, 3, 3)
    assert cost(f"separable n{n} c256 o512 hw12 k3 p1").flops == published
    depthwise = cost(f"depthwise n{n} c256 hw12 k3 p1").flops
    assert depthwise == 2 * n * 256 * 12 * 12 * 3 * 3
    assert depthwise != separable_formula(n, 256, 256, 12, 12, 3, 3)


def test_depthwise_alone_divides_the_flops_by_exactly_the_output_channels() -> None:
    standard, depthwise = cost("conv c64 o64 hw56 k3 p1"), cost("depthwise c64 hw56 k3 p1")
    assert standard.flops == 64 * depthwise.flops


def test_the_parameters_of_8_to_64_channels() -> None:
    assert (cost(STANDARD).params, cost(SEPARABLE).params) == (4_672, 656)


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("depthwise c6 hw8 k3x5", 6 * 15),
        ("depthwise c6 hw8 k3 m2 bias", 12 * 9 + 12),
        ("depthwise1d c6 l8 k4 causal bias", 6 * 4 + 6),
        ("pointwise c6 o10 hw8", 60),
        ("pointwise c6 o10 hw8 bias residual", 70),
        ("conv c6 o10 hw8 k3 g2", 10 * 3 * 9),
        ("conv c6 o10 hw8 k3 g2 bias", 10 * 3 * 9 + 10),
        ("separable c6 o10 hw8 k3 dbias", 54 + 6 + 60),
        ("inverted c6 e12 o6 hw8 k3 p1 relu6 residual", 72 + 108 + 72),
        ("inverted c6 e12 o6 hw8 k3 p1 bias se3", 72 + 12 + 108 + 12 + 36 + 3 + 36 + 12 + 72 + 6),
        ("inverted c6 o6 hw8 k3 p1", 54 + 36),
    ],
)
def test_parameters_are_the_elements_of_weights_and_biases(text: str, params: int) -> None:
    assert cost(text).params == params


def test_each_gradient_has_the_macs_of_the_convolution() -> None:
    conv = "depthwise n2 c6 hw9 k3 s2 p1 m2 bias"
    forward = cost(conv)
    for kind in ("input_gradient", "weight_gradient"):
        gradient = cost(f"{kind} {conv}")
        assert (gradient.macs, gradient.params) == (forward.macs, forward.params)
    training = cost(f"training {conv}")
    assert (training.macs, training.params) == (3 * forward.macs, forward.params)
    assert training.parts == {
        "forward": forward,
        "input_gradient": cost(f"input_gradient {conv}"),
        "weight_gradient": cost(f"weight_gradient {conv}"),
    }
    backward = cost(f"backward {conv}")
    assert (backward.macs, backward.params) == (2 * forward.macs, forward.params)
    assert list(backward.parts) == ["input_gradient", "weight_gradient"]
    assert training.unfused_bytes == sum(part.bytes for part in training.parts.values())


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("depthwise n2 c6 hw8 k3 p1", 2 * 6 * 64 * 2 + 54),
        ("depthwise c6 hw8 k3 bias", 6 * 64 + 6 * 36 + 54 + 6),
        ("pointwise c6 o10 hw8 residual", 64 * (6 + 10 + 10) + 60),
        ("separable c6 o10 hw8 k3 p1", 64 * (6 + 10) + 54 + 60),
        ("inverted c6 e12 o6 hw8 k3 p1 residual", 64 * 18 + 72 + 108 + 72),
        ("input_gradient depthwise n2 c6 hw8 k3 bias", 2 * 6 * (64 + 36) + 54),
        ("weight_gradient depthwise n2 c6 hw8 k3", 2 * 6 * (64 + 36) + 54),
        ("weight_gradient depthwise n2 c6 hw8 k3 bias", 2 * 6 * (64 + 36) + 54 + 6),
        ("backward depthwise n2 c6 hw8 k3 bias", 2 * 6 * (64 * 2 + 36) + 54 * 2 + 6),
        ("training depthwise n2 c6 hw8 k3 bias", 2 * (2 * 6 * (64 + 36) + 54 + 6)),
    ],
)
def test_bytes_are_every_array_once(text: str, elements: int) -> None:
    assert cost(text).bytes == 4 * elements
    assert cost(f"{text} float64").bytes == 8 * elements


def test_a_block_is_the_sum_of_its_parts_but_for_the_bytes_between_them() -> None:
    block = cost("inverted n2 c6 e12 o10 hw8 k3 p1 bias se3")
    assert list(block.parts) == ["expand", "depthwise", "squeeze_excite", "project"]
    assert block.params == sum(part.params for part in block.parts.values())
    assert block.macs == sum(part.macs for part in block.parts.values())
    passed_on = 2 * 12 * 64
    assert block.unfused_bytes == block.bytes + 4 * 3 * 2 * passed_on


def test_the_gate_of_squeeze_excite_costs_its_two_dense_layers() -> None:
    with_gate, without = (
        cost("inverted n2 c6 e12 o6 hw8 k3 se3"),
        cost("inverted n2 c6 e12 o6 hw8 k3"),
    )
    assert with_gate.macs - without.macs == 2 * (12 * 3 + 3 * 12)


def test_one_convolution_has_no_parts_and_the_same_bytes_unfused() -> None:
    depthwise = cost("depthwise c6 hw8 k3")
    assert depthwise.parts == {}
    assert depthwise.unfused_bytes == depthwise.bytes
    assert depthwise.intensity == depthwise.flops / depthwise.bytes


def test_neither_bias_nor_activation_nor_residual_has_macs() -> None:
    plain, dressed = cost("pointwise c6 o10 hw8"), cost("pointwise c6 o10 hw8 bias relu residual")
    assert plain.macs == dressed.macs


def test_a_specification_costs_what_its_text_does() -> None:
    assert cost(dw.parse(SEPARABLE)) == cost(SEPARABLE)
    with pytest.raises(dw.errors.ParseError, match="a problem begins with"):
        cost("convolution c8")


@given(
    c=st.integers(1, 96),
    k=st.integers(1, 96),
    r=st.integers(1, 7),
    s=st.integers(1, 7),
    bias=st.booleans(),
)
def test_the_ratio_formula_is_the_ratio_of_the_counts(
    c: int, k: int, r: int, s: int, bias: bool
) -> None:
    tokens = f"c{c} o{k} hw9 k{r}x{s}{' bias' * bias}"
    standard, separable = cost(f"conv {tokens}").params, cost(f"separable {tokens}").params
    assert parameter_ratio(c, k, (r, s), bias=bias) == standard / separable


@pytest.mark.parametrize("kernel", [(3, 3), (5, 3)])
@pytest.mark.parametrize("bias", [False, True])
def test_the_ratio_grows_with_the_channels_to_its_limit(
    kernel: tuple[int, int], bias: bool
) -> None:
    ratios = [parameter_ratio(c, c, kernel, bias=bias) for c in (8, 64, 512, 4096, 10**9)]
    limit = parameter_ratio_limit(kernel)
    assert ratios == sorted(ratios)
    assert limit == prod(kernel)
    assert ratios[-1] < limit
    assert ratios[-1] == pytest.approx(limit, rel=1e-6)


def conv(*args: int, **options: object) -> torch.nn.Conv2d:
    return torch.nn.Conv2d(*args, **options)  # type: ignore[arg-type]


def modules() -> dict[str, torch.nn.Module]:
    depthwise_then_pointwise = torch.nn.Sequential(conv(8, 8, 3, groups=8), conv(8, 64, 1))
    return {STANDARD: conv(8, 64, 3), SEPARABLE: depthwise_then_pointwise}


@pytest.mark.parametrize(("text", "gmac"), [(STANDARD, 0.07), (SEPARABLE, 0.01)])
def test_ptflops_counts_the_same_macs_and_one_more_an_output_for_each_bias(
    text: str, gmac: float
) -> None:
    spec = dw.parse(text)
    with contextlib.redirect_stdout(io.StringIO()):
        macs, params = get_model_complexity_info(
            modules()[text],
            (8, 128, 128),
            as_strings=False,
            print_per_layer_stat=False,
            backend="pytorch",
        )
    bias_additions = sum(prod(part.output_shape) for part in getattr(spec, "parts", (spec,)))
    assert macs == cost(spec).macs + bias_additions
    assert params == cost(spec).params
    assert round(macs / 1e9, 2) == round(cost(spec).macs / 1e9, 2) == gmac


@pytest.mark.parametrize(
    ("text", "module"),
    [
        ("conv n2 c6 o10 h9 w7 k3x2 s2x1 p1 d1x2 bias", conv(6, 10, (3, 2), (2, 1), 1, (1, 2))),
        ("conv n2 c6 o10 h9 w7 k3 g2", conv(6, 10, 3, groups=2)),
        ("depthwise n2 c6 h9 w7 k3 p1 m2 bias", conv(6, 12, 3, padding=1, groups=6)),
        ("pointwise n2 c6 o10 h9 w7", conv(6, 10, 1)),
        (
            "separable n2 c6 o10 h9 w7 k3 s2 p1",
            torch.nn.Sequential(conv(6, 6, 3, stride=2, padding=1, groups=6), conv(6, 10, 1)),
        ),
    ],
    ids=str,
)
def test_torch_counts_the_same_flops(text: str, module: torch.nn.Module) -> None:
    spec = dw.parse(text)
    with FlopCounterMode(display=False) as counter:
        output = module(torch.zeros(spec.input_shape))
    assert tuple(output.shape) == spec.output_shape
    assert counter.get_total_flops() == cost(spec).flops
