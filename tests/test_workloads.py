"""Layer files: what they say, and what is said about those that are wrong."""

from __future__ import annotations

import json
from operator import methodcaller
from pathlib import Path
from typing import Any, get_args

import pytest

from depthwise.bench.layers import Layer, Op, problems, read_layers, workload, workload_names
from depthwise.errors import LayerFileError, SpecError
from depthwise.problem.parse import parse
from depthwise.problem.training import PassKind

EVERYTHING = {"epilogue": "network", "layout": "NHWC", "batch": 2}
SMALLEST = {"c": 4, "h": 5, "w": 6, "k": 3}


def write(folder: Path, content: object) -> Path:
    file = folder / "layers.json"
    file.write_text(json.dumps(content))
    return file


def test_the_networks_and_the_seeds_are_there() -> None:
    assert {name: len(workload(name)) for name in workload_names()} == {
        "blocks": 52,
        "causal": 29,
        "convnext_tiny": 18,
        "corners": 4,
        "efficientnet_b0": 16,
        "efficientnet_lite0": 16,
        "fastvit_t8": 25,
        "mamba": 5,
        "mnasnet": 17,
        "mobilenet_v1": 13,
        "mobilenet_v2": 17,
        "mobilenet_v3_large": 15,
        "mobilenet_v3_small": 11,
        "replknet_31b": 29,
        "seeds": 6,
        "shufflenet_v2": 19,
        "smoke": 3,
        "training": 51,
        "xception": 34,
    }


def test_the_seed_sizes() -> None:
    assert [str(spec) for spec in problems(workload("seeds"), "depthwise")] == [
        *(f"depthwise c{c} hw64 k3 p1" for c in (16, 32, 64, 128, 256)),
        "depthwise c256 hw12 k3 p1",
    ]


@pytest.mark.parametrize("name", workload_names())
def test_every_workload_poses_problems_that_read_back(name: str) -> None:
    layers = workload(name)
    for op in get_args(Op):
        posing = [layer for layer in layers if layer.poses(op)]
        for spec in map(methodcaller("problem", op, **EVERYTHING), posing):
            assert parse(str(spec)) == spec


def test_equal_layers_are_one_problem_that_names_them_all() -> None:
    titles = problems(workload("mobilenet_v2"), "depthwise")
    assert len(titles) == 10
    assert titles[parse("depthwise c192 hw28 k3 p1")] == (
        "mobilenet_v2_1.0 features.5.conv.1.0, mobilenet_v2_1.0 features.6.conv.1.0"
    )


def test_a_file_with_every_form_of_every_key(tmp_path: Path) -> None:
    layer = {
        "c": 8, "h": 20, "w": 30, "k": [5, 3], "stride": [2, 1], "pad": [[1, 0], [2, 3]],
        "dilation": [1, 2], "multiplier": 2, "pointwise_out": 12, "prev_pointwise_in": 4,
        "bias": True, "activation": "silu", "pointwise_activation": "relu", "block": "separable",
        "model": "m", "name": "n",
    }  # fmt: skip
    (read,) = read_layers(write(tmp_path, [layer]))
    assert read.title == "m n"
    assert str(read.problem("depthwise")) == "depthwise c8 h20 w30 k5x3 s2x1 p1,0,2,3 d1x2 m2"
    assert read.problem("separable", epilogue="network", dtype="float64", layout="NHWC") == parse(
        "separable c8 o12 h20 w30 k5x3 s2x1 p1,0,2,3 d1x2 m2 nhwc float64 bias silu/relu"
    )


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_whole_numbers_are_channels_last_and_have_no_activation(tmp_path: Path, dtype: str) -> None:
    (read,) = read_layers(write(tmp_path, [{**SMALLEST, "activation": "relu6"}]))
    plain, network = (
        read.problem("depthwise", dtype=dtype, epilogue=epilogue)
        for epilogue in ("none", "network")
    )
    assert str(network) == f"{plain} bias"
    assert f" nhwc {dtype}" in str(plain)
    with pytest.raises(SpecError, match="quantized convolutions are channels-last"):
        read.problem("depthwise", dtype=dtype, layout="NCHW")


def test_defaults_are_a_plain_convolution(tmp_path: Path) -> None:
    (read,) = read_layers(write(tmp_path, [SMALLEST]))
    assert read == Layer(c=4, h=5, w=6, k=3)
    assert str(read.problem("depthwise", epilogue="network")) == "depthwise c4 h5 w6 k3 bias"


def test_layers_without_a_pointwise_convolution_pose_no_separable_problem() -> None:
    alone, followed = Layer(c=4, h=5, w=6, k=3), Layer(c=4, h=5, w=6, k=3, pointwise_out=8)
    assert list(problems([alone, followed], "separable")) == [parse("separable c4 o8 h5 w6 k3")]
    with pytest.raises(SpecError, match="at least one layer poses a separable problem"):
        problems([alone], "separable")
    for op in ("separable", "inverted"):
        with pytest.raises(SpecError, match=f"poses what it is part of; got {op}"):
            alone.problem(op)


