"""`dw.quantize`: what is quantized and in which form, what is left in float, and its report."""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import depthwise as dw
from depthwise.errors import ArrayError, DepthwiseError, ModelError, SpecError
from depthwise.onnx.quantizable import layers
from depthwise.onnx.quantizer import prepared
from depthwise.onnx.tolerance import left_in_float
from onnx_models import assert_close, by_runtime, called, model, node, noise, port
from quantized_networks import NETWORKS, SHAPE, images, quantized

FUNCTIONS = {"Relu", "Clip", "HardSwish", "Sigmoid", "HardSigmoid", "Mul", "Add", "Div"}
DATA = np.concatenate(images(4, seed=2))
every_network = pytest.mark.parametrize("name", NETWORKS)


def quantize(name_or_model, data=DATA, **options):
    source = NETWORKS[name_or_model]() if isinstance(name_or_model, str) else name_or_model
    return dw.quantize(source, data, **{"threads": 1, "calibration": "minmax", **options})


@cache
def plainly(name):
    """Return a network quantized without options."""
    return quantize(name)


def attribute(each, name):
    return next((a.i for a in each.attribute if a.name == name), 0)


class Graph:
    """The nodes of a model by what they make and take."""

    def __init__(self, made):
        self.nodes = list(made.graph.node)
        self.arrays = {each.name: numpy_helper.to_array(each) for each in made.graph.initializer}
        self.maker = {output: each for each in self.nodes for output in each.output}

    def users(self, name):
        return [each for each in self.nodes if name in each.input]

    def of(self, *operators):
        return [each for each in self.nodes if each.op_type in operators]

    def given(self, name):
        """Return the quantized array, the scale and the zero point of a dequantized constant."""
        return tuple(self.arrays[each] for each in self.maker[name].input)


@every_network
def test_weights_are_int8_for_each_output_and_biases_int32(name):
    graph = Graph(plainly(name).model)
    for each in graph.of("Conv", "Gemm", "MatMul"):
        assert graph.maker[each.input[0]].op_type == "DequantizeLinear"
        weight, scale, zero = graph.given(each.input[1])
        axis = 0 if each.op_type == "Conv" or attribute(each, "transB") else 1
        assert weight.dtype == np.int8
        assert abs(weight.astype(int)).max() == 127
        assert scale.shape == (weight.shape[axis],)
        assert not zero.any()
        if len(each.input) > 2:
            bias, scale_of_bias, zero = graph.given(each.input[2])
            assert bias.dtype == np.int32
            into = graph.arrays[graph.maker[each.input[0]].input[1]]
            np.testing.assert_allclose(scale_of_bias, into * scale, rtol=1e-6)
            assert not zero.any()


@every_network
def test_nothing_is_quantized_between_a_layer_and_its_activation_if_they_are_fused(name):
    graph = Graph(quantize(name, fused=True).model)
    for each in graph.of("QuantizeLinear"):
        (second,) = graph.users(each.output[0])
        takers = graph.users(second.output[0])
        assert takers
        assert any(taker.op_type not in FUNCTIONS - {"Add", "Mul"} for taker in takers)
        scale, zero = (graph.arrays[name] for name in each.input[1:])
        assert scale.shape == zero.shape == ()
        assert zero.dtype == np.uint8
    for each in graph.of("Relu", "Clip", "HardSwish", "Sigmoid"):
        assert graph.maker[each.input[0]].op_type in ("Conv", "Gemm", "MatMul", "Add")


def test_what_activations_take_that_do_not_clamp_is_quantized():
    graph = Graph(plainly("hardswish").model)
    for each in graph.of("Conv"):
        assert {user.op_type for user in graph.users(each.output[0])} == {"QuantizeLinear"}
    graph = Graph(plainly("relu6").model)
    for each in graph.of("Conv"):
        assert {user.op_type for user in graph.users(each.output[0])} == {"Clip"}


def test_what_joins_and_pools_is_quantized():
    for name, operators in {"branches": ("Concat", "MaxPool", "AveragePool"), "residual": ("Add",),
                            "gated": ("GlobalAveragePool",)}.items():  # fmt: skip
        graph = Graph(plainly(name).model)
        found = graph.of(*operators)
        assert {each.op_type for each in found} == set(operators)
        assert all(is_whole(graph, each) for each in found)


def test_gates_are_quantized_and_products_with_a_function_of_the_same_are_not():
    graph = Graph(plainly("gated").model)
    assert [is_whole(graph, each) for each in graph.of("Mul")].count(True) == 1
    graph = Graph(plainly("silu").model)
    assert not any(is_whole(graph, each) for each in graph.of("Mul"))


