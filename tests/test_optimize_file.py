"""`depthwise optimize model.onnx`, and the report of a loaded network."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import depthwise as dw
from depthwise import drawing
from depthwise.commands import optimize_file
from depthwise.commands.cli import app
from depthwise.errors import DepthwiseError, ModelError
from depthwise.machine import team
from depthwise.onnx import measuring, runtime
from onnx_models import model, node, noise, port

RUN = CliRunner()


@pytest.fixture
def file(tmp_path):
    """Return a file: a depthwise convolution, a pooling that is left to ONNX Runtime, a product."""
    made = model(
        [
            node("Conv", "x w", "c", group=8, pads=[1, 1, 1, 1]),
            node("LpPool", "c", "m", kernel_shape=[2, 2], strides=[2, 2]),
            node("Conv", "m v", "y"),
        ],
        [port("x", ["n", 8, "h", "w"])], ["y"],
        {"w": noise(8, 1, 3, 3), "v": noise(4, 8, 1, 1)},
    )  # fmt: skip
    path = tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def test_the_report_says_what_became_of_each_part(file):
    net = dw.load(file, inputs=[(1, 8, 6, 6)])
    kinds = [part.kind for part in net.report.parts]
    assert kinds == ["depthwise", "call", "pointwise"]
    plans = [part.plan is not None for part in net.report.parts]
    assert plans == [True, False, True]
    assert "left to onnxruntime: LpPool: no kernel computes it" in str(net)
    assert "LpPool" in net._repr_html_()


def test_plans_are_known_when_kernels_are_ready(file):
    net = dw.load(file)
    assert {part.plan for part in net.report.parts} == {None}
    net(np.zeros((1, 8, 6, 6), np.float32))
    assert net.report.parts[0].plan is not None


def test_the_command_measures_beside_onnx_runtime(file, tmp_path):
    fast = tmp_path / "fast.dw"
    line = ["optimize", str(file), "--input", "x=1,8,6,6", "--threads", "1", "--save", str(fast)]
    done = RUN.invoke(app, [*line, "--json"])
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert [part["kind"] for part in value["parts"]] == ["copy", "depthwise", "call", "pointwise"]
    measured = value["measured"]
    assert measured["reference"] == "ONNX Runtime"
    assert measured["largest_difference"] <= measured["tolerance"]
    assert measured["speedup"] == measured["reference_us"] / measured["total_us"]
    ends = [part["begin_us"] + part["us"] for part in value["parts"]]
    assert all(end <= part["begin_us"] for end, part in zip(ends, value["parts"][1:], strict=False))
    assert 0 < value["parts"][0]["begin_us"] <= ends[-1] <= measured["total_us"]
    outside, took = value["outside"], sum(part["us"] for part in value["parts"])
    assert outside["between_us"] == pytest.approx(measured["total_us"] - took) != 0
    x = noise(1, 8, 6, 6)
    assert (dw.load(fast)(x) == dw.load(file)(x)).all()


def test_the_picture_is_drawn_and_the_network_saved(file, tmp_path):
    picture, fast = tmp_path / "new" / "timeline.png", tmp_path / "fast.dw"
    line = ["optimize", str(file), "--input", "1,8,6,6", "--threads", "1"]
    done = RUN.invoke(app, [*line, "--plot", str(picture), "--save", str(fast)])
    assert done.exit_code == 0, done.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert fast.exists()


@pytest.mark.parametrize(
    ("picture", "installed", "said"),
    [
        ("/dev/null/timeline.png", True, "a file that can be written"),
        ("timeline.nosuch", True, "a file whose suffix is one of"),
        ("{folder}/timeline.png", False, "a plot needs matplotlib"),
    ],
)
def test_a_picture_that_cannot_be_drawn_is_refused_before_anything_is_done(
    file, monkeypatch, tmp_path, picture, installed, said
):
    monkeypatch.setattr(optimize_file, "load", lambda *_, **__: pytest.fail("it was loaded"))
    monkeypatch.setattr(drawing, "can_draw", lambda: installed)
    done = RUN.invoke(app, ["optimize", str(file), "--plot", picture.format(folder=tmp_path)])
    assert isinstance(done.exception, DepthwiseError)
    assert said in str(done.exception)
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]


def test_the_table_names_what_is_left(file):
    done = RUN.invoke(app, ["optimize", str(file), "--input", "1,8,6,6", "--threads", "1"])
    assert done.exit_code == 0, done.output
    assert re.search(r"left to onnxruntime: LpPool: [0-9.]+% of a call: no kernel", done.stdout)
    assert "outside our kernels: " in done.stdout
    assert "without what is left, a call would take" in done.stdout


def test_a_wrong_result_is_refused(file, monkeypatch):
    net = dw.load(file, inputs=[(1, 8, 6, 6)])

    class Wrong:
        def __init__(self, execution):
            self.execution = execution

        def __call__(self, arrays):
            return [result + 1 for result in self.execution(arrays)]

    net._executions = {key: Wrong(each) for key, each in net._executions.items()}
    with pytest.raises(ModelError, match="for rounding"):
        measuring.measured(net, file)


@pytest.mark.parametrize("threads", [1, 3])
def test_both_run_on_as_many_threads_as_the_network(file, monkeypatch, threads):
    net = dw.load(file, inputs=[(1, 8, 6, 6)], threads=threads)
    asked = []

    def session_of(model, threads, entry):
        asked.append(threads)
        return runtime.session_of(model, threads, entry)

    monkeypatch.setattr(measuring, "session_of", session_of)
    report = measuring.measured(net, file)
    assert asked == [threads]
    assert report.measured.conditions.startswith(team.in_words(threads))


def loaded(folder, nodes, inputs, outputs, constants=None):
    """Return a network, and the file that it was read from."""
    path = folder / "model.onnx"
    path.write_bytes(model(nodes, inputs, outputs, constants).SerializeToString())
    return dw.load(path), path


def test_a_network_that_amplifies_roundings_is_granted_more(tmp_path):
    nodes = [node("Mul", "x much", "a"), node("Sin", "a", "s"), node("Conv", "s w", "y")]
    constants = {"much": np.float32(1e4), "w": noise(4, 8, 1, 1)}
    net, path = loaded(tmp_path, nodes, [port("x", [1, 8, 6, 6])], ["y"], constants)
    measured = measuring.measured(net, path).measured
    assert 1e-3 < measured.tolerance <= 0.05


def test_whole_numbers_are_not_held_against(tmp_path):
    nodes = [node("Conv", "x w", "c"), node("ArgMax", "c", "y", axis=1)]
    outputs = [port("y", None, "int64")]
    net, path = loaded(
        tmp_path, nodes, [port("x", [1, 8, 6, 6])], outputs, {"w": noise(4, 8, 1, 1)}
    )
    assert measuring.measured(net, path).measured.largest_difference == 0


@pytest.mark.parametrize(
    ("operator", "kind", "said"),
    [
        ("Log", "float32", "for which its results are finite; got others in y"),
        ("StringNormalizer", "object", "arrays of numbers"),
    ],
)
def test_results_that_nothing_is_held_against_are_refused(tmp_path, operator, kind, said):
    net, path = loaded(
        tmp_path, [node(operator, "x", "y")], [port("x", [8], kind)], [port("y", [8], kind)]
    )
    with pytest.raises(ModelError, match=said):
        measuring.measured(net, path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["missing.onnx"], "no such file"),
        (["{file}", "--input", "y=1,8,6,6"], "the inputs of the model are x"),
        (["{file}", "--input", "1,8,6"], "sizes"),
        (["{file}", "--input", "1,8,6,6", "--input", "1"], "for each input"),
        (["{file}", "--input", "x"], "as 1,3,224,224"),
        (["model.pt2"], "needs the sizes of its inputs"),
    ],
)
def test_what_does_not_fit_is_refused(file, line, said):
    done = RUN.invoke(app, ["optimize", *(word.format(file=file) for word in line)])
    assert done.exit_code != 0
    assert said in str(done.exception)
