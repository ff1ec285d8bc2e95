"""Variables in files of TFLite: states of the network, held against LiteRT's."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

import depthwise as dw
from depthwise.errors import ArrayError
from onnx_models import assert_close, called
from test_tflite_files import refused
from tflite_files import Builder, noise, scales
from tflite_networks import depthwise

FRAMES, FEATURES, WORDS = 6, 10, 4
CHUNKS = [noise(1, 1, FEATURES) for _ in range(9)]
ADD, CONCAT = schema.AddOptionsT(), schema.ConcatenationOptionsT


def set_up(net: Builder, name: str, array: np.ndarray, **others) -> Builder:
    """Let a graph that is called once give a variable its first value."""
    other = net.other()
    other.assign(other.variable(name), other.constant(array, **others))
    net.op("CALL_ONCE", [], options=schema.CallOnceOptionsT(initSubgraphIndex=1))
    return other


def keywords(quantized=None) -> bytes:
    """Return a network that keeps the last frames of features and scores words in them."""
    dtype = "float32" if quantized is None else "int8"
    net, how = Builder(), {"quantized": quantized, "dtype": dtype}
    rng = np.random.default_rng(1)
    wide = rng.standard_normal((1, 3, 3, 1)), rng.standard_normal((WORDS, FRAMES * FEATURES)) / 8
    biases = [np.zeros(1), np.zeros(WORDS)]
    x = net.input(1, 1, FEATURES, name="features", **how)
    begun = np.zeros((1, FRAMES, FEATURES), dtype)
    other = set_up(net, "frames", begun, quantized=quantized)
    kept = net.variable("frames")
    before = net.read(kept, (1, FRAMES, FEATURES), **how)
    rest = net.op(
        "SLICE",
        [before, net.constant(np.int32([0, 1, 0])), net.constant(np.int32([1, -1, -1]))],
        (1, FRAMES - 1, FEATURES), **how,
    )  # fmt: skip
    frames = net.op("CONCATENATION", [rest, x], (1, FRAMES, FEATURES), options=CONCAT(axis=1),
                    **how)  # fmt: skip
    net.assign(kept, frames)
    image = net.op("RESHAPE", [frames, net.constant(np.int32([1, FRAMES, FEATURES, 1]))],
                   (1, FRAMES, FEATURES, 1), options=schema.ReshapeOptionsT(), **how)  # fmt: skip
    if quantized is None:
        weights = [net.constant(each, "float32") for each in wide]
        given = [net.constant(each, "float32") for each in biases]
    else:
        fine = scales(0.02)
        weights = [net.constant((each / 0.02).round().clip(-127, 127), "int8", quantized=fine)
                   for each in wide]  # fmt: skip
        given = [net.constant(each, "int32") for each in biases]
    deep = net.op("DEPTHWISE_CONV_2D", [image, weights[0], given[0]], (1, FRAMES, FEATURES, 1),
                  options=depthwise(), **how)  # fmt: skip
    flat = net.op("RESHAPE", [deep, net.constant(np.int32([1, FRAMES * FEATURES]))],
                  (1, FRAMES * FEATURES), options=schema.ReshapeOptionsT(), **how)  # fmt: skip
    scores = net.tensor((1, WORDS), name="scores", **how)
    net.op("FULLY_CONNECTED", [flat, weights[1], given[1]], scores,
           options=schema.FullyConnectedOptionsT())  # fmt: skip
    return net.file(scores, other=other)


class LiteRT:
    """An interpreter, which keeps variables from one call to the next."""

    def __init__(self, data: bytes) -> None:
        self._it = Interpreter(
            model_content=data,
            num_threads=1,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self._it.allocate_tensors()

    def __call__(self, *arrays: np.ndarray) -> list[np.ndarray]:
        for each, array in zip(self._it.get_input_details(), arrays, strict=True):
            self._it.set_tensor(each["index"], array)
        self._it.invoke()
        return [self._it.get_tensor(each["index"]) for each in self._it.get_output_details()]


def test_keywords_frame_by_frame(tmp_path):
    """Loaded from TFLite, and from what that was saved as."""
    data = keywords()
    network, its = dw.load(data), LiteRT(data)
    network.save(tmp_path / "keywords.dw")
    saved = dw.load(tmp_path / "keywords.dw")
    assert [port.name for port in network.inputs] == ["features", "frames"]
    assert [port.name for port in network.outputs] == ["scores", "frames_out"]
    stream, again = network.stream(), saved.stream()
    wanted = [its(chunk) for chunk in CHUNKS]
    for chunk, right in zip(CHUNKS, wanted, strict=True):
        assert_close([stream(chunk)], right)
        assert_close([again(chunk)], right)
    stream.reset()
    assert_close([stream(CHUNKS[0])], wanted[0])


def test_keywords_in_8_bits():
    """What is kept is whole numbers, which are copied; scores are off by a unit at most."""
    quantized = scales(0.05, 3)
    data = keywords(quantized)
    stream, its, seen = dw.load(data).stream(), LiteRT(data), set()
    for chunk in CHUNKS:
        whole = (chunk / 0.05 + 3).round().clip(-128, 127).astype(np.int8)
        found, (right,) = stream(whole), its(whole)
        assert found.dtype == np.int8
        assert np.abs(found.astype(int) - right).max() <= 1
        seen |= set(found.ravel().tolist())
    assert len(seen) > len(CHUNKS)


def test_a_call_without_a_stream_is_the_first_of_one():
    network = dw.load(keywords())
    wanted = network.stream()(CHUNKS[0])
    for _ in range(2):
        np.testing.assert_array_equal(network(CHUNKS[0]), wanted)
    np.testing.assert_array_equal(network.run({"features": CHUNKS[0]})["scores"], wanted)
    network.prepare(CHUNKS[0])
    scores, frames = network(CHUNKS[0], np.zeros((1, FRAMES, FEATURES), np.float32))
    np.testing.assert_array_equal(scores, wanted)
    np.testing.assert_array_equal(frames[:, -1:], CHUNKS[0])
    with pytest.raises(ArrayError, match="the network's inputs are features, frames; got 3"):
        network(*[CHUNKS[0]] * 3)


def test_the_value_that_a_file_sets_up_is_the_first():
    net = Builder()
    x = net.input(1, 2, name="x")
    other = set_up(net, "sum", np.float32([[1, 2]]))
    kept = net.variable("sum")
    y = net.op("ADD", [x, net.read(kept, (1, 2))], (1, 2), options=ADD)
    net.assign(kept, y)
    data = net.file(y, other=other)
    network, its, one = dw.load(data), LiteRT(data), np.ones((1, 2), np.float32)
    stream = network.stream()
    np.testing.assert_array_equal(stream.state["sum"], [[1, 2]])
    for _ in range(3):
        assert_close([stream(one)], its(one))
    assert_close([network.stream(initial={"sum": one})(one)], [one + one])
    assert_close(called(network, one), [np.float32([[2, 3]])])


def test_variables_that_are_read_and_assigned_several_times():
    """By several handles of one name; another is assigned first, and so is no state."""
    net = Builder()
    x = net.input(1, 3, name="x")
    other = set_up(net, "a", np.zeros((1, 3), np.float32))
    first, second, local = net.variable("a"), net.variable("a"), net.variable("local")
    twice = net.op("ADD", [x, net.read(first, (1, 3))], (1, 3), options=ADD)
    net.assign(second, twice)
    more = net.op("ADD", [net.read(first, (1, 3)), x], (1, 3), options=ADD)
    net.assign(first, more)
    net.assign(local, more)
    y = net.op("ADD", [net.read(local, (1, 3)), x], (1, 3), options=ADD)
    data = net.file(y, other=other)
    stream, its = dw.load(data).stream(), LiteRT(data)
    assert list(stream.state) == ["a"]
    for _ in range(3):
        given = noise(1, 3)
        assert_close([stream(given)], its(given))


def test_a_variable_that_is_never_assigned_is_a_constant():
    net = Builder()
    x = net.input(1, 2)
    other = set_up(net, "table", np.float32([[3, 4]]))
    y = net.op("ADD", [x, net.read(net.variable("table"), (1, 2))], (1, 2), options=ADD)
    data, given = net.file(y, other=other), noise(1, 2)
    network = dw.load(data)
    assert len(network.inputs) == 1
    assert_close(called(network, given), LiteRT(data)(given))


def test_variables_that_nothing_sets_up_are_zeros():
    net = Builder()
    x, kept = net.input(1, 2), net.variable("sum")
    y = net.op("ADD", [x, net.read(kept, (1, 2))], (1, 2), options=ADD)
    net.assign(kept, y)
    stream, given = dw.load(net.file(y)).stream(), noise(1, 2)
    np.testing.assert_array_equal(stream(given), given)
    np.testing.assert_array_equal(stream(given), given + given)


def test_two_states_and_names_that_are_taken():
    """A variable that is called as an input is has another name."""
    net = Builder()
    x = net.input(1, 2, name="x")
    handles = [net.variable("x"), net.variable("")]
    read = [net.read(each, (1, 2)) for each in handles]
    y = net.op("ADD", [x, read[0]], (1, 2), options=ADD)
    z = net.op("ADD", [y, read[1]], (1, 2), options=ADD)
    net.assign(handles[0], y)
    net.assign(handles[1], z)
    stream, one = dw.load(net.file(z)).stream(), np.ones((1, 2), np.float32)
    assert [port.name for port in stream.inputs] == ["x"]
    assert len(stream.state) == 2
    assert [float(stream(one)[0, 0]) for _ in range(4)] == [1, 3, 6, 10]


def test_variables_that_are_none():
    net = Builder()
    x = net.input(1, 2)
    net.assign(x, x)
    refused(net.file(x), "ASSIGN_VARIABLE is of a variable that VAR_HANDLE makes")

    net = Builder()
    kept = net.variable("sum")
    refused(net.file(kept), "what a network takes and returns are arrays; got the variable")

    net = Builder()
    x, kept = net.input(1, 2), net.variable("sum")
    net.op("ADD", [x, net.read(kept, (1, 2))], (1, 2), options=ADD)
    net.assign(kept, net.op("NEG", [net.input(1, 3)], (1, 3)))
    refused(net.file(x), "a variable keeps its shape and type, (1, 2) of float32 for 'sum'; got")

    net = Builder()
    x, other = net.input(1, 2), net.other()
    other.assign(other.variable("sum"), other.op("NEG", [other.constant(noise(1, 2))], (1, 2)))
    net.op("CALL_ONCE", [], options=schema.CallOnceOptionsT(initSubgraphIndex=1))
    refused(net.file(x, other=other), "variables are set up by assigning constants", "NEG")

    net = Builder()
    x = net.input(1, 2)
    net.op("CALL_ONCE", [], options=schema.CallOnceOptionsT(initSubgraphIndex=4))
    refused(net.file(x), "a file of TFLite has the graphs that it calls; got 4 of 1")