def is_whole(graph, each):
    """Whether all that a node takes and makes is quantized."""
    makers = {graph.maker[name].op_type for name in each.input}
    users = {user.op_type for user in graph.users(each.output[0])}
    return makers == {"DequantizeLinear"} and users == {"QuantizeLinear"}


def test_results_are_float_where_no_layer_takes_them():
    for name in ("relu", "residual"):
        made = plainly(name).model
        graph = Graph(made)
        maker = graph.maker[made.graph.output[0].name]
        assert maker.op_type in ("Gemm", "Softmax")
        assert maker.op_type == "Gemm" or graph.maker[maker.input[0]].op_type == "Gemm"


@every_network
def test_quantized_networks_are_near_those_of_float32(name):
    made, (given,) = plainly(name).model, images()
    onnx.checker.check_model(made, full_check=True)
    (result,), (exact,) = by_runtime(made, [given]), by_runtime(NETWORKS[name](), [given])
    error = np.linalg.norm(result - exact) / np.linalg.norm(exact)
    assert 0 < error < 0.04
    (usual,) = by_runtime(quantized(name), [given])
    assert error < 1.2 * np.linalg.norm(usual - exact) / np.linalg.norm(exact) + 0.002


def test_quantized_networks_are_loaded():
    made, (given,) = plainly("residual").model, images()
    assert_close(called(dw.load(made), given), by_runtime(made, [given]))


def test_a_written_out_activation_is_one():
    nodes = [
        node("Conv", "x w", "a", name="first"),
        node("Add", "a three", "b"), node("Clip", "b zero six", "c"),
        node("Mul", "a c", "d"), node("Div", "d six", "e"),
        node("Conv", "e v", "y", name="second"),
    ]  # fmt: skip
    arrays = {"w": noise(6, 3, 1, 1), "v": noise(4, 6, 1, 1)}
    arrays |= {"zero": np.float32(0), "three": np.float32(3), "six": np.float32(6)}
    made = quantize(model(nodes, [port("x", ("n", 3, 20, 20))], ["y"], arrays), fused=True).model
    graph = Graph(made)
    assert Counter(each.op_type for each in graph.nodes)["QuantizeLinear"] == 2
    for each in graph.of("Add", "Clip", "Mul", "Div"):
        makers = {graph.maker[name].op_type for name in each.input if name in graph.maker}
        assert makers <= {"Conv", "Add", "Clip", "Mul"}


def test_batch_norms_are_folded():
    nodes = [node("Conv", "x w", "a"), node("BatchNormalization", "a s b m v", "y")]
    arrays = {"w": noise(6, 3, 1, 1), "s": noise(6), "b": noise(6), "m": noise(6)}
    arrays["v"] = noise(6) ** 2 + 1
    made = quantize(model(nodes, [port("x", ("n", 3, 20, 20))], ["y"], arrays))
    assert [each.op_type for each in made.model.graph.node if each.op_type[0] not in "DQ"] == [
        "Conv"
    ]
    assert made.report.accuracy.error < 0.03


def test_means_of_norms_are_left_in_float():
    """The mean over channels is of a norm that is written out; that of all pixels is a pool."""
    for axes, whole in (([1], False), ([2, 3], True)):
        nodes = [
            node("Conv", "x w", "a"), node("ReduceMean", "a", "m", axes=axes),
            node("Sub", "a m", "b"), node("Conv", "b v", "y"),
        ]  # fmt: skip
        arrays = {"w": noise(6, 3, 1, 1), "v": noise(4, 6, 1, 1)}
        made = quantize(model(nodes, [port("x", ("n", 3, 20, 20))], ["y"], arrays)).model
        graph = Graph(made)
        (mean,) = graph.of("ReduceMean")
        assert (
            [user.op_type for user in graph.users(mean.output[0])] == ["QuantizeLinear"]
        ) == whole


def test_the_report_has_each_layer_and_what_the_whole_costs():
    wanted = by_runtime(NETWORKS["residual"](), [images()[0]])[0].argmax(1)
    made = quantize("residual", test=images()[0], labels=[wanted[0], (wanted[1] + 1) % 10])
    report = made.report
    assert [row.kind for row in report.layers] == [
        "conv 3x3", "pointwise", "depthwise 3x3", "pointwise", "pointwise", "depthwise 3x3",
        "pointwise", "linear",
    ]  # fmt: skip
    assert all(row.dtype == "int8" and 0 < row.error < 0.1 for row in report.layers)
    found, exact = (by_runtime(m, images())[0] for m in (made.model, NETWORKS["residual"]()))
    error = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    assert report.accuracy.error == pytest.approx(error, rel=1e-3)
    assert report.accuracy.agreement == np.mean(found.argmax(1) == wanted)
    assert report.accuracy.correct_before == 0.5
    assert report.accuracy.images == 2
    assert report.bytes_after == made.model.ByteSize()
    assert report.bytes_before == NETWORKS["residual"]().ByteSize()
    assert "8 of 8 layers are computed with whole numbers" in str(report)
    assert "the float network on 50.0%" in str(report)
    assert report.as_dict()["layers"][0]["kind"] == "conv 3x3"
    assert "<table>" in report._repr_html_()


