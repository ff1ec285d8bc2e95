"""A small causal network that hears tones, as a model of ONNX with states; nothing is trained.

Its first convolutions correlate the sound with a cosine and a sine of each tone, and sum its own
energy, over windows of 32 ms, one each 8 ms; what a tone has of all energy is averaged over 64 ms
by a depthwise convolution.  Both look back only.  What they look back to is a state: an input, and
an output that the next call takes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

RATE = 16_000
"""Samples in a second."""
TONES = (440, 880, 1320, 1760)
"""What is listened for, in hertz."""
HOP, WINDOW, FRAMES = 128, 512, 8
"""Samples from one window to the next and in each of them; windows that a score looks back to."""
LEAST, STEEP = 0.4, 16.0
"""The part of all energy from which on a tone is heard, and how steeply scores rise there."""
_QUIET = 1e-4
"""Energy that is added to that of each window, so that silence is no tone."""


def model() -> ModelProto:
    """Return the network: scores (1, tones, L / HOP) of sound (1, 1, L), L a multiple of HOP."""
    window = np.hanning(WINDOW)
    waves, energy = _waves(window), np.tile(window, (len(TONES), 1, 1))
    constants = {
        "waves": waves, "pairs": np.ones((len(TONES), 2, 1)), "window": energy,
        "quiet": np.array(_QUIET), "means": np.full((len(TONES), 1, FRAMES), STEEP / FRAMES),
        "bias": np.full(len(TONES), -STEEP * LEAST),
    }  # fmt: skip
    nodes = [
        *_behind_state("sound"),
        _node("Conv", "sound_whole waves", "parts", strides=[HOP]),
        _node("Mul", "parts parts", "squares"),
        _node("Conv", "squares pairs", "power", group=len(TONES)),
        _node("Mul", "sound_whole sound_whole", "loudness"),
        _node("Conv", "loudness window", "energy", strides=[HOP]),
        _node("Add", "energy quiet", "all"),
        _node("Div", "power all", "shares"),
        *_behind_state("shares"),
        _node("Conv", "shares_whole means bias", "mean", group=len(TONES)),
        _node("Sigmoid", "mean", "scores"),
    ]
    inputs = [
        _port("sound", 1, "samples"), _port("sound_in", 1, WINDOW - HOP),
        _port("shares_in", len(TONES), FRAMES - 1),
    ]  # fmt: skip
    outputs = [
        _port("scores", len(TONES), None), _port("sound_out", 1, None),
        _port("shares_out", len(TONES), None),
    ]  # fmt: skip
    arrays = [
        *(numpy_helper.from_array(array.astype(np.float32), n) for n, array in constants.items()),
        *(_whole(name, number) for name, number in (("end", 2**62), ("axis", 2))),
        _whole("sound_start", HOP - WINDOW), _whole("shares_start", 1 - FRAMES),
    ]  # fmt: skip
    graph = helper.make_graph(nodes, "tones", inputs, outputs, arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _waves(window: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a cosine and a sine of each tone: a tone alone has all energy."""
    turns = 2 * np.pi * np.arange(WINDOW) / RATE
    waves = [wave(turns * tone) for tone in TONES for wave in (np.cos, np.sin)]
    return np.array(waves)[:, None] * window * np.sqrt(2 / window.sum())


def _behind_state(name: str) -> list[NodeProto]:
    """Return what puts a sequence behind what is kept of it, and keeps its last elements."""
    return [
        _node("Concat", f"{name}_in {name}", f"{name}_whole", axis=2),
        _node("Slice", f"{name}_whole {name}_start end axis", f"{name}_out"),
    ]


def _node(operator: str, inputs: str, output: str, **attributes: object) -> NodeProto:
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def _whole(name: str, number: int) -> TensorProto:
    return numpy_helper.from_array(np.array([number], np.int64), name)


def _port(name: str, channels: int, length: int | str | None) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, channels, length))