@pytest.mark.parametrize(
    ("keys", "posed"),
    [
        ({"prev_pointwise_in": 2, "pointwise_out": 2}, "inverted c2 e4 o2 h5 w6 k3"),
        (
            {"prev_pointwise_in": 2, "pointwise_out": 2, "pad": 1},
            "inverted c2 e4 o2 h5 w6 k3 p1 residual",
        ),
        (
            {"prev_pointwise_in": 2, "pointwise_out": 2, "pad": 1, "stride": 2},
            "inverted c2 e4 o2 h5 w6 k3 s2 p1",
        ),
        (
            {"prev_pointwise_in": 2, "pointwise_out": 3, "pad": 1},
            "inverted c2 e4 o3 h5 w6 k3 p1",
        ),
        (
            {"pointwise_out": 4, "pad": 1, "block": "inverted"},
            "inverted c4 o4 h5 w6 k3 p1 residual",
        ),
        ({"pointwise_out": 4}, None),
        ({"prev_pointwise_in": 2}, None),
        ({"prev_pointwise_in": 2, "pointwise_out": 2, "block": "separable"}, None),
    ],
)
def test_what_stands_round_a_layer_poses_an_inverted_residual(
    keys: dict[str, Any], posed: str | None
) -> None:
    layer = Layer(**SMALLEST, **keys)
    assert layer.poses("inverted") == (posed is not None)
    if posed is not None:
        assert str(layer.problem("inverted")) == posed


def test_the_epilogue_of_a_network_stands_where_the_network_has_it() -> None:
    def texts(name: str, op: Op) -> list[str]:
        return [str(spec) for spec in problems(workload(name), op, epilogue="network")]

    assert texts("mobilenet_v1", "separable")[0] == "separable c32 o64 hw112 k3 p1 bias relu6/relu6"
    assert texts("mobilenet_v2", "separable")[0] == "separable c32 o16 hw112 k3 p1 bias relu6/none"
    assert texts("mobilenet_v2", "inverted")[:3] == [
        "inverted c32 o16 hw112 k3 p1 bias relu6",
        "inverted c16 e96 o24 hw112 k3 s2 p1 bias relu6",
        "inverted c24 e144 o24 hw56 k3 p1 bias relu6 residual",
    ]
    assert texts("efficientnet_b0", "inverted")[3] == (
        "inverted c24 e144 o40 hw56 k5 s2 p2 bias silu"
    )


def test_the_blocks_are_those_of_three_networks_and_the_seed_sizes() -> None:
    layers = workload("blocks")
    networks = ("mobilenet_v1", "mobilenet_v2", "efficientnet_b0")
    assert layers == [layer for name in ("seeds", *networks) for layer in workload(name)]
    inverted = problems(layers, "inverted", epilogue="network")
    assert set(inverted) == {
        spec
        for name in ("mobilenet_v2", "efficientnet_b0")
        for spec in problems(workload(name), "inverted", epilogue="network")
    }
    separable = problems(layers, "separable", epilogue="network")
    assert (len(separable), len(inverted)) == (39, 24)
    for spec in problems(workload("seeds"), "separable"):
        assert spec.project.out_channels == 2 * spec.depthwise.channels


SEQUENCE = {"c": 6, "h": 1, "w": 9, "k": [1, 4], "pad": [[0, 0], [3, 0]]}


def test_sequences_that_read_nothing_ahead_pose_causal_problems() -> None:
    layer = Layer(**SEQUENCE, bias=True, activation="silu", state=5, batch=3)
    assert str(layer.problem("causal")) == "causal n3 c6 l9 k4 state5"
    assert str(layer.problem("causal", epilogue="network", layout="NHWC", batch=2)) == (
        "causal n6 c6 l9 k4 nlc bias silu state5"
    )
    folded = Layer(**SEQUENCE, activation="silu")
    assert str(folded.problem("causal", epilogue="network")) == "causal c6 l9 k4 silu"
    far = Layer(**{**SEQUENCE, "dilation": [1, 2], "pad": [[0, 0], [6, 0]]})
    assert str(far.problem("causal", dtype="float64")) == "causal c6 l9 k4 d2 float64"


@pytest.mark.parametrize(
    "spoilt",
    [
        {"h": 2}, {"pad": [[0, 0], [3, 1]]}, {"pad": [[0, 0], [2, 0]]}, {"dilation": [1, 2]},
        {"stride": [1, 2]}, {"multiplier": 2}, {"k": [2, 4], "pad": [[1, 0], [3, 0]]},
    ],
)  # fmt: skip
def test_others_pose_none(spoilt: dict[str, Any]) -> None:
    layer = Layer(**SEQUENCE | spoilt)
    assert not layer.poses("causal")
    with pytest.raises(SpecError, match="a layer poses what it is part of; got causal"):
        layer.problem("causal")