def test_the_error_of_a_layer_is_that_of_the_results_when_it_alone_is_quantized():
    made = quantize("relu", keep_float=[layer_names("relu")[0], *layer_names("relu")[2:]])
    assert [row.dtype for row in made.report.layers].count("int8") == 1
    assert made.report.layers[1].error == pytest.approx(made.report.accuracy.error, rel=1e-4)


def layer_names(name):
    return [each.name for each in layers(prepared(NETWORKS[name]()))]


def test_layers_are_left_in_float_by_name_or_pattern():
    names = layer_names("relu")
    made = quantize("relu", keep_float=[names[1], "gemm*"])
    assert [row.dtype for row in made.report.layers] == [
        "float32" if row.name in (names[1], names[-1]) else "int8" for row in made.report.layers
    ]
    graph = Graph(made.model)
    kept = [each for each in graph.of("Conv", "Gemm") if each.input[1] in graph.arrays]
    assert [each.name for each in kept] == [names[1], names[-1]]
    assert all(graph.arrays[each.input[1]].dtype == np.float32 for each in kept)
    assert f"4 of 6 layers are computed with whole numbers; left in float: {names[1]}" in str(
        made.report
    )


def test_layers_that_cost_most_are_left_in_float_for_a_tolerance():
    free = plainly("relu").report
    half = quantize("relu", tolerance=free.accuracy.error * 0.6).report
    assert half.accuracy.error <= free.accuracy.error * 0.6
    left = [row for row in half.layers if row.dtype == "float32"]
    others = [row for row in half.layers if row.dtype == "int8"]
    assert left
    assert min(row.error for row in left) >= max(row.error for row in others)
    assert quantize("relu", tolerance=0.5).report.layers == free.layers


def test_the_fewest_layers_are_left_in_float():
    costs = {f"layer{number}": float(number) for number in range(10)}
    tried = []

    def error(names):
        tried.append(len(names))
        return sum(cost for name, cost in costs.items() if name not in names)

    assert left_in_float(costs, 45.0, error) == []
    assert tried == [0]
    assert left_in_float(costs, 20.0, error) == ["layer9", "layer8", "layer7", "layer6"]
    assert left_in_float(costs, 0.5, error) == [f"layer{n}" for n in range(9, 0, -1)]
    with pytest.raises(ModelError, match=r"with one quantized layer of 10 the relative error"):
        left_in_float(costs, -1.0, error)


def test_weights_are_cut_to_7_bits_where_asked_for():
    graph = Graph(quantize("relu", reduce_range=True).model)
    found = [graph.given(each.input[1])[0] for each in graph.of("Conv", "Gemm")]
    assert max(abs(each.astype(int)).max() for each in found) == 64


def test_ranges_are_those_of_the_data_and_leave_out_what_is_rare():
    data = np.concatenate(images(100))
    data[0, 0, 0, 0] = 100
    nodes = [node("Conv", "x w", "y")]
    small = model(nodes, [port("x", ("n", 3, 20, 20))], ["y"], {"w": noise(6, 3, 1, 1)})
    scales = {}
    for how in ("minmax", "percentile", "entropy"):
        graph = Graph(quantize(small, data, calibration=how).model)
        (first,) = graph.of("QuantizeLinear")
        scales[how] = float(graph.arrays[first.input[1]])
    assert scales["minmax"] == pytest.approx((100 - data.min()) / 255)
    assert 7 / 255 < scales["percentile"] < 15 / 255
    assert scales["entropy"] <= 1.001 * scales["minmax"]


def test_networks_that_take_one_image_at_once_are_given_one():
    nodes = [node("Conv", "x w", "y")]
    small = model(nodes, [port("x", (2, 3, 20, 20))], ["y"], {"w": noise(6, 3, 1, 1)})
    calls = []
    made = quantize(small, DATA, step=calls.append)
    assert made.report.accuracy.images == len(DATA) == 8
    assert calls[1:5] == [f"calibrate: image {number} of 8" for number in (1, 3, 5, 7)]
    assert made.report.layer_images == 8
    assert made.report.accuracy.agreement is None
    with pytest.raises(ArrayError, match=r"takes 2 images at once, data a multiple; got 7"):
        quantize(small, DATA[:7])


