"""Files that are no models, broken or hostile: an error with the node's name, never a crash."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from depthwise.errors import DepthwiseError, ModelError
from depthwise.loading import load
from onnx_models import left, model, node, noise, port

X = port("x", (1, 8, 6, 6))
IMAGE = noise(1, 8, 6, 6)
POINT = noise(8, 8, 1, 1)


def small():
    """Return a model with a little of everything."""
    nodes = [node("Conv", "x w", "a", group=8, pads=[1, 1, 1, 1], name="first"),
             node("Clip", "a low high", "b"), node("Conv", "b p", "c"), node("Tanh", "c", "d"),
             node("Add", "c d", "e"), node("GlobalAveragePool", "e", "f"),
             node("Reshape", "f s", "g"), node("Gemm", "g m", "y", transB=1)]  # fmt: skip
    constants = {"w": noise(8, 1, 3, 3), "p": POINT, "low": np.float32(0), "high": np.float32(6),
                 "s": np.int64([0, -1]), "m": noise(4, 8)}  # fmt: skip
    return model(nodes, [port("x", ("n", 8, "h", "v"))], ["y"], constants)


def refused(made, *words):
    """See that a model is refused when it is loaded or called, in one line with these words."""
    with pytest.raises(DepthwiseError) as caught:
        load(made)(IMAGE)
    said = str(caught.value)
    assert "\n" not in said
    for word in words:
        assert word in said
    return said


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"no model", os.urandom(1000), b"\x89PNG\r\n"])
def test_bytes_that_are_no_model(data):
    with pytest.raises(ModelError, match="a model"):
        load(data)


def test_files(tmp_path):
    with pytest.raises(OSError, match=r"none\.onnx"):
        load(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ModelError, match=r"text\.onnx"):
        load(tmp_path / "text.onnx")


def test_a_cycle():
    nodes = [node("Add", "x b", "a", name="here"), node("Neg", "a", "b")]
    refused(model(nodes, [X], ["b"]), "here")


def test_duplicate_names():
    nodes = [node("Neg", "x", "a"), node("Exp", "x", "a", name="again")]
    refused(model(nodes, [X], ["a"]), "'a'")


def test_a_value_that_nothing_makes():
    refused(model([node("Neg", "nowhere", "a", name="here")], [X], ["a"]), "here", "nowhere")
    refused(model([node("Neg", "x", "a")], [X], ["b"]), "b")


@pytest.mark.parametrize("domain", ["", "com.example"])
def test_unknown_operators(domain):
    unknown = helper.make_node("Frobnicate", ["x"], ["a"], name="here", domain=domain)
    made = model([unknown], [X], ["a"])
    if domain:
        made.opset_import.append(helper.make_opsetid(domain, 1))
    refused(made, "Frobnicate")


def test_opsets_that_do_not_exist():
    refused(model([node("Neg", "x", "a")], [X], ["a"], opset=999), "999")
    made = model([node("Neg", "x", "a")], [X], ["a"])
    del made.opset_import[:]
    refused(made)


@pytest.mark.parametrize(
    ("wrong", "weight"),
    [("channels", (8, 4, 1, 1)), ("group", (8, 3, 1, 1)), ("rank", (8, 8, 1)),
     ("bias", (8, 8, 1, 1)), ("kernel_shape", (8, 8, 3, 3)), ("too large", (8, 8, 9, 9))],
)  # fmt: skip
def test_convolutions_that_do_not_fit(wrong, weight):
    attributes = {"group": {"group": 3}, "kernel_shape": {"kernel_shape": [1, 1]}}.get(wrong, {})
    conv = node("Conv", "x w b", "y", name="here", **attributes)
    bias = noise(5 if wrong == "bias" else weight[0])
    refused(model([conv], [X], ["y"], {"w": noise(*weight), "b": bias}), "here")


@pytest.mark.parametrize("operator", ["BatchNormalization", "Gemm", "MatMul", "Add", "Reshape"])
def test_other_operators_that_do_not_fit(operator):
    constants = {"k": noise(5), "m": noise(5, 5), "s": np.int64([7, 7])}
    inputs = {"BatchNormalization": "x k k k k", "Gemm": "v m", "MatMul": "v m", "Add": "x k",
              "Reshape": "x s"}[operator]  # fmt: skip
    nodes = [node("Constant", "", "zero", value_ints=[0]), node("Flatten", "x", "v"),
             node(operator, inputs, "y", name="here")]  # fmt: skip
    refused(model(nodes, [X], ["y"], constants), "here")


def test_types_that_do_not_fit():
    made = model([node("Add", "x k", "y", name="here")], [X], ["y"], {"k": np.int64([1])})
    refused(made, "here")


def test_shapes_that_are_not_the_models():
    with pytest.raises(ModelError, match="8"):
        load(small(), inputs={"x": (1, 7, 6, 6)})
    with pytest.raises(ModelError, match="z"):
        load(small(), inputs={"z": (1, 7, 6, 6)})


def test_functions_that_call_themselves():
    calls = helper.make_node("Again", ["v"], ["w"], domain="own")
    own = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    function = helper.make_function("own", "Again", ["v"], ["w"], [calls], own)
    called = helper.make_node("Again", ["x"], ["y"], domain="own")
    made = model([called], [X], ["y"], functions=[function])
    made.opset_import.append(helper.make_opsetid("own", 1))
    refused(made, "Again")


def test_data_that_nodes_refuse():
    nodes = [node("Conv", "x p", "a"), node("Gather", "a i", "y", name="here")]
    made = model(nodes, [X, port("i", (1,), "int64")], ["y"], {"p": POINT})
    network = load(made)
    with pytest.raises(ModelError, match="here"):
        network(IMAGE, np.int64([100]))
    assert network(IMAGE, np.int64([0])).shape == (1, 8, 6, 6)


def apart(folder: Path, location: str) -> Path:
    """Write a model whose weight lies in a file of its own, or is said to."""
    made = model([node("Conv", "x p", "y")], [X], ["y"], {"p": POINT})
    (weight,) = made.graph.initializer
    external_data_helper.set_external_data(weight, location, 0, POINT.nbytes)
    weight.ClearField("raw_data")
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def test_weights_in_files_of_their_own(tmp_path):
    (tmp_path / "weights").write_bytes(POINT.tobytes())
    path = apart(tmp_path, "weights")
    plain = model([node("Conv", "x p", "y")], [X], ["y"], {"p": POINT})
    np.testing.assert_array_equal(load(path)(IMAGE), load(plain)(IMAGE))
    with pytest.raises(ModelError, match="loaded from its file"):
        load(path.read_bytes())
    (tmp_path / "weights").write_bytes(POINT.tobytes()[:100])
    with pytest.raises(ModelError, match="'p'"):
        load(path)
    (tmp_path / "weights").unlink()
    with pytest.raises(ModelError, match="'p'"):
        load(path)


@pytest.mark.parametrize("how", ["../secret", "absolute", "link", "sub/../../secret"])
def test_weights_outside_of_the_folder(tmp_path, how):
    (tmp_path / "secret").write_bytes(POINT.tobytes())
    home = tmp_path / "home"
    (home / "sub").mkdir(parents=True)
    location = str(tmp_path / "secret") if how == "absolute" else how
    if how == "link":
        (home / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelError, match="'p'"):
        load(apart(home, location))


def test_a_caller_keeps_its_model():
    made = small()
    before = made.SerializeToString()
    load(made)
    assert made.SerializeToString() == before


def tried(data: bytes) -> str:
    """Load and call what may be a model; an error of ours or any result is fine."""
    try:
        network = load(data)
        network(*[IMAGE for _ in network.inputs])
    except DepthwiseError as error:
        return type(error).__name__ if "\n" not in str(error) else f"several lines: {error!r}"
    return "computed"


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Change, drop, repeat or insert a few bytes."""
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at, count = chance.randrange(len(found)), chance.choice((1, 1, 2, 8))
        how = chance.randrange(4)
        if how == 0:
            found[at] = chance.randrange(256)
        elif how == 1:
            del found[at : at + count]
        elif how == 2:
            found[at:at] = found[at : at + count]
        else:
            found[at] ^= 1 << chance.randrange(8)
    return bytes(found)


