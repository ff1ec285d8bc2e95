"""A block as a problem: its parts, its operands, and what cannot follow what."""

import dataclasses
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given

from depthwise.errors import DTypeError, SpecError
from depthwise.problem.block import BlockSpec, SqueezeExcite
from depthwise.problem.spec import ConvSpec
from strategies import block_specs

DEPTHWISE = ConvSpec.depthwise(4, 5, 3)
PROJECT = ConvSpec.pointwise(4, 6, 3)


def test_the_operands_of_a_separable_block() -> None:
    spec = BlockSpec.separable(
        4, 6, 5, 3, padding=1, depthwise_bias=True, pointwise_bias=True, residual=True,
        multiplier=2, layout="NHWC", batch=2,
    )  # fmt: skip
    assert (spec.input_shape, spec.output_shape) == ((2, 5, 5, 4), (2, 5, 5, 6))
    assert list(spec.operands.items()) == [
        ("depthwise_weight", (8, 1, 3, 3)),
        ("pointwise_weight", (6, 8)),
        ("depthwise_bias", (8,)),
        ("pointwise_bias", (6,)),
        ("residual", (2, 5, 5, 6)),
    ]


def test_the_operands_of_an_inverted_residual() -> None:
    spec = BlockSpec.inverted(
        4, 6, (5, 7), 3, expanded=12, stride=2, padding=1, expand_bias=True, depthwise_bias=True,
        project_bias=True, residual=True, squeeze_excite=SqueezeExcite(channels=2),
        activation="relu6",
    )  # fmt: skip
    assert (spec.input_shape, spec.output_shape) == ((1, 4, 5, 7), (1, 6, 3, 4))
    assert list(spec.operands.items()) == [
        ("expand_weight", (12, 4)),
        ("depthwise_weight", (12, 1, 3, 3)),
        ("project_weight", (6, 12)),
        ("expand_bias", (12,)),
        ("depthwise_bias", (12,)),
        ("project_bias", (6,)),
        ("se_reduce_weight", (2, 12)),
        ("se_reduce_bias", (2,)),
        ("se_expand_weight", (12, 2)),
        ("se_expand_bias", (12,)),
        ("residual", (1, 6, 3, 4)),
    ]
    assert [part.activation for part in spec.parts] == ["relu6", "relu6", None]


def test_an_inverted_residual_without_expansion_begins_with_its_depthwise_part() -> None:
    spec = BlockSpec.inverted(4, 6, 5, 3)
    assert spec.expand is None
    assert spec.parts == (DEPTHWISE, PROJECT)
    assert list(spec.operands) == ["depthwise_weight", "project_weight"]


@given(block_specs())
def test_each_part_takes_what_the_one_before_gives(spec: BlockSpec) -> None:
    shapes = [(part.input_shape, part.output_shape) for part in spec.parts]
    assert all(before[1] == after[0] for before, after in pairwise(shapes))
    assert (spec.input_shape, spec.output_shape) == (shapes[0][0], shapes[-1][1])
    assert {(part.batch, part.layout, part.dtype) for part in spec.parts} == {
        (spec.batch, spec.layout, spec.dtype)
    }


@given(block_specs())
def test_a_block_is_a_value(spec: BlockSpec) -> None:
    assert dataclasses.replace(spec) == spec
    assert hash(dataclasses.replace(spec)) == hash(spec)


def block(**fields: object) -> BlockSpec:
    base = {"kind": "separable", "expand": None, "depthwise": DEPTHWISE, "project": PROJECT}
    return BlockSpec(**{**base, **fields})  # type: ignore[arg-type]


def inverted(**fields: object) -> BlockSpec:
    base = {"channels": 4, "out_channels": 6, "size": 5, "kernel": 3}
    return BlockSpec.inverted(**{**base, **fields})  # type: ignore[arg-type]


def separable(**fields: object) -> BlockSpec:
    base = {"channels": 4, "out_channels": 6, "size": 5, "kernel": 3}
    return BlockSpec.separable(**{**base, **fields})  # type: ignore[arg-type]


GATE = SqueezeExcite(channels=2)