def test_networks_of_several_inputs():
    nodes = [node("Conv", "x w", "a"), node("Conv", "z v", "b"), node("Add", "a b", "y")]
    inputs = [port("x", ("n", 3, 20, 20)), port("z", ("n", 2, 20, 20))]
    two = model(nodes, inputs, ["y"], {"w": noise(6, 3, 1, 1), "v": noise(6, 2, 1, 1)})
    data = {"z": noise(8, 2, 20, 20), "x": DATA}
    assert quantize(two, data).report.accuracy.error < 0.03
    with pytest.raises(ArrayError, match=r"an array for each input, which are x .*; got x"):
        quantize(two, {"x": DATA})
    with pytest.raises(ArrayError, match="there are as many images of each input"):
        quantize(two, {**data, "z": data["z"][:7]})


def without(array, value, place=(3, 0, 0, 0)):
    changed = array.copy()
    changed[place] = value
    return changed


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "an array for each input.*; got none"),
        (DATA.transpose(0, 2, 3, 1), r"shape of the input x \(2, 3, 20, 20\) float32, images "
         r"first; got \(8, 20, 20, 3\)"),
        (DATA[0], r"got \(3, 20, 20\)"),
        (DATA.astype(np.float64), r"array.astype\('float32'\)"),
        (DATA[:0], "one image at least"),
        (np.ones_like(DATA), "not all one colour; got 1.0 everywhere"),
        (without(DATA, np.nan), "data are finite; got 1 of 9600 numbers .* in image 3"),
        (without(DATA, np.inf), "data are finite"),
        ("nothing.npz", "there is no nothing.npz"),
    ],
)  # fmt: skip
def test_data_that_do_not_fit_are_refused(data, words):
    with pytest.raises(DepthwiseError, match=words):
        quantize("relu", data)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([1, 2], r"for each of 8 images, \(8,\); got \(2,\)"),
        (np.ones(8), r"got \(8,\) float64"),
        ([10] * 8, "classes of the network, 0 to 9; got 10 to 10"),
        ([-1] * 8, "classes of the network, 0 to 9"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, words):
    with pytest.raises(ArrayError, match=words):
        quantize("relu", labels=labels)


def test_labels_are_for_networks_of_classes():
    nodes = [node("Conv", "x w", "y")]
    whole = model(nodes, [port("x", ("n", 3, 20, 20))], ["y"], {"w": noise(6, 3, 1, 1)})
    with pytest.raises(ArrayError, match=r"first output is \(N, classes\); got \(8, 6, 20, 20\)"):
        quantize(whole, labels=[0] * 8)


def test_models_without_anything_to_quantize_are_refused():
    plain = model([node("Relu", "x", "y")], [port("x", SHAPE)], ["y"])
    with pytest.raises(ModelError, match=r"products with given weights .* got none"):
        quantize(plain)


@pytest.mark.parametrize("form", ["qdq", "qoperator"])
def test_models_that_are_quantized_already_are_refused(form):
    with pytest.raises(ModelError, match=r"quantized already: it has .*QuantizeLinear"):
        quantize(quantized("relu", form))


def test_options_that_there_are_not_are_refused():
    with pytest.raises(SpecError, match=r"calibration is one of minmax, entropy, percentile"):
        quantize("relu", calibration="mean")
    with pytest.raises(SpecError, match=r"tolerance is a relative error above 0; got 0"):
        quantize("relu", tolerance=0)
    with pytest.raises(ModelError, match=r"got 'conv99' .did you mean 'conv"):
        quantize("relu", keep_float=["conv99"])
    with pytest.raises(ModelError, match=r"some layer is quantized; got all 6"):
        quantize("relu", keep_float=["*"])
    with pytest.raises(SpecError, match=r"threads"):
        dw.quantize(NETWORKS["relu"](), DATA, threads=-1)


def test_results_that_are_not_finite_are_refused():
    nodes = [node("Conv", "x w", "a"), node("Log", "a", "y")]
    bad = model(nodes, [port("x", ("n", 3, 20, 20))], ["y"], {"w": noise(6, 3, 1, 1)})
    with pytest.raises(ModelError, match=r"finite; got others in 'y'"):
        quantize(bad)


def test_without_onnxruntime_the_error_says_what_installs_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ModelError, match=r"not installed: pip install '.\[onnx\]'"):
        quantize("relu")
