"""`depthwise bench --op network`: engines whose times and mistakes are given, then real ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from depthwise import console
from depthwise.bench import command
from depthwise.bench.inference import command as inference
from depthwise.bench.inference import plot, quantized, report, run
from depthwise.bench.inference.problem import SIZES, NetworkProblem
from depthwise.bench.inference.run import NetworkResult
from depthwise.bench.networks.layers import Classifier, ConvNorm, InvertedResidual
from depthwise.bench.options import Options
from depthwise.bench.peers import ours, torch_networks
from depthwise.errors import PeerError, SpecError
from depthwise.machine import target
from depthwise.measure import environments, network_files
from depthwise.measure.catalogue import EXACT
from depthwise.measure.engine import Prepared
from depthwise.measure.memory import Memory
from depthwise.measure.network_files import TOLERANCE
from depthwise.measure.process import Hello, NetworkInfo, Worker
from depthwise.measure.roofline import Copy, Roofline
from depthwise.measure.worker import Host, differences
from test_report import lines

MEMORY = Memory(peak=300 * 2**20, grown=20 * 2**20, touched=40 * 2**20)


def no_limits() -> Roofline:
    return Roofline(1, "float32", "some-cpu", 100.0, (Copy(2**20, 50.0, "L2"),))


def tiny() -> nn.Sequential:
    return nn.Sequential(
        ConvNorm(3, 8, 3, 2, activation=nn.ReLU6),
        InvertedResidual(8, 24, 8, 3, 1, nn.ReLU6),
        Classifier(8, classes=5),
    )


@pytest.fixture(autouse=True)
def _tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a network of one block among the networks."""
    module = ModuleType("depthwise.bench.networks.tiny")
    module.tiny = tiny  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(SIZES, "tiny", 16)


class FakeWorker:
    """A worker of a network without a process."""

    def __init__(self, engine: str, time: float, error: float, fails_at: str = "") -> None:
        self.hello = Hello(engine, "1.2", ("other",), 2)
        self.time, self.error, self.fails_at = time, error, fails_at
        self.log: list[str] = []

    def __enter__(self) -> FakeWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.log.append("closed")

    def act(self, what: str) -> None:
        self.log.append(what)
        if what == self.fails_at:
            raise PeerError(f"failed while {what}")

    def network(self, folder: Path, variant: str, tolerance: float) -> NetworkInfo:
        self.act("network")
        (logits,) = network_files.expected(folder)
        assert logits.shape == (2, 5)
        assert variant == "way"
        right = self.error <= tolerance
        return NetworkInfo(3, "NHWC", "nothing", self.error * 7, right, 1.5, self.error)

    def sample(self, key: int) -> list[float]:
        self.act("sample")
        return [self.time * key]

    def memory(self, key: int) -> Memory:
        self.act("memory")
        assert key == 3
        return MEMORY


def race(*workers: FakeWorker) -> tuple[list[NetworkResult], list[str]]:
    named = {worker.hello.name: worker for worker in workers}
    steps: list[str] = []
    started: list[Path] = []

    def start(engine: str, cache: Path) -> Any:
        started.append(cache)
        return named[engine]

    entries = [(name, "way") for name in named]
    found, notes = run.measure(NetworkProblem("tiny", 2), entries, start, 3, 50.0, steps.append)
    assert len(steps) == run.steps(entries)
    assert len(set(started)) == len(workers)
    assert all(worker.log[-1] == "closed" for worker in workers)
    return found, [f"{note.kind} {note.engine}: {note.text}" for note in notes]


def test_a_result_is_a_time_rates_memory_and_what_preparing_took() -> None:
    (ours, peer), notes = race(
        FakeWorker("depthwise", 100.0, 1e-6), FakeWorker("onnxruntime", 200.0, 2e-6)
    )
    assert notes == []
    macs = 2 * (8 * 27 * 64 + 64 * (8 * 24 + 24 * 9 + 24 * 8) + 8 * 5)
    assert ours == NetworkResult(
        engine="depthwise", variant="way", op="network", layer="tiny", spec="network tiny n2",
        layout="NHWC", dtype="float32", threads=2, batch=2, clock="call", median_us=300.0,
        min_us=300.0, mad_us=0.0, gflops=2 * macs / 300e3, gbytes_per_s=None,
        of_limit=2 * macs / 300e3 / 50, verified=True,
        max_abs_err=7e-6, max_rel_err=1e-6, version="1.2",
        images_per_s=2e6 / 300, prepare_seconds=1.5, export_seconds=0.0, peak_bytes=MEMORY.peak,
        grown_bytes=MEMORY.grown, touched_bytes=MEMORY.touched,
    )  # fmt: skip
    assert peer.median_us == 600.0
    assert peer.export_seconds > 0


