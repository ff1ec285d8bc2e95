"""Networks that are called chunk by chunk: what is kept, who may call, and what is refused."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import depthwise as dw
from depthwise.errors import ArrayError, ModelError
from exporting import assert_right
from onnx_models import checked, left, model, node, noise, port

CHANNELS, TAPS, DILATION = 8, 3, 2
KEPT = (TAPS - 1) * DILATION


def causal(length="samples", channels: int = CHANNELS, end: str = "Add f x"):
    """Return two causal convolutions, depthwise and dense, of which each keeps what it needs."""
    names = [(f"past{n}", f"past_out{n}") for n in range(2)]
    operator, inputs = end.split(maxsplit=1)
    cut = "{} start end axis"
    nodes = [
        node("Concat", f"{names[0][0]} x", "a", axis=2),
        node("Conv", "a w b", "c", group=channels, dilations=[DILATION]),
        node("Relu", "c", "d"),
        node("Slice", cut.format("a"), names[0][1]),
        node("Concat", f"{names[1][0]} d", "e", axis=2),
        node("Conv", "e v", "f", dilations=[DILATION]),
        node(operator, inputs, "y"),
        node("Slice", cut.format("e"), names[1][1]),
    ]
    constants = {
        "w": noise(channels, 1, TAPS), "b": noise(channels), "v": noise(channels, channels, TAPS),
        "start": np.int64([-KEPT]), "end": np.int64([2**62]), "axis": np.int64([2]),
    }  # fmt: skip
    inputs = [port("x", (1, channels, length))]
    inputs += [port(name, (1, channels, KEPT)) for name, _ in names]
    return model(nodes, inputs, ["y", *(name for _, name in names)], constants)


def recurrent(taken: str = "state", made: str = "stateN", batch="batch"):
    """Return tanh(x @ w + state), of which the sum of all rows is returned beside the state."""
    nodes = [
        node("MatMul", "x w", "a"),
        node("Add", f"a {taken}", "b"),
        node("Tanh", "b", made),
        node("Relu", made, "y"),
    ]
    return model(
        nodes, [port("x", (batch, 4)), port(taken, (batch, 4))], ["y", made], {"w": noise(4, 4)}
    )


def cut(sound: np.ndarray, *lengths: int) -> list[np.ndarray]:
    """Return a sequence in chunks of these lengths, and what is left."""
    return np.split(sound, np.cumsum(lengths), axis=2)


CAUSAL = dw.load(causal())
SOUND = noise(1, CHANNELS, 40)
WHOLE = CAUSAL.stream()(SOUND)


@pytest.mark.parametrize(
    "lengths", [(20,), (1, 2, 3, 4, 5, 6), (39,), (1,) * 39, (17, 1, 1, 13)], ids=str
)
def test_chunks_of_any_length_are_the_whole_to_the_last_bit(lengths):
    stream = CAUSAL.stream()
    found = np.concatenate([stream(chunk) for chunk in cut(SOUND, *lengths)], axis=2)
    np.testing.assert_array_equal(found, WHOLE)


def test_chunks_of_a_fixed_length():
    network = dw.load(causal(length=5))
    stream, state = network.stream(), [np.zeros((1, CHANNELS, KEPT), np.float32)] * 2
    for chunk in cut(SOUND, *(5,) * 7):
        wanted, *state = network(chunk, *state)
        np.testing.assert_array_equal(stream(chunk), wanted)
    for kept, wanted in zip(stream.state.values(), state, strict=True):
        np.testing.assert_array_equal(kept, wanted)


@pytest.mark.parametrize("length", [5, "samples"])
def test_nothing_is_left_of_a_streaming_network(length, tmp_path):
    """States are put before a chunk, and kept of it, without ONNX Runtime, once saved too."""
    made = causal(length, end="Relu f")
    given = noise(1, CHANNELS, 5), noise(1, CHANNELS, KEPT), noise(1, CHANNELS, KEPT)
    network = checked(made, *given)
    assert left(network) == []
    network.save(tmp_path / "causal.dw")
    saved = dw.load(tmp_path / "causal.dw")
    for found, wanted in zip(saved(*given), network(*given), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_streaming_network_is_exported(tmp_path):
    """With a fixed length; an open one is refused in words."""
    dw.export(causal(length=5, end="Relu f"), tmp_path / "causal", name="causal")
    assert_right(tmp_path / "causal")
    shapes = {"x": (1, CHANNELS, 5), "past0": (1, CHANNELS, KEPT), "past1": (1, CHANNELS, KEPT)}
    with pytest.raises(ModelError, match=r"Concat a \(its length is open\)"):
        dw.export(causal(end="Relu f"), tmp_path / "open", inputs=shapes)


def test_a_saved_network_streams(tmp_path):
    CAUSAL.save(tmp_path / "causal.dw")
    stream = dw.load(tmp_path / "causal.dw").stream()
    found = [stream(chunk) for chunk in cut(SOUND, 11, 20)]
    np.testing.assert_array_equal(np.concatenate(found, axis=2), WHOLE)


def test_reset_begins_anew():
    stream, chunks = CAUSAL.stream(), cut(SOUND, 10, 10)
    first = [stream(chunk) for chunk in chunks]
    stream.reset()
    assert all(not kept.any() for kept in stream.state.values())
    for chunk, wanted in zip(chunks, first, strict=True):
        np.testing.assert_array_equal(stream(chunk), wanted)


def test_a_stream_goes_on_from_the_state_of_another():
    stream, (begin, rest) = CAUSAL.stream(), cut(SOUND, 23)
    stream(begin)
    state = stream.state
    wanted = stream(rest)
    other = CAUSAL.stream(initial=state)
    for array in state.values():
        array[:] = 7  # a copy
    np.testing.assert_array_equal(other(rest), wanted)
    other.reset()
    np.testing.assert_array_equal(other(rest), wanted)


def test_inputs_and_outputs_by_name():
    stream = CAUSAL.stream()
    assert [port.name for port in stream.inputs] == ["x"]
    assert [port.name for port in stream.outputs] == ["y"]
    found = stream.run({"x": SOUND})
    assert list(found) == ["y"]
    np.testing.assert_array_equal(found["y"], WHOLE)
    with pytest.raises(ArrayError, match="a chunk is of x; got past0"):
        stream.run({"past0": SOUND})


def test_streams_of_several_threads_side_by_side():
    """Each thread has its own stream, and all wait for one another before each chunk."""
    sounds = [noise(1, CHANNELS, 60) for _ in range(4)]
    wanted = [CAUSAL.stream()(sound) for sound in sounds]
    together = threading.Barrier(len(sounds))

    def listen(sound: np.ndarray) -> np.ndarray:
        stream, found = CAUSAL.stream(), []
        for chunk in cut(sound, *range(1, 11)):
            together.wait(60)
            found.append(stream(chunk))
        return np.concatenate(found, axis=2)

    with ThreadPoolExecutor(len(sounds)) as threads:
        for found, right in zip(threads.map(listen, sounds), wanted, strict=True):
            np.testing.assert_array_equal(found, right)


def test_threads_that_share_a_stream_wait_for_one_another():
    """The state is a sum, whatever the order of the chunks."""
    nodes = [node("Add", "x total", "total_out"), node("Neg", "x", "y")]
    ends = [port("x", (1, 4)), port("total", (1, 4))]
    stream = dw.load(model(nodes, ends, ["y", "total_out"])).stream()
    one = np.ones((1, 4), np.float32)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: stream(one), range(200)))
    assert (stream.state["total"] == 200).all()


def test_what_fails_leaves_the_state():
    stream = CAUSAL.stream()
    stream(SOUND)
    before = stream.state
    for chunk, words in [
        (SOUND.astype(np.float64), "input x is of float32"),
        (SOUND[:, :4], r"input x has the sizes \(1, 8, any\)"),
        (SOUND[0], "input x has the sizes"),
        ("sound", "input x is a NumPy array"),
    ]:
        with pytest.raises(ArrayError, match=words):
            stream(chunk)
    with pytest.raises(ArrayError, match="a chunk is of x; got 2 arrays"):
        stream(SOUND, SOUND)
    for name, kept in stream.state.items():
        np.testing.assert_array_equal(kept, before[name])


def test_an_interrupted_call_leaves_the_state(monkeypatch):
    stream = CAUSAL.stream()
    stream(SOUND)
    before = stream.state

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as changed:
        changed.setattr("depthwise.network.execution.Execution._result", interrupt)
        with pytest.raises(KeyboardInterrupt):
            stream(SOUND)
    for name, kept in stream.state.items():
        np.testing.assert_array_equal(kept, before[name])


def test_a_call_within_a_call_is_refused(monkeypatch):
    stream = CAUSAL.stream()
    results = CAUSAL.results

    def again(arrays):
        with pytest.raises(ArrayError, match="one chunk after the other"):
            stream(SOUND)
        return results(arrays)

    monkeypatch.setattr(CAUSAL, "results", again)
    np.testing.assert_array_equal(stream(SOUND), WHOLE)


def test_a_size_of_the_first_chunk_is_that_of_the_state():
    network = dw.load(recurrent())
    stream, chunk = network.stream(), noise(3, 4)
    assert stream.state == {}
    wanted, state = network(chunk, np.zeros((3, 4), np.float32))
    np.testing.assert_array_equal(stream(chunk), wanted)
    np.testing.assert_array_equal(stream.state["state"], state)
    with pytest.raises(ArrayError, match="input state has the sizes"):
        stream(noise(2, 4))
    stream.reset()
    assert stream(noise(2, 4)).shape == (2, 4)


def test_a_state_that_grows_begins_empty():
    nodes = [node("Concat", "past_rows x", "present_rows", axis=1), node("Relu", "x", "y")]
    ends = [port("x", (1, "new", 3)), port("past_rows", (1, "old", 3))]
    stream = dw.load(model(nodes, ends, ["y", "present_rows"])).stream()
    chunks = [noise(1, count, 3) for count in (2, 1, 4)]
    for chunk in chunks:
        stream(chunk)
    np.testing.assert_array_equal(stream.state["past_rows"], np.concatenate(chunks, axis=1))


def test_tensors_of_torch():
    torch = pytest.importorskip("torch")
    found = CAUSAL.stream()(torch.from_numpy(SOUND))
    np.testing.assert_array_equal(found.numpy(), WHOLE)


@pytest.mark.parametrize(
    ("taken", "made"),
    [
        ("state", "stateN"), ("h", "hn"), ("c", "cn"), ("h0", "hn"), ("h_0", "h_n"),
        ("x_state_in", "x_state_out"), ("state_in_1", "state_out_1"), ("cache", "cache_out"),
        ("past_key_values.0.key", "present.0.key"), ("past_conv.3", "present_conv.3"),
        ("cache_last_time", "cache_last_time_next"), ("cached_key_0", "new_cached_key_0"),
        ("prev_state", "next_state"), ("input_states_1", "output_states_1"),
        ("att_cache", "r_att_cache"), ("states", "new_states"), ("inState", "outState"),
        ("past", "present"),
    ],
)  # fmt: skip
def test_states_by_their_names(taken, made):
    stream = dw.load(recurrent(taken, made)).stream()
    assert [port.name for port in stream.inputs] == ["x"]
    assert [port.name for port in stream.outputs] == ["y"]


def test_an_input_whose_name_says_what_it_is_goes_first():
    nodes = [node("Concat", "sound_in sound", "a", axis=2), node("Relu", "sound", "y"),
             node("Slice", "a start end axis", "sound_out")]  # fmt: skip
    numbers = {"start": np.int64([-3]), "end": np.int64([2**62]), "axis": np.int64([2])}
    ends = [port("sound", (1, 1, "samples")), port("sound_in", (1, 1, 3))]
    stream = dw.load(model(nodes, ends, ["y", "sound_out"], numbers)).stream()
    assert [port.name for port in stream.inputs] == ["sound"]


def refused(network, *words: str, **given) -> None:
    with pytest.raises((ModelError, ArrayError)) as caught:
        network.stream(**given)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_states_that_are_named():
    network = dw.load(recurrent("left", "right"))
    refused(
        network, "none is known by its name", "net.stream(state={", "left (any, 4) float32",
        "right (any, 4) float32",
    )  # fmt: skip
    stream, chunk = network.stream(state={"right": "left"}), noise(2, 4)
    wanted, _ = network(chunk, np.zeros((2, 4), np.float32))
    np.testing.assert_array_equal(stream(chunk), wanted)
    refused(network, "'up': 'left'", "inputs: x", state={"up": "left"})
    refused(network, "'right': 'down'", state={"right": "down"})
    refused(network, "at least one; got none", state={})
    refused(network, "each input once; got 'left' twice", state={"right": "left", "y": "left"})


def test_states_that_do_not_fit():
    nodes = [node("Relu", "x", "y"), node("Concat", "state x", "state_out", axis=1)]
    network = dw.load(model(nodes, [port("x", (1, 4)), port("state", (1, 4))], ["y", "state_out"]))
    refused(network, "state_out (1, 8) float32 does not fit state (1, 4) float32")
    words = "an output of the shape and the type of an input; got state_out (1, 8) float32 for"
    refused(network, words, state={"state_out": "state"})


def test_names_that_leave_a_choice():
    nodes = [node("Add", "x state", "stateN"), node("Neg", "state", "state_out"),
             node("Relu", "x", "y")]  # fmt: skip
    ends = [port("x", (1, 4)), port("state", (1, 4))]
    network = dw.load(model(nodes, ends, ["y", "stateN", "state_out"]))
    refused(network, "stateN and state_out are for state", "net.stream(state=")
    assert len(network.stream(state={"stateN": "state"}).outputs) == 2


def test_names_that_leave_no_input():
    nodes = [node("Add", "audio_in h_in", "audio_out"), node("Neg", "h_in", "h_out")]
    ends = [port("audio_in", (1, 4)), port("h_in", (1, 4))]
    network = dw.load(model(nodes, ends, ["audio_out", "h_out"]))
    refused(network, "an input that is no state", "audio_out for audio_in")
    assert [p.name for p in network.stream(state={"h_out": "h_in"}).inputs] == ["audio_in"]


def test_what_is_initial_fits():
    state = np.zeros((1, CHANNELS, KEPT), np.float32)
    refused(CAUSAL, "the states are past0, past1; got x", initial={"x": SOUND})
    refused(CAUSAL, "(1, 8, 4) of float32; got (1, 8, 4) of float64",
            initial={"past0": state.astype(np.float64)})  # fmt: skip
    refused(CAUSAL, "got (1, 8, 3) of float32", initial={"past1": state[:, :, 1:]})
