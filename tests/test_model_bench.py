"""`depthwise bench --op network --model`: networks that somebody has as a file."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto
from torch import nn

import depthwise as dw
from depthwise import console
from depthwise.bench import command
from depthwise.bench.inference import files, run
from depthwise.bench.options import Options
from depthwise.commands import cli
from depthwise.errors import DepthwiseError, ModelError, PeerError, SpecError
from depthwise.measure import network_files
from depthwise.measure.network_files import TOLERANCE
from depthwise.measure.process import Worker
from depthwise.network.agreement import granted
from onnx_models import model, node, noise, port
from test_network_bench import no_limits
from test_report import lines

OPEN = [-1, 3, "?", "?"]
"""Sizes of an image as some exporters leave them."""


def two_ends(shape: Any = OPEN) -> ModelProto:
    """Return a model from an image and an offset to scores and the best of them."""
    nodes = [
        node("Conv", "image depth", "a", group=3, pads=[1] * 4),
        node("Relu", "a", "b"),
        node("GlobalAveragePool", "b", "c"),
        node("Flatten", "c", "d"),
        node("Gemm", "d dense", "e", transB=1),
        node("Add", "e offset", "scores"),
        node("ArgMax", "scores", "best", axis=1),
    ]
    constants = {"depth": noise(3, 1, 3, 3), "dense": noise(5, 3)}
    inputs = [port("image", shape), port("offset", [1, 5])]
    outputs = [port("scores", [None, 5]), port("best", [None, 1], "int64")]
    return model(nodes, inputs, outputs, constants)


def written(folder: Path, made: ModelProto, name: str = "net.onnx") -> str:
    onnx.save(made, folder / name)
    return str(folder / name)


def asked(folder: Path, **options: Any) -> Options:
    return Options(**{"op": "network", "repeats": 1, "json": folder / "out.json", **options})


def benched(folder: Path, **options: Any) -> list[dict[str, Any]]:
    assert command.bench(asked(folder, plot=folder, **options)) == 0
    results: list[dict[str, Any]] = json.loads((folder / "out.json").read_text())["results"]
    return results


@pytest.fixture(autouse=True)
def _no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_measure_limits", lambda _: no_limits())


def test_a_file_of_onnx_runs_beside_the_engines_that_read_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.out, "width", console.WIDE)
    file = written(tmp_path, two_ends())
    page = tmp_path / "page.html"
    asked_for = {"model": file, "inputs": {"image": (2, 3, 8, 6)}, "html": page}
    found = benched(tmp_path, peers=["onnxruntime"], **asked_for)
    assert [(each["engine"], each["variant"], each["batch"]) for each in found] == [
        ("depthwise", "loaded", 2), ("onnxruntime", "nchwc", 2),
    ]  # fmt: skip
    for each in found:
        assert each["verified"]
        assert each["max_rel_err"] < TOLERANCE
        assert each["median_us"] > 0
        assert (each["gflops"], each["of_limit"], each["export_seconds"]) == (None, None, 0)
    out = lines(capsys.readouterr().out)
    assert "network net.onnx 2,3,8,6 1,5" in out
    assert "net.onnx 2,3,8,6 1,5" in page.read_text()
    assert (tmp_path / "network-net.onnx-2,3,8,6-1,5.png").is_file()


def test_what_was_saved_is_held_against_the_oracle(tmp_path: Path) -> None:
    file = tmp_path / "net.dw"
    dw.load(written(tmp_path, two_ends())).save(file)
    given = {"model": str(file), "inputs": [(1, 3, 8, 6)]}
    (found,) = benched(tmp_path, **given)
    assert (found["engine"], found["variant"]) == ("depthwise", "loaded")
    assert found["verified"]
    assert 0 < found["max_rel_err"] < TOLERANCE
    with pytest.raises(PeerError, match=r"net\.dw is run by depthwise; got 'onnxruntime'"):
        command.bench(asked(tmp_path, peers=["onnxruntime"], **given))


def test_the_oracle_and_onnxruntime_expect_the_same(tmp_path: Path) -> None:
    file = written(tmp_path, two_ends([1, 3, 8, 6]))
    dw.load(file).save(tmp_path / "net.dw")
    expected = []
    for number, name in enumerate((file, str(tmp_path / "net.dw"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        files.read(name, ()).write(folder)
        assert network_files.file(folder) == Path(name)
        expected.append(network_files.expected(folder))
    for one, other in zip(*expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_ours_loads_a_file_without_pytorch(tmp_path: Path) -> None:
    files.read(written(tmp_path, two_ends([1, 3, 8, 6])), ()).write(tmp_path)
    code = (
        "import sys; from pathlib import Path; from depthwise.bench.peers.ours import Engine\n"
        f"prepared = Engine(1).network(Path({str(tmp_path)!r}), 'loaded')\n"
        "prepared.run(); print(len(prepared.output()), 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.split() == ["2", "False"], done.stderr


class TwoEnds(nn.Module):
    """A network with two inputs and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        both = self.body(x + y)
        return both, both.mean((2, 3))


