"""The report of a network: what became of every node of its file."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from onnx import numpy_helper

import depthwise as dw
from depthwise.network import report
from depthwise.network.report import Measured, Part, Report
from onnx_models import checked, model, node, noise, port, untold

IMAGE = noise(1, 8, 6, 6)
CONSTANTS = {
    "w": noise(8, 1, 3, 3), "p": noise(8, 8, 1, 1), "q": noise(8, 8, 3, 3), "b": noise(8),
    "one": np.float32(1),
}  # fmt: skip


def named(operator, name, inputs, outputs, **attributes):
    return node(operator, inputs, outputs, name=name, **attributes)


@pytest.fixture
def many():
    """Return a model with nodes of which each becomes something else."""
    norm = ["s", "t", "m", "v"]
    given = {name: np.abs(noise(8)) for name in norm}
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        named("Constant", "constant", "", "k", value=numpy_helper.from_array(noise(8, 1, 1), "k")),
        named("Add", "folded", "k one", "k1"),
        named("Conv", "conv", "x w", "c0", group=8, **pads),
        named("BatchNormalization", "norm", f"c0 {' '.join(norm)}", "c1"),
        named("Relu", "relu", "c1", "c2"),
        named("Identity", "identity", "c2", "c3"),
        named("Transpose", "unused", "c2", "nobody"),
        named("Conv", "left", "c3 q b", "l", **pads),
        named("Conv", "right", "c3 p", "r"),
        named("Add", "sum", "l r", "a"),
        named("Add", "shifted", "a k1", "a1"),
        named("Split", "split", "a1", "u d", axis=1),
        named("Concat", "swapped", "d u", "e", axis=1),
        named("LpPool", "pool", "e", "f", kernel_shape=[2, 2]),
        named("Conv", "last", "f p", "y"),
    ]
    return model(nodes, [port("x", IMAGE.shape)], ["y", "c3"], CONSTANTS | given)


def test_every_node_is_part_of_something_or_dropped_for_a_reason(many):
    network = checked(many, IMAGE)
    said = json.loads(json.dumps(network.report.as_dict()))
    covers = [part["covers"] for part in said["parts"]]
    assert ["conv", "norm", "relu"] in covers
    assert ["left", "right", "sum", "shifted"] in [sorted_by(many, names) for names in covers]
    assert ["split", "swapped"] in covers
    assert ["pool"] in covers
    dropped = {each["why"]: each["nodes"] for each in said["dropped"]}
    assert dropped == {
        "the same in each call: computed once": ["constant", "folded"],
        "nobody takes what it makes": ["unused"],
        "it changes nothing": ["identity"],
    }
    assert "dropped: 1 node (it changes nothing)" in str(network)
    assert "dropped: 2 nodes (the same in each call: computed once)" in str(network)


def sorted_by(made, names):
    """Return names in the order of a model."""
    order = [each.name for each in made.graph.node]
    return sorted(names, key=order.index)


def test_a_saved_network_says_the_same(many, tmp_path):
    network = dw.load(many)
    network.save(tmp_path / "net.dw")
    again = dw.load(tmp_path / "net.dw")
    assert untold(many, again) == []
    assert again.report.as_dict() == network.report.as_dict()


def test_a_shuffle_of_channels_is_told_by_the_kernel_that_computes_it():
    nodes = [
        named("Conv", "first", "x p", "a"),
        named("Reshape", "apart", "a five", "a1"),
        named("Transpose", "swap", "a1", "a2", perm=[0, 2, 1, 3, 4]),
        named("Reshape", "back", "a2 four", "a3"),
        named("Conv", "second", "a3 p", "y"),
    ]
    shapes = {"five": np.array([1, 2, 4, 6, 6]), "four": np.array([1, 8, 6, 6])}
    network = checked(model(nodes, [port("x", IMAGE.shape)], ["y"], CONSTANTS | shapes), IMAGE)
    assert ("apart", "swap", "back") in [part.covers for part in network.report.parts]


def test_transpositions_that_nobody_needs_any_more_are_dropped():
    """Products of rows of pixels are those of the image, which is taken as it lies."""
    nodes = [
        named("Conv", "first", "x p", "a"),
        named("Reshape", "rows", "a three", "a1"),
        named("Transpose", "turned", "a1", "a2", perm=[0, 2, 1]),
        named("MatMul", "product", "a2 q", "a3"),
        named("Transpose", "back", "a3", "a4", perm=[0, 2, 1]),
        named("Reshape", "image", "a4 four", "a5"),
        named("Conv", "second", "a5 p", "y"),
    ]
    shapes = {"three": np.array([1, 8, 36]), "four": np.array([1, 8, 6, 6])}
    constants = {"p": CONSTANTS["p"], "q": noise(8, 8), **shapes}
    network = checked(model(nodes, [port("x", IMAGE.shape)], ["y"], constants), IMAGE)
    assert network.report.dropped == {"what it turns is taken as it lies": ("back",)}


def part(name, kind, us, **others):
    return Part(name=name, kind=kind, problem=name.title(), plan=None, us=us, **others)


def left(name, us, **others):
    return part(name, report.CALL, us, engine="onnxruntime", **others)


PARTS = (
    part("x", report.COPY, 20.0),
    part("conv", "pointwise", 500.0),
    left("resize", 50.0),
    left("sine", 200.0, reason="odd"),
    part("other", report.VIEW, 10.0),
    left("resize", 70.0),
)
MEASURED = Measured(
    total_us=1000.0, reference="ONNX Runtime", reference_us=1360.0, largest_difference=1e-7,
    tolerance=1e-4, conditions="1 thread",
)  # fmt: skip


def test_what_a_call_takes_outside_our_kernels_adds_up():
    outside = Report(parts=PARTS, measured=MEASURED).as_dict()["outside"]
    assert outside == {
        "total_us": 1000.0, "call_us": 320.0, "copy_us": 20.0, "view_us": 10.0,
        "between_us": 150.0, "us": 500.0, "share": 0.5, "at_best_us": 680.0,
    }  # fmt: skip
    assert Report(parts=PARTS).as_dict()["outside"] is None


def test_what_is_left_is_told_with_its_share_the_largest_first():
    first, *lines = Report(parts=PARTS, measured=MEASURED).notes()
    assert first == (
        "outside our kernels: 50.0% of a call (onnxruntime 32.0%, inputs to channels-last 2.0%, "
        "copies of views 1.0%, between the kernels 15.0%)"
    )
    assert lines[:3] == [
        "left to onnxruntime: Sine: 20.0% of a call: odd",
        "left to onnxruntime: Resize (2 times): 12.0% of a call: no kernel computes it",
        "without what is left, a call would take 680.0 us at best: 2.00 times as fast as ONNX "
        "Runtime",
    ]


def test_parts_that_take_longer_than_the_whole_by_rounding_leave_nothing_between():
    exact = Report(parts=(part("conv", "pointwise", 1000.0 + 1e-9),), measured=MEASURED)
    assert exact.outside.between_us == 0.0


def test_where_nothing_was_measured_what_is_left_stands_in_the_order_of_the_network():
    parts = tuple(replace(each, us=None) for each in PARTS)
    assert [*Report(parts=parts).notes()] == [
        "left to onnxruntime: Resize (2 times): no kernel computes it",
        "left to onnxruntime: Sine: odd",
    ]