def test_what_is_wrong_or_fails_is_not_timed_and_the_others_are() -> None:
    wrong = FakeWorker("torch", 1.0, 2e-4)
    unprepared = FakeWorker("onnxruntime", 1.0, 0.0, fails_at="network")
    untimed = FakeWorker("openvino", 1.0, 0.0, fails_at="sample")
    found, notes = race(wrong, unprepared, untimed, FakeWorker("depthwise", 1.0, 0.0))
    assert [(result.engine, result.median_us) for result in found] == [
        ("torch", None), ("openvino", None), ("depthwise", 3.0),
    ]  # fmt: skip
    assert [result.verified for result in found] == [False, True, True]
    assert "sample" not in wrong.log
    assert "memory" not in untimed.log
    assert notes == [
        "failed onnxruntime: failed while network",
        "wrong torch: largest error 0.0002 of the largest result, at most 0.0001 is right; "
        "not timed",
        "failed openvino: failed while sample",
    ]


def result(name: str, median: float | None, **changes: Any) -> NetworkResult:
    engine, variant = name.split()
    given = {
        "engine": engine, "variant": variant, "op": "network", "layer": "tiny",
        "spec": "network tiny n2", "layout": "NCHW", "dtype": "float32", "threads": 1, "batch": 2,
        "clock": "call", "median_us": median, "min_us": median, "mad_us": median and median / 50,
        "gflops": 12.34, "gbytes_per_s": None, "of_limit": 0.25, "verified": median is not None,
        "max_abs_err": 2e-6, "max_rel_err": 1e-6, "version": "1",
        "images_per_s": median and 2e6 / median, "prepare_seconds": 1.0,
        "export_seconds": 0.0, "peak_bytes": MEMORY.peak, "grown_bytes": MEMORY.grown,
        "touched_bytes": MEMORY.touched,
    }  # fmt: skip
    return NetworkResult(**{**given, **changes})


FOUND = [
    result("torch nchw", 4000.0),
    result("depthwise optimized", 1000.0),
    result("onnxruntime nchwc", 2000.0, export_seconds=0.5),
    result("openvino nchw", None, peak_bytes=None, grown_bytes=None, touched_bytes=None),
]


def test_a_table_has_the_fastest_first_and_what_is_wrong_last(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.out, "width", console.WIDE)
    other = result("depthwise optimized", 500.0, spec="network other n1")
    report.print_results([*FOUND, other], "the conditions")
    out = lines(capsys.readouterr().out)
    assert out[:7] == [
        "the conditions",
        "",
        "network tiny n2",
        "engine ms +- ms images/s x fastest peer GFLOP/s of peak prepare s peak MiB grown MiB "
        "touched MiB error",
        "depthwise optimized 1.00 0.02 2000.0 2.00 12.3 25% 1.0 300 20 40 1.0e-06",
        "onnxruntime nchwc 2.00 0.04 1000.0 1.00 12.3 25% 1.0 + 0.5 300 20 40 1.0e-06",
        "torch nchw 4.00 0.08 500.0 0.50 12.3 25% 1.0 300 20 40 1.0e-06",
    ]
    assert out[7] == "openvino nchw WRONG 1.0 1.0e-06"
    assert "depthwise optimized 0.50 0.01 4000.0 12.3 25% 1.0 300 20 40 1.0e-06" in out
    assert out[-3:] == [
        "the fastest peer 2.00 2.00 2.00 1",
        "onnxruntime nchwc 2.00 2.00 2.00 1",
        "torch nchw 4.00 4.00 4.00 1",
    ]


def test_bars_are_drawn_of_what_has_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(plot, "save", lambda figure, _: drawn.append(figure))
    assert not plot.draw([FOUND[-1]], tmp_path / "none.png")
    assert plot.draw(FOUND, tmp_path / "bars.png")
    (figure,) = drawn
    widths = [[bar.get_width() for bar in axes.patches] for axes in figure.axes]
    assert widths == [[4.0, 2.0, 1.0], [40.0] * 3, [1.0, 1.5, 1.0]]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["torch nchw", "onnxruntime nchwc", "depthwise optimized"]