SHAPES = [(1, 3, 8, 8), (1, 3, 8, 8)]


def in_torch(form: str, folder: Path) -> str:
    """Return the name of a model of PyTorch's in one of its forms."""
    if form == "factory":
        return f"{__name__}:TwoEnds"
    program = torch.export.export(TwoEnds().eval(), tuple(torch.ones(each) for each in SHAPES))
    torch.export.save(program, folder / "net.pt2")
    return str(folder / "net.pt2")


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch's own, of its own
@pytest.mark.parametrize(
    ("form", "few"),
    [
        ("factory", [("depthwise", "optimized"), ("depthwise", "loaded"), ("torch", "nchw")]),
        ("exported", [("torch", "channels_last"), ("onnxruntime", "nchwc")]),
    ],
)
def test_a_model_of_pytorch_runs_as_it_is_and_as_a_file_of_onnx(
    form: str, few: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parent)  # where workers find it
    problem = files.read(in_torch(form, tmp_path), SHAPES)
    ways = run.ways(problem, ["depthwise", "torch", "onnxruntime"])
    assert len(ways) == 6
    assert set(few) < set(ways)

    def start(engine: str, _: Path) -> Worker:
        return Worker(engine, 1)

    found, notes = run.measure(problem, few, start, 1, 50.0, lambda _: None)
    assert [note.text for note in notes if note.grave] == []
    assert [(each.engine, each.variant) for each in found] == few
    macs = 64 * (3 * 9 * 8 + 8 * 4)
    for each in found:
        assert each.verified
        assert each.gflops == pytest.approx(2 * macs / each.time / 1e3)
        assert (each.export_seconds > 0) == (each.variant in ("loaded", "nchwc"))


def test_what_cannot_be_exported_to_onnx_runs_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(torch.onnx, "export", refused)
    problem = files.read(in_torch("factory", tmp_path), SHAPES)
    entries = [("depthwise", "loaded"), ("onnxruntime", "nchwc")]
    found, notes = run.measure(problem, entries, pytest.fail, 1, 50.0, lambda _: None)
    assert found == []
    assert [(note.kind, note.variant) for note in notes] == [
        ("rejected", "loaded"), ("rejected", "nchwc"),
    ]  # fmt: skip
    assert "torch.onnx.export raised RuntimeError: no such operator" in notes[0].text


def logarithm() -> ModelProto:
    return model([node("Log", "x", "y")], [port("x", [2, 3])], [port("y", [2, 3])])


def words() -> ModelProto:
    return model([node("Identity", "x", "y")], [port("x", [2], "O")], [port("y", [2], "O")])


def ragged() -> ModelProto:
    """Return a model that takes no other height than its weight has, whatever it says."""
    constants = {"w": noise(1, 3, 8, 8)}
    return model([node("Add", "x w", "y")], [port("x", OPEN)], [port("y", None)], constants)