def attack(first: int, last: int) -> None:
    """Load mutations of these numbers; `python -c` runs it, for it may end the process."""
    data = small().SerializeToString()
    for number in range(first, last):
        print(number, tried(mutated(data, random.Random(number))), flush=True)  # noqa: T201


def attacked(first: int, last: int) -> list[str]:
    code = f"import test_onnx_files; test_onnx_files.attack({first}, {last})"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parent, timeout=3000,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert done.returncode == 0, (lines[-1:], done.stderr[-2000:])
    return lines


def test_every_prefix_of_a_file():
    data = small().SerializeToString()
    steps = {*range(0, len(data), 37), *range(len(data) - 60, len(data))}
    outcomes = {tried(data[:size]) for size in sorted(steps)}
    assert outcomes == {"ModelError"}


def test_mutated_files():
    lines = attacked(0, 300)
    assert len(lines) == 300
    assert sum(line.endswith("ModelError") for line in lines) > 30


WITHOUT = """
import importlib.util, sys

whole = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "onnxruntime" else whole(name, *more)
sys.modules["onnxruntime"] = None
import numpy as np
from depthwise.errors import ModelError
from depthwise.loading import load
x = np.ones((1, 8, 6, 6), "float32")
print(load("ours.onnx")(x).shape)
try:
    load("theirs.onnx")(x)
except ModelError as error:
    print(error)
"""


def test_without_onnx_runtime(tmp_path):
    """What kernels compute runs; the error for the rest names the operators."""
    nodes = [node("Conv", "x p", "a"), node("Relu", "a", "b"), node("GlobalAveragePool", "b", "c"),
             node("Flatten", "c", "y")]  # fmt: skip
    ours = model(nodes, [X], ["y"], {"p": POINT})
    nodes = [node("Conv", "x p", "a"), node("Sin", "a", "b"), node("Softmax", "b", "y")]
    theirs = model(nodes, [X], ["y"], {"p": POINT})
    onnx.save(ours, tmp_path / "ours.onnx")
    onnx.save(theirs, tmp_path / "theirs.onnx")
    assert left(load(ours)) == []
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    shape, error = done.stdout.splitlines()
    assert shape == "(1, 8)"
    for word in ("Sin", "Softmax", "pip install onnxruntime"):
        assert word in error


def test_a_model_of_numbers_that_onnx_keeps_apart():
    """Weights as typed fields instead of raw bytes, and sparse ones."""
    made = model([node("Conv", "x p", "y")], [X], ["y"], {"p": POINT})
    plain = load(made)(IMAGE)
    typed = helper.make_tensor("p", TensorProto.FLOAT, POINT.shape, POINT.reshape(-1).tolist())
    made.graph.initializer[0].CopyFrom(typed)
    np.testing.assert_array_equal(load(made)(IMAGE), plain)
    del made.graph.initializer[:]
    values = numpy_helper.from_array(POINT.reshape(-1), "p")
    where = numpy_helper.from_array(np.arange(POINT.size), "where")
    sparse = helper.make_sparse_tensor(values, where, POINT.shape)
    made.graph.sparse_initializer.append(sparse)
    np.testing.assert_allclose(load(made)(IMAGE), plain, rtol=1e-4, atol=1e-4)
