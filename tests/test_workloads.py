"""Layer files: what they say, and what is said about those that are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from depthwise.bench.layers import Layer, problems, read_layers, workload, workload_names
from depthwise.errors import LayerFileError, SpecError
from depthwise.parse import parse

SMALLEST = {"c": 4, "h": 5, "w": 6, "k": 3}


def write(folder: Path, content: object) -> Path:
    file = folder / "layers.json"
    file.write_text(json.dumps(content))
    return file


def test_the_networks_and_the_seeds_are_there() -> None:
    assert {name: len(workload(name)) for name in workload_names()} == {
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
        "xception": 34,
    }


def test_the_seed_sizes() -> None:
    assert [str(spec) for spec in problems(workload("seeds"), "depthwise")] == [
        *(f"depthwise c{c} hw64 k3 p1" for c in (16, 32, 64, 128, 256)),
        "depthwise c256 hw12 k3 p1",
    ]


@pytest.mark.parametrize("name", workload_names())
def test_every_workload_poses_problems_that_read_back(name: str) -> None:
    for spec in problems(workload(name), "depthwise", epilogue="network", layout="NHWC", batch=2):
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
        "bias": True, "activation": "silu", "model": "m", "name": "n",
    }  # fmt: skip
    (read,) = read_layers(write(tmp_path, [layer]))
    assert read.title == "m n"
    assert str(read.problem("depthwise")) == "depthwise c8 h20 w30 k5x3 s2x1 p1,0,2,3 d1x2 m2"
    assert read.problem("separable", epilogue="network", dtype="float64", layout="NHWC") == parse(
        "separable c8 o12 h20 w30 k5x3 s2x1 p1,0,2,3 d1x2 m2 nhwc float64 bias silu/none"
    )


def test_defaults_are_a_plain_convolution(tmp_path: Path) -> None:
    (read,) = read_layers(write(tmp_path, [SMALLEST]))
    assert read == Layer(c=4, h=5, w=6, k=3)
    assert str(read.problem("depthwise", epilogue="network")) == "depthwise c4 h5 w6 k3 bias"


def test_layers_without_a_pointwise_convolution_pose_no_separable_problem() -> None:
    alone, followed = Layer(c=4, h=5, w=6, k=3), Layer(c=4, h=5, w=6, k=3, pointwise_out=8)
    assert list(problems([alone, followed], "separable")) == [parse("separable c4 o8 h5 w6 k3")]
    with pytest.raises(SpecError, match="at least one layer poses a separable problem"):
        problems([alone], "separable")
    with pytest.raises(SpecError, match="has a pointwise_out; got null"):
        alone.problem("separable")


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
        ([SMALLEST | {"pointwise_out": 0}], "pointwise_out is at least 1, or null; got 0"),
        ([SMALLEST | {"activation": "relu7"}], "activation is .*got 'relu7'"),
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


def test_an_unknown_workload_is_refused_with_those_there_are() -> None:
    with pytest.raises(LayerFileError, match=r"mobilenet_v2, .*got 'mobilenet_v9'"):
        workload("mobilenet_v9")


def test_a_key_that_is_not_read_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, [SMALLEST | {"padding": 1}])
    with pytest.warns(UserWarning, match="these keys are not read: padding"):
        read_layers(file)