NOTHING = np.zeros((0, 4), np.float32)


@pytest.mark.parametrize(
    ("got", "expected", "errors"),
    [
        ([[1.0, -4.0]], [[1.0, -4.0]], (0.0, 0.0)),
        ([[1.0004, -4.0]], [[1.0, -4.0]], (4e-4, 1e-4)),
        ([[1.0, np.nan]], [[1.0, -4.0]], (np.inf, np.inf)),
        ([1.0, -4.0], [[1.0, -4.0]], (np.inf, np.inf)),
        ([[1, 2, 3, 5]], [[1, 2, 3, 4]], (0.25, 0.25)),
        ([[True, False]], [[True, True]], (0.5, 0.5)),
        ([0.5], [0.0], (0.5, np.inf)),
        (NOTHING, NOTHING, (0.0, 0.0)),
    ],
)
def test_errors_are_relative_to_the_largest_result(
    got: Any, expected: Any, errors: tuple[float, float]
) -> None:
    assert differences([np.array(got)], [np.array(expected)]) == pytest.approx(errors)


def test_the_worst_of_several_results_counts_and_none_may_be_missing() -> None:
    small, large = np.array([1e-3, 2e-3]), np.array([100.0, 200.0])
    errors = differences([small + 2e-6, large + 1e-3], [small, large])
    assert errors == pytest.approx((1e-3, 1e-3), rel=1e-6)
    assert differences([small], [small, large]) == (np.inf, np.inf)


class Given:
    """An engine that returns what it was given."""

    def __init__(self, *results: Any) -> None:
        self.results = [np.array(each) for each in results]

    def network(self, *_: object) -> Prepared:
        return Prepared(lambda: None, lambda: self.results, "NCHW", "nothing")


@pytest.mark.parametrize(
    ("expected", "got", "right"),
    [
        ([[1.0, -4.0]], [[1.0003, -4.0]], True),
        ([[1.0, -4.0]], [[1.0005, -4.0]], False),
        ([[1.0, 1.0]], [[1.0, 1.0]], False),
        ([0.0], [0.0], False),
        ([[0.25]], [[0.25]], True),
    ],
)
def test_results_are_right_within_a_tolerance_where_they_say_something(
    tmp_path: Path, expected: Any, got: Any, right: bool
) -> None:
    x = np.ones((1, 2), np.float32)
    network_files.write(tmp_path, {"x": x}, {"y": np.array(expected)})
    engine: Any = Given(got)
    answer = Host(engine).network(str(tmp_path), "way", TOLERANCE)
    assert answer["verified"] == right


@pytest.mark.parametrize(
    ("options", "error", "rule"),
    [
        ({"workloads": ["resnet"]}, SpecError, "a network is one of .*got 'resnet'"),
        ({"batch": 0}, SpecError, "batch is at least 1; got 0"),
        (
            {"dtype": "float64"},
            SpecError,
            "measured in float32, or beside that in int8; got float64",
        ),
        ({"dtype": "int8", "model": "x.onnx"}, SpecError, "--model is measured alone and as it is"),
        ({"layers": Path("x.json")}, SpecError, "takes no layers; got x.json"),
        ({"cpu": "x86-64-v3"}, SpecError, "takes no target; got x86-64-v3"),
        ({"peers": ["tvm"]}, PeerError, "run by depthwise, torch, onnxruntime, .*got 'tvm'"),
        ({"inputs": [(1, 3)]}, SpecError, r"--input gives sizes of a --model; got \[\(1, 3\)\]"),
        ({"model": "x.onnx", "batch": 2}, SpecError, "--model is measured alone"),
    ],
)
def test_what_is_no_network_is_refused(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], rule: str
) -> None:
    with pytest.raises(error, match=rule):
        inference.bench(Options(op="network", json=tmp_path / "out.json", **options), no_limits)