@pytest.mark.parametrize(
    ("made", "shapes", "rule"),
    [
        (b"not a network", (), "a model is a file of ONNX, whole; got .*net.onnx"),
        (None, (), "a network is a file of ONNX.*got .*net.onnx: No such file"),
        (two_ends(), (), r"--input image=1,3,1,1; got none for image \(any, 3, \?, \?\)"),
        (two_ends(), [(1, 4, 8, 8)], r"takes, image \(any, 3, \?, \?\); got \(1, 4, 8, 8\)"),
        (two_ends(), {"x": (1, 3, 8, 8)}, "inputs of the network are image, offset, .*'x'"),
        (two_ends(), [(1, 3, 8, 8), (1, 5), (1,)], "are image, offset, each once; got 3"),
        (words(), (), r"with arrays of numbers; got string: x \(2\)"),
        (logarithm(), (), "for which its results are finite; got others in y"),
        (ragged(), {"x": (1, 3, 9, 8)}, "images that ONNX Runtime takes; got x=1,3,9,8: "),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is(
    tmp_path: Path, made: Any, shapes: Any, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_measure_limits", pytest.fail)
    file = tmp_path / "net.onnx"
    if made is not None:
        file.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    with pytest.raises(ModelError, match=rule):
        command.bench(asked(tmp_path, model=str(file), inputs=shapes, peers=[]))


def test_the_command_line_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Options] = []
    monkeypatch.setattr(command, "bench", lambda options: given.append(options) or 0)
    line = "bench --op network --model net.onnx --input x=1,3,8,8 --input y=1,5"
    assert cli.app(line.split(), standalone_mode=False) == 0
    assert given[0].model == "net.onnx"
    assert given[0].inputs == {"x": (1, 3, 8, 8), "y": (1, 5)}


@pytest.mark.parametrize(
    ("options", "error", "rule"),
    [
        ({"op": "depthwise", "model": "x.onnx"}, SpecError, "--op network; got --op depthwise"),
        ({"model": "net.pt"}, ModelError, "got net.pt, and to load a pickle runs"),
        ({"model": "net.pt2", "inputs": {"x": (1,)}}, ModelError, "have an order; got names"),
        ({"model": "net.pt2", "inputs": [(1,)]}, ModelError, "there is no such file: net.pt2"),
        ({"model": "no_module:x"}, ModelError, "no_module cannot be imported"),
        ({"model": "json:loads"}, ModelError, re.escape("json:loads() raised TypeError")),
    ],
)
def test_what_is_no_network_is_refused(
    tmp_path: Path, options: dict[str, Any], error: type[DepthwiseError], rule: str
) -> None:
    with pytest.raises(error, match=rule):
        command.bench(asked(tmp_path, **options))


def test_a_word_that_stands_for_several_sizes_fixes_none(tmp_path: Path) -> None:
    problem = files.read(written(tmp_path, two_ends(["n", 3, "?", "?"])), [(2, 3, 8, 6)])
    problem.write(tmp_path)
    assert network_files.open_sizes(tmp_path) == {"n": 2}


def test_a_deep_network_may_round_more_often(tmp_path: Path) -> None:
    layers = 400
    values = ["x", *(f"v{number}" for number in range(1, layers)), "y"]
    nodes = [node("MatMul", f"{a} w", b) for a, b in pairwise(values)]
    weight = np.eye(2, dtype=np.float32)[::-1]
    made = model(nodes, [port("x", [1, 2])], [port("y", [1, 2])], {"w": weight})
    posed = files.read(written(tmp_path, made), ()).write(tmp_path)
    assert posed.tolerance == pytest.approx(64 * np.finfo(np.float32).eps * layers**0.5)
    assert posed.tolerance > TOLERANCE


def test_a_network_that_amplifies_roundings_is_granted_more(tmp_path: Path) -> None:
    nodes = [node("Mul", "x much", "a"), node("Sin", "a", "y")]
    shape = [port(name, [1, 8]) for name in "xy"]
    made = model(nodes, shape[:1], shape[1:], {"much": np.float32(1e4)})
    posed = files.read(written(tmp_path, made), ()).write(tmp_path)
    assert 1e-3 < posed.tolerance < 0.05
    result = np.ones((1, 8), np.float32)
    assert granted(1, [result], [result]) == TOLERANCE
    assert granted(1, [result], [0 * result]) == 0.05
