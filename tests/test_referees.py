"""Convolutions that others wrote down: the test cases of ONNX and of PyTorch.

A convolution over groups of channels is a sum of depthwise ones, one for each channel of a group.
So all of their cases in one and two dimensions apply, whether they are depthwise or not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
import pytest
import torch
from onnx import helper, numpy_helper
from onnx.backend.test.case import node as onnx_nodes
from onnx.backend.test.case.node import conv  # noqa: F401 (defines its cases)
from torch.nn import functional as F  # noqa: N812
from torch.testing._internal import common_nn

import depthwise as dw


def convolve(x, weight, bias, groups, **arguments):
    """Convolve (N, C, ...) with (O, C / groups, ...) by a depthwise convolution and a sum."""
    inner, taps = weight.shape[1], weight.shape[2:]
    channels, outer = groups * inner, weight.shape[0] // groups
    one_a_channel = weight.reshape(groups, outer, inner, *taps).swapaxes(1, 2)
    function = dw.depthwise_conv1d if len(taps) == 1 else dw.depthwise_conv2d
    depthwise = np.ascontiguousarray(one_a_channel).reshape(channels * outer, 1, *taps)
    if inner == 1:
        return function(x, depthwise, bias, **arguments)
    terms = function(x, depthwise, **arguments)
    space = terms.shape[-len(taps) :]
    y = terms.reshape(-1, groups, inner, outer, *space).sum(axis=2)
    y = y.reshape(*x.shape[: -len(space) - 1], weight.shape[0], *space)
    return y if bias is None else y + bias.reshape(-1, *[1] * len(taps))


ONNX_DATA = Path(onnx.backend.test.__file__).parent / "data"


def onnx_cases():
    """Yield (name, model, inputs, expected)."""
    for case in onnx_nodes._NodeTestCases:
        if case.model.graph.node[0].op_type == "Conv":
            (inputs, outputs), *_ = case.data_sets
            yield case.name, case.model, inputs, outputs[0]
    for model in sorted(ONNX_DATA.glob("pytorch-*/test_*[Cc]onv*/model.onnx")):
        folder = model.parent / "test_data_set_0"
        inputs, outputs = (
            [
                numpy_helper.to_array(onnx.load_tensor(path))
                for path in sorted(folder.glob(f"{kind}_*.pb"))
            ]
            for kind in ("input", "output")
        )
        yield model.parent.name, onnx.load(model), inputs, outputs[0]


def fitting_onnx_cases():
    for name, model, inputs, expected in onnx_cases():
        if [node.op_type for node in model.graph.node] == ["Conv"] and expected.ndim <= 4:
            yield pytest.param(model, inputs, expected, id=name)


def onnx_padding(attributes):
    if attributes.get("auto_pad", b"NOTSET") == b"SAME_LOWER":
        return "same"  # where the odd element goes does not matter: there is none
    pads = attributes.get("pads", [0] * 2 * len(attributes["kernel_shape"]))
    sides = list(zip(pads[: len(pads) // 2], pads[len(pads) // 2 :], strict=True))
    return sides if len(sides) == 2 else sides[0]


@pytest.mark.parametrize(("model", "inputs", "expected"), list(fitting_onnx_cases()))
def test_onnx(model, inputs, expected):
    (node,) = model.graph.node
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    fed = (name.name for name in model.graph.input if name.name not in known)
    known |= dict(zip(fed, inputs, strict=True))
    x, weight, *bias = (known[name] for name in node.input)
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    rank = len(attributes["kernel_shape"])
    strides, dilations = (attributes.get(name, [1] * rank) for name in ("strides", "dilations"))
    y = convolve(
        x, weight, bias[0] if bias else None, attributes.get("group", 1),
        stride=strides if rank == 2 else strides[0], padding=onnx_padding(attributes),
        dilation=dilations if rank == 2 else dilations[0],
    )  # fmt: skip
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_there_are_depthwise_cases_among_those_of_onnx():
    names = {case.id for case in fitting_onnx_cases()}
    assert len([name for name in names if "depthwise" in name]) == 4
    assert "test_conv_with_strides_and_asymmetric_padding" in names
    assert len(names) >= 25


def one_number(value, rank):
    """In one dimension, give the number that torch takes a tuple of one for as well."""
    return value[0] if rank == 1 and isinstance(value, tuple) else value


def check_with_torch(expected, x, weight, bias, stride, padding, dilation, groups, mode="zeros"):
    rank = weight.dim() - 2
    arguments = {"stride": stride, "padding": padding, "dilation": dilation}
    y = convolve(
        x.numpy(), weight.numpy(), None if bias is None else bias.numpy(), groups,
        **{name: one_number(value, rank) for name, value in arguments.items()},
        padding_mode=mode,
    )  # fmt: skip
    np.testing.assert_allclose(y, expected.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize("rank", [1, 2])
def test_functions_of_torch(rank):
    # Takes seconds to import, and so only where the test runs.
    from torch.testing._internal import common_methods_invocations

    torch.manual_seed(0)
    samples_of = getattr(common_methods_invocations, f"sample_inputs_conv{rank}d")
    samples = list(samples_of(None, "cpu", torch.float64, requires_grad=False))
    assert len(samples) >= 10
    for sample in samples:
        weight, bias = sample.args
        expected = getattr(F, f"conv{rank}d")(sample.input, weight, bias, **sample.kwargs)
        given = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | sample.kwargs
        check_with_torch(expected, sample.input, weight, bias, **given)


def torch_modules():
    """Yield torch's own tests of its convolution modules."""
    for case in common_nn.module_tests + common_nn.get_new_module_tests():
        name = case.get("fullname") or "_".join(
            filter(None, (case["module_name"], case.get("desc")))
        )
        if name.startswith(("Conv1d", "Conv2d")) and 0 not in case["input_size"]:
            yield pytest.param(case, id=name)


@pytest.mark.parametrize("case", list(torch_modules()))
def test_modules_of_torch(case):
    torch.manual_seed(0)
    construct = case.get("constructor") or (
        lambda: getattr(torch.nn, case["module_name"])(*case["constructor_args"])
    )
    module = construct().double().requires_grad_(False)
    x = torch.randn(case["input_size"], dtype=torch.float64)
    check_with_torch(
        module(x), x, module.weight, module.bias, module.stride, module.padding, module.dilation,
        module.groups, module.padding_mode,
    )  # fmt: skip


def test_there_are_depthwise_cases_among_those_of_torch():
    names = [case.id for case in torch_modules()]
    assert len([name for name in names if "depthwise" in name]) == 5
    assert len([name for name in names if "circular" in name]) == 2
