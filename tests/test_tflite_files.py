"""Networks of TFLite as a whole; broken or hostile files: an error, never a crash."""

import random
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import depthwise as dw
from depthwise.errors import DepthwiseError, ModelError
from depthwise.tflite.files import read
from onnx_models import assert_close, called, left
from test_onnx_files import mutated
from tflite_files import Builder, by_litert, noise
from tflite_networks import convolution, small

IMAGE = noise(1, 12, 12, 3)
SMALL = small()


def refused(data: bytes, *words: str) -> None:
    """See that a file is refused in one line with these words."""
    with pytest.raises(ModelError) as caught:
        dw.load(data)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_network(tmp_path):
    """From a path, with the names of its inputs and outputs; all of it is ours."""
    path = tmp_path / "small.tflite"
    path.write_bytes(SMALL)
    network = dw.load(path)
    wanted = by_litert(SMALL, [IMAGE])
    assert_close(called(network, IMAGE), wanted)
    assert_close([network.run({"image": IMAGE})["scores"]], wanted)
    assert [port.shape for port in network.inputs] == [(1, 12, 12, 3)]
    assert left(network) == []
    network.save(tmp_path / "small.dw")
    assert_close(called(dw.load(tmp_path / "small.dw"), IMAGE), wanted)


def test_any_number_of_images():
    data = small(batch=None)
    network = dw.load(data)
    assert [port.shape for port in network.inputs] == [(None, 12, 12, 3)]
    for count in (1, 3):
        images = noise(count, 12, 12, 3)
        assert_close(called(network, images), by_litert(data, [images]))
    resized = Builder()
    x = resized.input(1, 4, 5, 3, signature=(-1, 4, 5, 3))
    size = resized.constant(np.int32([8, 10]))
    made = resized.tensor((1, 8, 10, 3), signature=(-1, 8, 10, 3))
    resized.op("RESIZE_BILINEAR", [x, size], made, options=schema.ResizeBilinearOptionsT())
    data, images = resized.file(made), noise(2, 4, 5, 3)
    assert_close(called(dw.load(data), images), by_litert(data, [images]))


def test_any_height_and_width():
    net = Builder()
    x = net.input(1, 8, 8, 3, signature=(1, -1, -1, 3))
    y = net.tensor((1, 4, 4, 6), signature=(1, -1, -1, 6))
    net.op(
        "CONV_2D",
        [x, net.constant(noise(6, 3, 3, 3)), net.constant(noise(6))],
        y,
        options=convolution(2),
    )
    data = net.file(y)
    network = dw.load(data)
    for image in (noise(1, 8, 8, 3), noise(1, 9, 12, 3)):
        assert_close(called(network, image), by_litert(data, [image]))


def test_what_is_returned_twice_or_as_it_came():
    net = Builder()
    x, constant = net.input(2, 3), net.constant(noise(4))
    y = net.op("NEG", [x], (2, 3))
    data, given = net.file(y, x, y, constant), noise(2, 3)
    assert_close(called(dw.load(data), given), by_litert(data, [given]))


def test_constants_that_are_stored_sparsely():
    """Rows whole, and of each the columns that are listed, in blocks of two."""
    matrix = np.zeros((4, 6), np.float32)
    matrix[0, 2:4], matrix[3, 0:2], matrix[3, 4:6] = (1, 2), (3, 4), (5, 6)
    vector = schema.Int32VectorT
    sparsity = schema.SparsityParametersT(
        traversalOrder=[0, 1, 2], blockMap=[1],
        dimMetadata=[
            schema.DimensionMetadataT(format=0, denseSize=4),
            schema.DimensionMetadataT(
                format=1, arraySegmentsType=1, arraySegments=vector(values=[0, 1, 1, 1, 3]),
                arrayIndicesType=1, arrayIndices=vector(values=[1, 0, 2]),
            ),
            schema.DimensionMetadataT(format=0, denseSize=2),
        ],
    )  # fmt: skip
    net = Builder()
    x = net.input(2, 6)
    stored = net.constant(np.float32([1, 2, 3, 4, 5, 6]), shape=(4, 6), sparsity=sparsity)
    weight = net.op("DENSIFY", [stored], (4, 6), options=schema.DensifyOptionsT())
    y = net.op("FULLY_CONNECTED", [x, weight, -1], (2, 4), options=schema.FullyConnectedOptionsT())
    given = noise(2, 6)
    assert_close(called(dw.load(net.file(y)), given), [given @ matrix.T])


def test_operators_that_are_none_of_ours():
    net = Builder()
    y = net.op("CUSTOM Frobnicate", [net.op("RANK", [net.input(2, 3)], ())], (2, 3))
    refused(net.file(y), "CUSTOM Frobnicate", "RANK", "docs/tflite.md")


