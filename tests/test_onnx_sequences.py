"""Sequences (N, C, L) in models of ONNX: their convolutions and what lies between are kernels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import depthwise as dw
from depthwise.errors import ModelError
from onnx_backend import Depthwise, Weighted, outcome
from onnx_models import assert_close, called, checked, left, model, node, noise, port

CHANNELS = 12
X = port("x", (2, CHANNELS, 20))
SEQUENCE = noise(2, CHANNELS, 20)
DEPTH, DENSE = noise(CHANNELS, 1, 4), noise(6, CHANNELS, 3)


def problems(network) -> list[str]:
    return [str(stage.spec) for stage in network.program.stages()]


def test_a_causal_pad_becomes_part_of_the_convolution():
    nodes = [
        node("Pad", "x pads", "p"),
        node("Conv", "p w b", "c", group=CHANNELS, dilations=[2]),
        node("Relu", "c", "y"),
    ]
    constants = {"pads": np.int64([0, 0, 6, 0, 0, 0]), "w": DEPTH, "b": noise(CHANNELS)}
    network = checked(model(nodes, [X], ["y"], constants), SEQUENCE)
    assert left(network) == []
    assert problems(network) == ["depthwise n2 c12 h1 w20 k1x4 p0,0,6,0 d1x2 nhwc bias relu"]


@given(
    length=st.integers(8, 24), taps=st.integers(1, 5), stride=st.integers(1, 3),
    dilation=st.integers(1, 2), pads=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    groups=st.sampled_from([1, 3, CHANNELS]), bias=st.booleans(), batch=st.integers(1, 2),
    before=st.sampled_from([None, (3, 0), (2, 5)]), is_open=st.booleans(),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_any_convolution_of_sequences(
    length, taps, stride, dilation, pads, groups, bias, batch, before, is_open
):
    nodes, x = [], "x"
    constants = {"w": noise(CHANNELS, CHANNELS // groups, taps), "b": noise(CHANNELS)}
    if before is not None:
        constants["pads"] = np.int64([0, 0, before[0], 0, 0, before[1]])
        nodes, x = [node("Pad", "x pads", "p")], "p"
    how = {"strides": [stride], "dilations": [dilation], "pads": pads, "group": groups}
    nodes += [node("Conv", f"{x} w{' b' * bias}", "c", **how), node("Sigmoid", "c", "y")]
    sizes = ("batch", CHANNELS, "length") if is_open else (batch, CHANNELS, length)
    network = checked(
        model(nodes, [port("x", sizes)], ["y"], constants), noise(batch, CHANNELS, length)
    )
    assert left(network) == []


@pytest.mark.parametrize("how", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_padding_that_follows_from_the_size(how):
    made = model([node("Conv", "x w", "y", auto_pad=how, strides=[2])], [X], ["y"], {"w": DENSE})
    assert left(checked(made, SEQUENCE)) == []


def test_what_lies_between_convolutions():
    """Norms, functions of elements, sums with what came before, and numbers for each channel."""
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1]),
        node("BatchNormalization", "c s b m v", "n"),
        node("Sigmoid", "n", "g"),
        node("Mul", "n g", "z"),
        node("Conv", "z p", "q"),
        node("Add", "q x", "r"),
        node("Mul", "r each", "t"),
        node("Add", "t one", "y"),
        node("ReduceMean", "y", "mean", axes=[2]),
    ]
    constants = {
        "w": noise(CHANNELS, CHANNELS, 3), "b": noise(CHANNELS), "s": noise(CHANNELS),
        "m": noise(CHANNELS), "v": noise(CHANNELS) ** 2, "p": noise(CHANNELS, CHANNELS, 1),
        "each": noise(CHANNELS, 1), "one": noise(1),
    }  # fmt: skip
    made = model(nodes, [X], ["y", "mean"], constants)
    assert left(checked(made, SEQUENCE)) == []


def test_numbers_along_the_length():
    nodes = [node("Conv", "x w", "c", pads=[1, 1]), node("Mul", "c window", "y")]
    checked(model(nodes, [X], ["y"], {"w": DENSE, "window": noise(20)}), SEQUENCE)


def test_pads_of_another_number_and_for_others():
    """A pad that is no zero stays one, and one that is returned is there too."""
    nodes = [node("Pad", "x pads five", "p"), node("Conv", "p w", "y"),
             node("Pad", "x pads", "q"), node("Conv", "q w", "z")]  # fmt: skip
    constants = {"pads": np.int64([0, 0, 2, 0, 0, 1]), "w": DENSE, "five": np.float32(5)}
    checked(model(nodes, [X], ["y", "z", "q"], constants), SEQUENCE)


def test_a_state_before_what_is_convolved_and_what_is_kept():
    nodes = [
        node("Concat", "past x", "whole", axis=2),
        node("Conv", "whole w", "y", group=CHANNELS),
        node("Slice", "whole start end axis", "present"),
    ]
    numbers = {"start": np.int64([-3]), "end": np.int64([2**62]), "axis": np.int64([2])}
    ends = [port("past", (2, CHANNELS, 3)), X]
    made = model(nodes, ends, ["y", "present"], {"w": DEPTH, **numbers})
    assert left(checked(made, noise(2, CHANNELS, 3), SEQUENCE)) == []


def test_channels_of_sequences():
    nodes = [node("Conv", "x w", "a"), node("Relu", "a", "b"), node("Concat", "a b", "c", axis=1),
             node("Slice", "c start end axis", "d"), node("Conv", "d v", "y")]  # fmt: skip
    constants = {
        "w": DENSE, "v": noise(5, 8, 1), "start": np.int64([2]), "end": np.int64([10]),
        "axis": np.int64([1]),
    }  # fmt: skip
    checked(model(nodes, [X], ["y"], constants), SEQUENCE)


def test_weights_that_are_computed_stay_with_onnx_runtime():
    made = model([node("Conv", "x w", "y")], [X, port("w", DENSE.shape)], ["y"])
    assert left(checked(made, SEQUENCE, DENSE)) == ["Conv"]


def test_a_sequence_that_is_shorter_than_a_window():
    made = model([node("Conv", "x w", "y")], [port("x", (1, CHANNELS, 2))], ["y"], {"w": DENSE})
    with pytest.raises(ModelError, match="got Conv 'y' of 2 elements along an axis with a window"):
        dw.load(made)


def test_hops_that_are_longer_than_a_step():
    """Windows of 512 samples, 128 apart: two examples differ by more than a hop."""
    network = dw.load(
        model([node("Conv", "x w", "y", strides=[128])], [port("x", (1, 1, "samples"))], ["y"],
              {"w": noise(4, 1, 512)})
    )  # fmt: skip
    assert network.outputs[0].shape == (1, 4, None)
    for frames in (1, 2, 9):
        assert network(noise(1, 1, 512 + 128 * (frames - 1))).shape == (1, 4, frames)


CASES = [
    "basic", "with_bias", "with_past_state", "silu", "swish_alias", "decode_step",
    "kernel_size_one", "with_bias_and_past_state", "silu_with_past_state", "b1_c1_degenerate",
    "short_input_no_past_state", "fp16", "silu_fp16",
]  # fmt: skip


@pytest.mark.parametrize("backend", [Depthwise, Weighted])
@pytest.mark.parametrize("case", CASES)
def test_onnx_cases_of_causal_convolution(case, backend):
    found = outcome("Node", f"test_causal_conv_with_state_{case}_cpu", backend)
    assert found.failure is None


def causal(domain: str = "", opset: int = 27, **attributes):
    nodes = [node("CausalConvWithState", "x w b past", "y present", domain=domain, **attributes)]
    ends = [port("x", (1, CHANNELS, "length")), port("past", (1, CHANNELS, 3))]
    made = model(nodes, ends, ["y", "present"], {"w": DEPTH, "b": noise(CHANNELS)}, opset=opset)
    if domain:
        made.opset_import.add(domain=domain, version=1)
    return made


def test_causal_convolution_streams():
    """In chunks of any length, as ONNX's reference computes it."""
    from onnx.reference import ReferenceEvaluator

    made = causal(activation="silu")
    network, x = dw.load(made), noise(1, CHANNELS, 20)
    past = np.zeros((1, CHANNELS, 3), np.float32)
    wanted = ReferenceEvaluator(made).run(None, {"x": x, "past": past})
    assert_close(called(network, x, past), wanted)
    stream = network.stream()
    whole = np.concatenate([stream(chunk) for chunk in np.split(x, [1, 2, 4, 11], axis=2)], axis=2)
    np.testing.assert_array_equal(whole, network(x, past)[0])
    np.testing.assert_array_equal(stream.state["past"], wanted[1])


def test_the_operator_of_onnx_runtimes_domain():
    made = causal("com.microsoft", opset=17, activation="silu")
    checked(made, noise(1, CHANNELS, 5), noise(1, CHANNELS, 3))


def test_a_causal_convolution_that_is_none():
    with pytest.raises(ModelError, match="activation none, silu or swish"):
        dw.load(causal(activation="gelu"))
    made = model([node("CausalConvWithState", "x w", "y present")], [X, port("w", None)],
                 ["y", "present"], opset=27)  # fmt: skip
    with pytest.raises(ModelError, match=r"a known shape \(channels, 1, taps\)"):
        dw.load(made)
