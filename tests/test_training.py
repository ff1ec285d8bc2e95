"""A pass of training as a problem: what it takes and gives, and what has none."""

import copy
import pickle

import pytest
from hypothesis import given

import depthwise as dw
from depthwise.commands import sweep
from depthwise.errors import SpecError
from depthwise.machine.target import host
from depthwise.measure.worker import compare
from depthwise.problem import reference
from depthwise.problem.data import random_problem
from depthwise.problem.training import PassSpec
from depthwise.tuning import space
from strategies import pass_specs

CONV = "depthwise n2 c4 h9 w8 k3x2 s2x1 m2 bias"


def parse(text: str) -> PassSpec:
    spec = dw.parse(text)
    assert isinstance(spec, PassSpec)
    return spec


def test_the_gradient_of_the_input_takes_that_of_the_output_and_the_weight() -> None:
    spec = parse(f"input_gradient {CONV} nhwc")
    assert (spec.input_shape, spec.output_shape) == ((2, 4, 7, 8), (2, 9, 8, 4))
    assert spec.operands == {"weight": (8, 1, 3, 2)}
    assert (spec.batch, spec.layout, spec.dtype) == (2, "NHWC", "float32")


def test_the_gradient_of_the_weight_takes_that_of_the_output_and_the_input() -> None:
    spec = parse(f"weight_gradient {CONV}")
    assert (spec.input_shape, spec.output_shape) == ((2, 8, 4, 7), (8 * 6 + 8,))
    assert spec.operands == {"x": (2, 4, 9, 8)}
    assert parse("weight_gradient depthwise c4 hw5 k3").output_shape == (4 * 9,)


def test_backward_is_both_gradients() -> None:
    spec = parse(f"backward {CONV} nhwc")
    assert spec.input_shape == (2, 4, 7, 8)
    assert list(spec.operands.items()) == [("weight", (8, 1, 3, 2)), ("x", (2, 9, 8, 4))]
    assert spec.output_shape == (2 * 4 * 9 * 8 + 8 * 6 + 8,)
    assert spec.kernels == tuple(
        parse(f"{kind} {CONV} nhwc") for kind in ("input_gradient", "weight_gradient")
    )


def test_a_training_step_takes_everything_and_gives_everything_flat() -> None:
    spec = parse(f"training {CONV}")
    assert spec.input_shape == (2, 4, 9, 8)
    grad = (2, 8, 4, 7)
    assert list(spec.operands.items()) == [
        ("weight", (8, 1, 3, 2)),
        ("bias", (8,)),
        ("grad", grad),
    ]
    assert spec.output_shape == (2 * 8 * 4 * 7 + 2 * 4 * 9 * 8 + 8 * 6 + 8,)


def test_a_training_step_is_three_kernels() -> None:
    assert [str(kernel) for kernel in parse(f"training {CONV}").kernels] == [
        CONV,
        f"input_gradient {CONV}",
        f"weight_gradient {CONV}",
    ]
    gradient = parse(f"input_gradient {CONV}")
    assert gradient.kernels == (gradient,)


@given(pass_specs())
def test_a_pass_is_a_value(spec: PassSpec) -> None:
    assert pickle.loads(pickle.dumps(spec)) == copy.deepcopy(spec) == spec
    assert hash(dw.parse(str(spec))) == hash(spec)


@pytest.mark.parametrize(
    ("kind", "conv", "rule"),
    [
        ("gradient", dw.parse(CONV), "kind is one of input_gradient, .*; got 'gradient'"),
        ("training", CONV, "a pass is one of a convolution; got 'depthwise"),
        (
            "training",
            dw.parse("separable c4 o8 hw5 k3"),
            "a pass is one of a convolution; got BlockSpec",
        ),
        (
            "training",
            dw.parse("conv c4 o8 hw5 k3"),
            "those of depthwise convolutions; got conv c4 o8 hw5 k3",
        ),
        (
            "training",
            dw.parse("depthwise c4 hw5 k3 p1 circular"),
            "those of zero padding; got depthwise c4 hw5 k3 p1 circular",
        ),
        (
            "training",
            dw.parse("depthwise c4 hw5 k3 silu"),
            "those of the convolution alone; got depthwise c4 hw5 k3 silu",
        ),
    ],
)
def test_what_has_no_gradients_here_is_refused(kind: str, conv: object, rule: str) -> None:
    with pytest.raises(SpecError, match=rule):
        PassSpec(kind=kind, conv=conv)  # type: ignore[arg-type]


def test_a_kernel_computes_one_pass() -> None:
    with pytest.raises(SpecError) as caught:
        dw.compile(f"training {CONV}")
    assert str(caught.value) == (
        f'a kernel computes one pass; this is those of "{CONV}", "input_gradient {CONV}", '
        f'"weight_gradient {CONV}": training {CONV}'
    )


def test_what_is_there_for_convolutions_and_blocks_alone_says_so() -> None:
    text = f"training {CONV}"
    refusals = {
        "a search": lambda: space.space(dw.parse(text), host()),
        "a sweep": lambda: sweep.sweep(text, None, 1, 1, None, form="table"),
    }
    for what, call in refusals.items():
        with pytest.raises(SpecError, match=f"{what} is one of a convolution or a block; got tra"):
            call()


def test_one_wrong_element_of_a_flat_result_is_found() -> None:
    spec = parse("training depthwise n8 c64 hw40 k3 p1")
    expected = reference.forward(spec, *random_problem(spec)[:-1])
    got = expected.astype("float32")
    assert got.size > 2**20
    assert compare(spec, got, expected)[1]
    got[-1] += 1
    error, verified = compare(spec, got, expected)
    assert not verified
    assert error == pytest.approx(1, rel=1e-5)