def test_weights_that_do_not_fit():
    net = Builder()
    y = net.op(
        "CONV_2D", [net.input(1, 8, 8, 3), net.constant(noise(4, 3, 3, 2)), -1], (1, 8, 8, 4),
        options=convolution(), name="here",
    )  # fmt: skip
    refused(net.file(y), "weights", "(1, 8, 8, 3)", "(4, 3, 3, 2)")


def test_shapes_that_a_file_says_wrongly():
    for kind, shape in (("NEG", (1, 6, 6, 4)), ("CONV_2D", (1, 5, 5, 3))):
        net = Builder()
        x = net.op("NEG", [net.input(1, 5, 5, 4)], (1, 5, 5, 4) if kind == "CONV_2D" else shape)
        y = net.op(
            "CONV_2D", [x, net.constant(noise(3, 3, 3, 4)), -1], (1, *shape[1:3], 3),
            options=convolution(2 if kind == "CONV_2D" else 1),
        )  # fmt: skip
        refused(net.file(y), "(1, 5, 5, ")


def test_the_order_of_operators():
    net = Builder()
    x, later = net.input(2, 3), net.tensor((2, 3), name="later")
    early = net.op("NEG", [later], (2, 3))
    net.op("NEG", [x], later)
    refused(net.file(early), "'later'", "too early")
    net = Builder()
    x, twice = net.input(2, 3), net.tensor((2, 3), name="twice")
    net.op("NEG", [x], twice)
    net.op("NEG", [x], twice)
    refused(net.file(twice), "'twice'")


def test_variables_and_text():
    net = Builder()
    net.tensors.append(schema.TensorT(shape=[1], type=schema.TensorType.STRING, name="text"))
    refused(net.file(net.op("NEG", [net.input(1)], (1,))), "STRING", "'text'")
    net = Builder()
    x = net.input(1, name="kept")
    net.tensors[x].isVariable = True
    refused(net.file(net.op("NEG", [x], (1,))), "'kept'")


def test_a_mirror_and_a_window_beyond_the_image():
    net = Builder()
    pads = net.constant(np.int32([[0, 0], [5, 0], [0, 0], [0, 0]]))
    y = net.op("MIRROR_PAD", [net.input(1, 4, 4, 3), pads], (1, 9, 4, 3),
               options=schema.MirrorPadOptionsT())  # fmt: skip
    refused(net.file(y), "mirror", "(5, 0)")
    net = Builder()
    options = schema.Pool2DOptionsT(
        padding=schema.Padding.VALID, strideH=1, strideW=1, filterHeight=5, filterWidth=5
    )
    refused(net.file(net.op("MAX_POOL_2D", [net.input(1, 4, 4, 3)], (1, 0, 0, 3), options=options)),
            "window", "(4, 4)")  # fmt: skip


def test_more_than_a_file_has_room_for():
    """Lists of more tables than its bytes, and arrays that are larger than any memory."""
    data = bytearray(SMALL)
    count = len(read(bytes(data)).operators)
    for at in range(0, len(data) - 4, 4):
        if struct.unpack_from("<I", data, at) == (count,):
            struct.pack_into("<I", data, at, 2**31)
    refused(bytes(data))
    net = Builder()
    x = net.input(2**20, 2**20, name="vast")
    refused(net.file(net.op("NEG", [x], (2**20, 2**20))), "'vast'")


def test_every_prefix_of_a_file():
    steps = {*range(0, len(SMALL), 211), *range(len(SMALL) - 60, len(SMALL))}
    assert {tried(SMALL[:size]) for size in sorted(steps)} == {"ModelError"}


def tried(data: bytes) -> str:
    """Load and call what may be a network; an error of ours or any result is fine."""
    try:
        network = dw.load(data)
        network(*[IMAGE for _ in network.inputs])
    except DepthwiseError as error:
        return type(error).__name__ if "\n" not in str(error) else f"several lines: {error!r}"
    return "computed"


def attack(first: int, last: int) -> None:
    """Load mutations of these numbers; `python -c` runs it, for it may end the process."""
    for number in range(first, last):
        print(number, tried(mutated(SMALL, random.Random(number))), flush=True)  # noqa: T201


def attacked(first: int, last: int) -> list[str]:
    code = f"import test_tflite_files; test_tflite_files.attack({first}, {last})"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parent, timeout=3000,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert done.returncode == 0, (lines[-1:], done.stderr[-2000:])
    return lines


@pytest.mark.slow
def test_ten_thousand_mutated_files():
    lines = attacked(0, 10_000)
    assert len(lines) == 10_000
    assert {line.split(" ", 1)[1] for line in lines} <= {"ModelError", "ArrayError", "computed"}


def test_mutated_files():
    lines = attacked(0, 300)
    assert len(lines) == 300
    assert {line.split(" ", 1)[1] for line in lines} <= {"ModelError", "ArrayError", "computed"}
    assert sum(line.endswith("ModelError") for line in lines) > 30
