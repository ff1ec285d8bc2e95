"""`depthwise run`: what it computes and writes, and how it refuses before it computes."""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import depthwise as dw
from depthwise.commands import cli
from depthwise.network.execution import Execution
from test_streaming import causal

pytestmark = pytest.mark.usefixtures("one_process")

X, Y = (np.random.default_rng(n).standard_normal((1, 8, 6, 6)).astype(np.float32) for n in (0, 1))


def model():
    """Return a model of two inputs and two outputs."""
    weight = np.random.default_rng(2).standard_normal((8, 1, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "weight"], ["a"], pads=[1] * 4, group=8),
            helper.make_node("Add", ["a", "y"], ["file"]),
            helper.make_node("Relu", ["a"], ["b"]),
        ],
        "two",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, X.shape) for n in ("x", "y")],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, X.shape) for n in ("file", "b")],
        [numpy_helper.from_array(weight, "weight")],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


@pytest.fixture(scope="module")
def expected():
    return dw.load(model()).run({"x": X, "y": Y})


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run the command where models and arrays are; return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    net = dw.load(model())
    net.save("two.dw")
    (tmp_path / "two.onnx").write_bytes(model().SerializeToString())
    np.save("x.npy", X)
    np.save("y.npy", Y)
    np.savez("both.npz", x=X, y=Y)

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["depthwise", "run", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code or 0, *capsys.readouterr()

    return command


@pytest.mark.parametrize(
    "inputs",
    [("x.npy", "y.npy"), ("y=y.npy", "x=x.npy"), ("y=y.npy", "x.npy"), ("both.npz",)],
    ids=" ".join,
)
@pytest.mark.parametrize("name", ["two.dw", "two.onnx"])
def test_inputs_come_in_their_order_by_name_or_together(run, expected, name, inputs):
    options = [word for each in inputs for word in ("--input", each)]
    code, out, err = run(name, *options, "--output", "out.npz")
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"out.npz: {n} float32 (1, 8, 6, 6)" for n in ("file", "b")]
    with np.load("out.npz") as written:
        assert [*written] == [*expected]
        for key, array in expected.items():
            np.testing.assert_array_equal(written[key], array)


def test_json_says_what_it_was_and_how_long_a_call_takes(run):
    code, out, _ = run(
        "two.dw", "--input", "both.npz", "--output", "o.npz", "--json", "--threads", "1"
    )
    assert code == 0
    said = json.loads(out)
    assert [each["name"] for each in said["outputs"]] == ["file", "b"]
    assert said["inputs"][0] == {"name": "x", "shape": [1, 8, 6, 6], "dtype": "float32"}
    assert 0 < said["call_us"]["min"] <= said["call_us"]["median"]
    assert said["ready_s"] > 0


REFUSED = {
    "no such model": (["none.dw", "--input", "x.npy", "--output", "o.npz"], "none.dw"),
    "no such array": (["two.dw", "--input", "none.npy", "--output", "o.npz"], "none.npy"),
    "an input too few": (["two.dw", "--input", "x.npy", "--output", "o.npz"], "x, y, each once"),
    "an input twice": (
        ["two.dw", "--input", "x.npy", "--input", "x=x.npy", "--output", "o.npz"], "each once",
    ),
    "another name": (
        ["two.dw", "--input", "z=x.npy", "--input", "y.npy", "--output", "o.npz"], "z=x.npy",
    ),
    "several in one": (["two.dw", "--input", "both.npz", "--output", "o.npy"], "npz"),
    "another shape": (["two.dw", "--input", "odd.npz", "--output", "o.npz"], "sizes"),
    "no array": (["two.dw", "--input", "two.dw", "--output", "o.npz"], "two.dw"),
    "pickled": (["two.dw", "--input", "pickled.npy", "--output", "o.npz"], "pickled.npy"),
    "no place": (["two.dw", "--input", "both.npz", "--output", "."], "can be written"),
    "no model": (["x.npy", "--input", "both.npz", "--output", "o.npz"], "ONNX"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), REFUSED.values(), ids=[*REFUSED])
def test_what_does_not_fit_is_refused_before_anything_is_computed(
    run, monkeypatch, arguments, said
):
    np.savez("odd.npz", x=X[:, :3], y=Y)
    np.save("pickled.npy", np.array([{}]), allow_pickle=True)
    monkeypatch.setattr(Execution, "__call__", None)
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("depthwise: ")
    assert said in " ".join(err.split())
    assert not os.path.exists("o.npz")


def test_chunks_are_streamed(run, tmp_path):
    """Along the last axis or another; the results lie one behind the other."""
    made = causal()
    (tmp_path / "causal.onnx").write_bytes(made.SerializeToString())
    sound = np.random.default_rng(3).standard_normal((1, 8, 40)).astype(np.float32)
    np.save("sound.npy", sound)
    wanted = dw.load(made).stream()(sound)
    arguments = "causal.onnx", "--input", "x=sound.npy", "--output", "y.npy", "--chunk", "7"
    for more in ([], ["--axis", "2"]):
        code, out, err = run(*arguments, *more)
        assert (code, err, out) == (0, "", "y.npy: y float32 (1, 8, 40)\n")
        np.testing.assert_array_equal(np.load("y.npy"), wanted)
    for more, words in [
        (["--axis", "3"], "along an axis that it has (--axis); got axis 3 of (1, 8, 40)"),
        (["--chunk", "0"], "a chunk has 1 element or more"),
    ]:
        code, out, err = run(*arguments, *more)
        assert (code, out) == (2, "")
        assert words in " ".join(err.split())
    code, _, err = run("two.dw", "--input", "both.npz", "--output", "y.npz", "--chunk", "7")
    assert code == 2
    assert "none is known by its name" in " ".join(err.split())


def test_a_file_with_variables_is_streamed_as_a_whole(run, tmp_path):
    pytest.importorskip("ai_edge_litert")
    from test_tflite_variables import CHUNKS, keywords

    (tmp_path / "keywords.tflite").write_bytes(keywords())
    np.save("frame.npy", CHUNKS[0])
    code, _, err = run("keywords.tflite", "--input", "frame.npy", "--output", "y.npy")
    assert (code, err) == (0, "")
    np.testing.assert_array_equal(np.load("y.npy"), dw.load(keywords())(CHUNKS[0]))


def test_code_is_run_where_it_is_trusted(run, expected, tmp_path):
    dw.load(tmp_path / "two.dw").save("code.dw", with_code=True)
    arguments = "code.dw", "--input", "both.npz", "--output", "o.npz"
    for more in ([], ["--trust"]):
        assert run(*arguments, *more)[0] == 0
        with np.load("o.npz") as written:
            np.testing.assert_array_equal(written["b"], expected["b"])
