"""Quantized networks of ONNX: computed with whole numbers, as ONNX Runtime computes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import depthwise as dw
from depthwise.network.steps import Call, Stage
from quantized_networks import FORMS, NETWORKS, images, quantized


def expected(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """Return what ONNX Runtime computes node by node: with each rounding that the file has."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    (result,) = session.run(None, {"x": x})
    return result


def kinds(net: dw.Network) -> list[str]:
    return [step.work.spec.kind for step in net.program.steps if isinstance(step.work, Stage)]


def called(net: dw.Network) -> str:
    """Return what is left to ONNX Runtime."""
    return " ".join(step.work.title for step in net.program.steps if isinstance(step.work, Call))


def check(model: onnx.ModelProto, units: int = 1) -> dw.Network:
    """Hold a network against ONNX Runtime: units of the last rounding may differ."""
    net = dw.load(model)
    for x in images(2, seed=5):
        right = expected(model, x)
        steps = np.unique(np.diff(np.unique(right)))
        unit = steps[steps > 1e-6 * np.abs(right).max()].min(initial=np.inf)
        assert np.abs(net(x) - right).max() <= 1.001 * units * unit
    return net


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_compute_what_onnx_runtime_does(name: str, form: str) -> None:
    net = check(quantized(name, form))
    assert net.program.is_quantized


@pytest.mark.parametrize("name", ["relu6", "hardswish"])
def test_nothing_is_left_of_a_mobile_network(name: str) -> None:
    net = check(quantized(name))
    assert called(net) == ""
    convolutions = ["conv", "depthwise", "pointwise", "depthwise", "pointwise"]
    assert kinds(net) == ["quantize", *convolutions, "qmean", "pointwise", "dequantize"]
    assert ("table" in str(net.program.stages()[1].spec)) == (name == "hardswish")


def test_a_sum_is_part_of_the_convolution_before_it() -> None:
    net = check(quantized("residual"))
    assert [str(each.spec).endswith("residual") for each in net.program.stages()].count(True) == 1
    assert "QuantizeLinear" not in called(net).replace("Softmax, QuantizeLinear", "")


def test_squeeze_and_excite_stays_whole_numbers() -> None:
    net = check(quantized("gated"))
    assert kinds(net).count("qmean") == 2
    assert "qmul" in kinds(net)
    assert called(net) == ""


@pytest.mark.parametrize("name", ["relu", "residual"])
def test_numbers_with_a_sign_and_one_scale_for_all_weights(name: str) -> None:
    check(quantized(name, activations="int8", per_channel=False))


def test_activations_of_real_numbers_are_computed_with_them() -> None:
    net = check(quantized("hardswish", "fused"))
    assert called(net) == ""
    assert kinds(net)[:4] == ["quantize", "conv", "elementwise", "quantize"]
    assert str(net.program.stages()[1].spec).endswith("uint8 bias real")


def test_weights_with_a_zero_point_lose_it() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(quantized("relu6"))
    for tensor in model.graph.initializer:
        if tensor.name.endswith("_quantized") and tensor.data_type == onnx.TensorProto.INT8:
            array = numpy_helper.to_array(tensor).astype(np.int32)
            tensor.CopyFrom(numpy_helper.from_array((array + 128).astype(np.uint8), tensor.name))
            zero = tensor.name.replace("_quantized", "_zero_point")
            place = next(each for each in model.graph.initializer if each.name == zero)
            zeros = np.full(numpy_helper.to_array(place).shape, 128, np.uint8)
            place.CopyFrom(numpy_helper.from_array(zeros, zero))
    assert called(check(model)) == ""


def test_a_bias_of_another_scale_than_the_sums_is_brought_to_theirs() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(quantized("relu6"))
    scales = [each for each in model.graph.initializer if each.name.endswith("quantized_scale")]
    for tensor in scales:
        doubled = 2 * numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(doubled, tensor.name))
    assert scales
    check(model)


def test_saved_networks_give_the_same_numbers(tmp_path: Path) -> None:
    net = dw.load(quantized("gated"))
    net.save(tmp_path / "net.dw")
    (x,) = images()
    np.testing.assert_array_equal(dw.load(tmp_path / "net.dw")(x), net(x))


def test_threads_and_batches_give_the_same_numbers() -> None:
    model, (x,) = quantized("residual"), images()
    first = dw.load(model, threads=1)(x)
    np.testing.assert_array_equal(dw.load(model, threads=2)(x), first)