IMPOSSIBLE = [
    (block, {"kind": "residual"}, "kind is one of separable, inverted; got 'residual'"),
    (block, {"kind": ["separable"]}, "kind is one of separable, inverted; got ['separable']"),
    (block, {"depthwise": None}, "depthwise is a ConvSpec; got None"),
    (block, {"project": "pointwise c4 o6 hw3"}, "project is a ConvSpec; got 'pointwise"),
    (block, {"expand": 5}, "expand is a ConvSpec; got 5"),
    (block, {"kind": "inverted", "squeeze_excite": 6}, "squeeze_excite is a SqueezeExcite; got 6"),
    (block, {"squeeze_excite": GATE}, "a separable block has neither an expansion nor a gate"),
    (
        block, {"expand": ConvSpec.pointwise(2, 4, 5)},
        "a separable block has neither an expansion nor a gate",
    ),
    (block, {"project": DEPTHWISE}, "the parts are pointwise or none, depthwise, pointwise"),
    (block, {"depthwise": PROJECT}, "the parts are pointwise or none, depthwise, pointwise"),
    (
        block, {"kind": "inverted", "expand": DEPTHWISE},
        "the parts are pointwise or none, depthwise, pointwise",
    ),
    (
        block, {"project": ConvSpec.pointwise(5, 6, 3)},
        "each part takes what the one before gives; got depthwise c4 hw5 k3 -> pointwise c5 o6",
    ),
    (block, {"project": ConvSpec.pointwise(4, 6, 4)}, "each part takes what the one before gives"),
    (
        block, {"project": ConvSpec.pointwise(4, 6, 3, layout="NHWC")},
        "each part takes what the one before gives",
    ),
    (
        block, {"project": ConvSpec.pointwise(4, 6, 3, dtype="float64")},
        "each part takes what the one before gives",
    ),
    (
        block, {"kind": "inverted", "expand": ConvSpec.pointwise(3, 4, 5, residual=True)},
        "only the last part takes a residual",
    ),
    (
        block, {"kind": "inverted", "project": ConvSpec.pointwise(4, 6, 3, activation="relu")},
        "the projection of an inverted residual is linear; got relu",
    ),
    (
        block, {"kind": "inverted", "expand": ConvSpec.pointwise(3, 4, 5, activation="relu")},
        "one activation serves expansion and depthwise; got ('relu', None)",
    ),
    (inverted, {"expand_bias": True}, "an expand_bias needs an expansion; got expanded=None"),
    (inverted, {"expand_bias": 1}, "expand_bias is True or False; got 1"),
    (inverted, {"expanded": 0}, "sizes are at least 1; got c=0"),
    (inverted, {"expanded": 2.5}, "channels is a whole number; got 2.5"),
    (inverted, {"residual": "yes"}, "residual is True or False; got 'yes'"),
    (inverted, {"project_bias": None}, "bias is True or False; got None"),
    (inverted, {"activation": "elu"}, "activation is one of relu"),
    (inverted, {"kernel": 6}, "the dilated kernel fits into the padded input"),
    (inverted, {"out_channels": -1}, "sizes are at least 1; got o=-1"),
    (
        inverted, {"channels": 2**20, "squeeze_excite": SqueezeExcite(channels=2**11)},
        "no array has more than 2147483647 elements; got squeeze-and-excite weight of 2147483648",
    ),
    (separable, {"depthwise_activation": "elu"}, "activation is one of relu"),
    (separable, {"channels": float("nan")}, "channels is a whole number; got nan"),
    (separable, {"out_channels": 10**5000}, "out_channels is at most 2147483647 in size"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("construct", "fields", "words"),
    IMPOSSIBLE,
    ids=[f"{case[0].__name__}-{','.join(case[1])}-{i}" for i, case in enumerate(IMPOSSIBLE)],
)
def test_an_impossible_block_is_refused(
    construct: Callable[..., BlockSpec], fields: dict[str, object], words: str
) -> None:
    with pytest.raises(SpecError) as caught:
        construct(**fields)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_block_of_another_element_type_is_refused() -> None:
    with pytest.raises(
        DTypeError,
        match="dtype is one of float32, float64, bfloat16, float16, int8, uint8; got 'int16'",
    ):
        separable(dtype="int16")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"channels": 0}, "squeeze-and-excite channels are at least 1; got 0"),
        ({"channels": 1.5}, "squeeze-and-excite channels is a whole number; got 1.5"),
        ({"channels": 2**31}, "squeeze-and-excite channels is at most 2147483647"),
        ({"channels": 2, "activation": None}, "squeeze-and-excite activation is one of relu"),
        ({"channels": 2, "gate": ["sigmoid"]}, "squeeze-and-excite gate is one of relu"),
    ],
)
def test_an_impossible_gate_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        SqueezeExcite(**fields)  # type: ignore[arg-type]
    assert words in str(caught.value)


def test_what_an_expansion_without_bias_needs_is_nothing() -> None:
    assert "expand_bias" not in inverted(expanded=8, depthwise_bias=True).operands