def test_layers_of_sequences_are_whole_steps_and_chunks() -> None:
    posed = problems(workload("causal"), "causal", epilogue="network")
    assert len(posed) == 27
    titles = posed[parse("causal c8192 l1024 k4 bias silu")]
    assert titles == "falcon_mamba_7b conv1d, jamba conv1d"
    for spec in map(str, posed):
        assert ("state" in spec) == (" l1 " in spec or spec.split()[2] in ("l16", "l64", "l256"))


@pytest.mark.parametrize("op", get_args(PassKind))
def test_every_layer_poses_each_pass_of_training(op: Op) -> None:
    layer = Layer(**SMALLEST, pad=1, stride=2, multiplier=2, activation="relu")
    assert str(layer.problem(op, batch=8, layout="NHWC")) == (
        f"{op} depthwise n8 c4 h5 w6 k3 s2 p1 m2 nhwc"
    )


def test_a_pass_has_the_bias_of_the_layer_and_none_of_a_folded_normalisation() -> None:
    folded, own = Layer(**SMALLEST, activation="relu"), Layer(**SMALLEST, bias=True)
    texts = [str(layer.problem("training", epilogue="network")) for layer in (folded, own)]
    assert texts == ["training depthwise c4 h5 w6 k3", "training depthwise c4 h5 w6 k3 bias"]


def test_training_is_that_of_three_networks() -> None:
    networks = ("mobilenet_v2", "efficientnet_b0", "convnext_tiny")
    assert workload("training") == [layer for name in networks for layer in workload(name)]
    assert len(problems(workload("training"), "training", batch=8)) == 23


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ({}, "a list of at least one object; got dict"),
        ([], "a list of at least one object; got an empty list"),
        ([3], "a layer is an object; got 3: .*layers.json, layer 0"),
        ([SMALLEST, {"c": 4, "k": 3}], "got no h, w: .*layers.json, layer 1"),
        ([SMALLEST | {"c": "4"}], "whole number; got '4'.*layer 0"),
        ([SMALLEST | {"k": 9}], "dilated kernel fits.*got dilated kernel 9, .*layer 0"),
        ([SMALLEST | {"pad": [1, 2, 3]}], r"padding is one number or two; got \(1, 2, 3\)"),
        ([SMALLEST | {"multiplier": 0}], "at least 1; got o=0"),
        ([SMALLEST | {"batch": 0}], "batch is at least 1, and state no less than 0; got 0, 0"),
        ([SMALLEST | {"state": -1}], "batch is at least 1, and state no less than 0; got 1, -1"),
        ([SEQUENCE | {"state": 2}], r"d \* \(k - 1\) = 3, or more; got 2: causal.*layer 0"),
        ([SMALLEST | {"pointwise_out": 0}], "pointwise_out is at least 1, or null; got 0"),
        ([SMALLEST | {"activation": "relu7"}], "activation is .*got 'relu7'"),
        ([SMALLEST | {"name": "\ud800"}], r"name is printable text; got '\\ud800'.*layer 0"),
        ([SMALLEST | {"model": 3}], "model is printable text; got 3"),
        ([SMALLEST | {"block": "dense"}], "block is .*got 'dense'"),
        ([SMALLEST | {"block": "inverted"}], "a block has a pointwise_out; got null"),
        (
            [SMALLEST | {"block": "inverted", "pointwise_out": 3, "pointwise_activation": "relu"}],
            "the projection of an inverted residual is linear; got pointwise_activation 'relu'",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_rule_values_and_place(
    tmp_path: Path, content: Any, rule: str
) -> None:
    with pytest.raises(LayerFileError, match=rule):
        read_layers(write(tmp_path, content))


def test_no_file_and_no_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LayerFileError, match=r"No such file.*missing.json"):
        read_layers(tmp_path / "missing.json")
    (tmp_path / "text.json").write_text("c, h, w")
    with pytest.raises(LayerFileError, match="readable JSON; got Expecting value"):
        read_layers(tmp_path / "text.json")
    (tmp_path / "deep.json").write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(LayerFileError, match="readable JSON; got maximum recursion depth"):
        read_layers(tmp_path / "deep.json")


def test_an_unknown_workload_is_refused_with_those_there_are() -> None:
    with pytest.raises(LayerFileError, match=r"mobilenet_v2, .*got 'mobilenet_v9'"):
        workload("mobilenet_v9")


def test_a_key_that_is_not_read_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, [SMALLEST | {"padding": 1}])
    with pytest.warns(UserWarning, match="these keys are not read: padding"):
        read_layers(file)