def test_every_engine_is_given_the_same_network(tmp_path: Path) -> None:
    posed = torch_networks.write(tmp_path, NetworkProblem("tiny", 2, seed=4))
    assert posed.macs > 0
    (images,) = network_files.inputs(tmp_path).values()
    (logits,) = network_files.outputs(tmp_path).values()
    assert images.shape == (2, 3, 16, 16)
    assert logits.dtype == np.float32
    assert np.all(np.isnan(logits))
    graph = onnx.load(tmp_path / network_files.ONNX).graph
    assert [len(ends) for ends in (graph.input, graph.output)] == [1, 1]
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
    network = torch.load(tmp_path / network_files.MODULE, weights_only=False)
    assert not network.training
    with torch.inference_mode():
        got = network(torch.from_numpy(images)).numpy()
    _, error = differences([got], network_files.expected(tmp_path))
    assert 0 < error < 1e-5


def test_networks_are_measured_beside_engines_that_are_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "out.json"
    given = {"op": "network", "workloads": ["tiny"], "repeats": 2, "batch": 2, "threads": 2}
    page = tmp_path / "page.html"
    options = Options(**given, peers=["onnxruntime"], json=file, plot=tmp_path, html=page)
    assert command.bench(options) == 0
    assert "MiB touched by a call" in page.read_text()
    results = json.loads(file.read_text())["results"]
    assert [(each["engine"], each["threads"]) for each in results] == [
        ("depthwise", 2), ("onnxruntime", 2),
    ]  # fmt: skip
    for result in results:
        assert result["verified"]
        assert 0 < result["max_rel_err"] < TOLERANCE
        assert result["prepare_seconds"] > 0
        assert result["touched_bytes"] > 0
    assert "network tiny n2" in capsys.readouterr().out
    assert (tmp_path / "network-tiny-n2.png").is_file()


def test_engines_that_are_not_installed_are_named_with_what_installs_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []
    present = {"depthwise": "1", "torch": "2", "tvm": "3"}
    monkeypatch.setattr(environments, "installed_version", present.get)
    monkeypatch.setattr(run, "measure", lambda _, entries, *__: (asked.append(entries) or [], []))
    inference.bench(
        Options(op="network", workloads=["tiny"], json=tmp_path / "out.json"), no_limits
    )
    assert [engine for engine, _ in asked[0]] == ["depthwise", *["torch"] * 3]
    told = capsys.readouterr().err
    assert "openvino is not installed; this installs it: depthwise peers install openvino" in told
    assert "mxnet" not in told
    monkeypatch.setattr(environments, "installed_version", {"depthwise": "1"}.get)
    with pytest.raises(PeerError, match="torch is not installed; this installs it: pip install"):
        inference.bench(
            Options(op="network", workloads=["tiny"], json=tmp_path / "out.json"), no_limits
        )


def test_a_network_takes_as_many_threads_as_were_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = ours.Engine(2)
    monkeypatch.setattr(ours.team, "size", lambda: 3)
    with pytest.raises(PeerError, match="a network takes 2 threads; got 3"):
        engine.network(tmp_path, "optimized")


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(way, id=" ".join(way), marks=pytest.mark.slow if "compiled" in way else ())
        for way in run.ways(NetworkProblem("mobilenet_v1"), ["torch", "onnxruntime"])
    ]
    + [pytest.param(("openvino", "nchw"), marks=pytest.mark.peers)],
)
def test_a_peer_runs_a_network_rightly(tmp_path: Path, way: tuple[str, str]) -> None:
    engine, variant = way
    if environments.installed_version(engine) is None:
        pytest.skip(f"{engine} is not installed")
    torch_networks.write(tmp_path, NetworkProblem("tiny", 2))
    with Worker(engine, 1, variables={"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}) as worker:
        prepared = worker.network(tmp_path, variant, TOLERANCE)
        assert prepared.verified
        assert min(worker.sample(prepared.key)) > 0
        assert worker.memory(prepared.key).touched > 0


def test_networks_are_measured_in_whole_numbers_behind_themselves(tmp_path: Path) -> None:
    words: list[str] = []
    networks = [NetworkProblem("tiny")]
    plain, whole = quantized.problems(networks, tmp_path, words.append)
    assert words == ["quantize network tiny n1"]
    assert [each.network for each in (plain, whole)] == ["tiny.onnx", "tiny.int8.onnx"]
    assert EXACT not in plain.variants("onnxruntime")
    saturates = target.named(None).dots != "quads"
    assert (EXACT in whole.variants("onnxruntime")) == saturates
    folders = [tmp_path / name for name in ("plain", "whole")]
    for folder in folders:
        folder.mkdir()
    assert whole.write(folders[1]).tolerance > plain.write(folders[0]).tolerance
