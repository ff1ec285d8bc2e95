"""The benchmark without a clock: engines whose times and mistakes are given."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

import pytest

from depthwise import files
from depthwise.bench import command, layers, run
from depthwise.bench.options import Op, Options, cores, names
from depthwise.bench.results import Note, Result
from depthwise.commands import cli
from depthwise.errors import DepthwiseError, PeerError, SpecError, TargetError
from depthwise.measure import posed, roofline, state, streams
from depthwise.measure.process import Hello, PreparedInfo, Rejected, Worker
from depthwise.measure.roofline import Copy, Roofline
from depthwise.problem.costs import cost
from depthwise.problem.parse import parse
from depthwise.problem.problem import Problem
from depthwise.problem.training import PassKind

LIMITS = Roofline(1, "float32", "some-cpu", 100.0, (Copy(2**20, 50.0, "L2"),))
SPEC = parse("depthwise c16 hw14 k3 p1")
OTHER = parse("depthwise c32 hw7 k5 p2")


@dataclass
class Behaviour:
    """What a fake engine does."""

    times: tuple[float, ...] = (10.0,)
    verified: bool = True
    error: float = 1e-6
    rejects: str | None = None
    fails_at: str = ""
    dies_at: str = ""


@dataclass(eq=False)
class FakeWorker:
    """A worker with one variant, without a process."""

    engine: str
    behaviour: Behaviour
    log: list[str]
    alive: bool = True
    ready: set[int] = field(default_factory=set)

    @property
    def hello(self) -> Hello:
        return Hello(self.engine, "1.2", ("only",), 1)

    def act(self, what: str) -> None:
        self.log.append(f"{self.engine} {what}")
        assert self.alive
        if what in (self.behaviour.fails_at, self.behaviour.dies_at):
            self.alive = what != self.behaviour.dies_at
            raise PeerError(f"{self.engine} failed while {what}")

    def prepare(
        self, spec: Problem, _variant: str, _clock: str, *, folder: Path
    ) -> PreparedInfo | Rejected:
        self.act("prepare")
        wanted = posed.read(folder, spec)[1]
        if not streams.has_state(spec):
            assert wanted.shape == spec.output_shape
        if self.behaviour.rejects:
            return Rejected(self.behaviour.rejects)
        self.ready.add(7)
        return PreparedInfo(
            7, "NCHW", "nothing", self.behaviour.error, self.behaviour.verified, 0.1
        )

    def sample(self, key: int) -> list[float]:
        self.act("sample")
        assert key in self.ready
        done = sum(line == f"{self.engine} sample" for line in self.log)
        return [self.behaviour.times[(done - 1) % len(self.behaviour.times)]]

    def release(self, key: int) -> None:
        self.act("release")
        self.ready.remove(key)


def race(
    behaviours: dict[str, Behaviour],
    problems: tuple[Any, ...] = (SPEC,),
    repeats: int = 3,
) -> tuple[list[run.Outcome], list[str]]:
    log: list[str] = []
    workers: Any = [FakeWorker(name, does, log) for name, does in behaviours.items()]
    entries = run.contestants(workers)
    conditions = run.Conditions("depthwise", "kernel", repeats, LIMITS)
    steps: list[str] = []
    named = dict.fromkeys(problems, "a layer")
    outcomes = list(run.measure(named, entries, conditions, steps.append))
    assert len(steps) == run.steps(named, entries)
    return outcomes, log


def test_a_result_is_times_rates_and_what_they_are_of() -> None:
    ((outcome,), _) = race({"torch": Behaviour(times=(10.0, 12.0, 11.0))})
    work = cost(SPEC)
    assert outcome.results == [
        Result(
            engine="torch", variant="only", op="depthwise", layer="a layer", spec=str(SPEC),
            layout="NCHW", dtype="float32", threads=1, batch=1, clock="kernel", median_us=11.0,
            min_us=10.0, mad_us=1.0, gflops=work.flops / 11e3, gbytes_per_s=work.bytes / 11e3,
            of_limit=LIMITS.limit_us(work.flops, work.bytes) / 11.0, verified=True,
            max_abs_err=1e-6, version="1.2",
        )
    ]  # fmt: skip


def test_the_limit_of_a_block_is_that_of_one_kernel() -> None:
    spec = parse("inverted c4 e8 o4 hw10 k3 p1 residual")
    ((outcome,), _) = race({"torch": Behaviour(times=(10.0,))}, problems=(spec,))
    (found,) = outcome.results
    flops = 2 * 100 * (4 * 8 + 9 * 8 + 8 * 4)
    nbytes = 4 * (2 * 400 + 4 * 8 + 9 * 8 + 8 * 4)
    assert found.gflops == pytest.approx(flops / 10e3)
    assert found.gbytes_per_s == pytest.approx(nbytes / 10e3)
    assert found.of_limit == pytest.approx(max(flops / 100e3, nbytes / 50e3) / 10)


def test_everyone_is_verified_before_anyone_is_timed_and_times_alternate() -> None:
    _, log = race({"a": Behaviour(), "b": Behaviour()}, repeats=2)
    assert log == [
        "a prepare", "b prepare", "a sample", "b sample", "a sample", "b sample",
        "a release", "b release",
    ]  # fmt: skip


def test_a_wrong_engine_is_named_and_never_timed() -> None:
    ((outcome,), log) = race({"bad": Behaviour(verified=False, error=3.5), "good": Behaviour()})
    wrong, right = outcome.results
    assert "bad sample" not in log
    assert (wrong.verified, wrong.median_us, wrong.gflops, wrong.max_abs_err) == (
        False, None, None, 3.5,
    )  # fmt: skip
    assert right.median_us == 10.0
    (note,) = outcome.notes
    assert (note.kind, note.contestant, note.grave) == ("wrong", "bad only", True)
    assert note.text == "largest error 3.5 against the oracle; not timed"


def test_an_error_that_is_not_finite_has_no_number() -> None:
    ((outcome,), _) = race({"bad": Behaviour(verified=False, error=float("inf"))})
    assert outcome.results[0].max_abs_err is None


def test_a_rejected_problem_has_a_reason_and_no_result() -> None:
    ((outcome,), _) = race({"picky": Behaviour(rejects="no float64")})
    assert outcome.results == []
    assert outcome.notes == [Note("rejected", "picky", "only", str(SPEC), "no float64")]


@pytest.mark.parametrize("moment", ["prepare", "sample"])
def test_an_engine_that_fails_leaves_the_others_their_results(moment: str) -> None:
    outcomes, log = race(
        {"weak": Behaviour(fails_at=moment), "good": Behaviour()}, problems=(SPEC, OTHER)
    )
    for outcome in outcomes:
        assert [r.engine for r in outcome.results if r.median_us] == ["good"]
        (note,) = outcome.notes
        assert (note.kind, note.text) == ("failed", f"weak failed while {moment}")
    assert log.count(f"weak {moment}") == 2


@pytest.mark.parametrize("moment", ["prepare", "sample", "release"])
def test_an_engine_that_dies_is_asked_nothing_more(moment: str) -> None:
    outcomes, log = race(
        {"mortal": Behaviour(dies_at=moment), "good": Behaviour()}, problems=(SPEC, OTHER)
    )
    assert log.count("mortal prepare") == 1
    assert [r.engine for r in outcomes[1].results] == ["good"]


def test_scattered_times_are_called_unstable() -> None:
    ((outcome,), _) = race({"jumpy": Behaviour(times=(1.0, 90.0, 15.0))})
    assert [note.kind for note in outcome.notes] == ["unstable"]
    assert outcome.results[0].median_us == 15.0


@pytest.mark.parametrize("times", [(-1.0, 2.0, -3.0), (-2.0, 12.0, 30.0)])
def test_a_difference_lost_in_noise_is_no_time(times: tuple[float, ...]) -> None:
    ((outcome,), _) = race({"chain": Behaviour(times=times)})
    assert outcome.results[0].median_us is None
    assert outcome.notes[0].text.endswith("; not taken")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A bench whose limits are given, in a folder of its own."""
    monkeypatch.setattr(roofline, "measure", lambda *_: LIMITS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Engines in processes of their own: fakes.right computes the oracle, fakes.wrong ones."""
    package = tmp_path / "fakes"
    package.mkdir()
    (package / "__init__.py").touch()
    source = """
import numpy as np
from depthwise.problem import reference
from depthwise.measure.engine import Prepared

class Engine:
    name = "NAME"
    variants = ("only",)
    def __init__(self, threads): pass
    def version(self): return "3"
    def threads(self): return 1
    def rejects(self, spec, variant, clock): return None
    def prepare(self, spec, variant, clock, arrays):
        y = reference.forward(spec, *arrays[:-1])
        return Prepared(lambda: None, lambda: RESULT, "NCHW", "everything")
"""
    for name, result in (("right", "y"), ("wrong", "np.ones_like(y)")):
        text = source.replace("NAME", name).replace("RESULT", result)
        (package / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


SMALL = [
    {"c": 8, "h": 6, "w": 6, "k": 3, "pad": 1, "name": "first"},
    {"c": 12, "h": 6, "w": 6, "k": 3, "pad": 1, "name": "second"},
    {"c": 16, "h": 6, "w": 6, "k": 3, "pad": 1, "name": "third"},
]


def small(folder: Path, **options: Any) -> Options:
    file = folder / "layers.json"
    file.write_text(json.dumps(SMALL))
    usual: dict[str, Any] = {"layers": file, "repeats": 2, "json": folder / "out.json"}
    return Options(**{**usual, "plot": folder, **options})


@pytest.mark.usefixtures("engines")
def test_the_whole_bench(quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    peers, page = ["fakes.right", "fakes.wrong"], quick / "page.html"
    assert command.bench(small(quick, peers=peers, html=page)) == 0
    assert "WRONG" in page.read_text()
    found = json.loads((quick / "out.json").read_text())
    assert list(found) == ["machine", "limits", "results"]
    assert found["limits"][0]["peak_gflops"] == 100.0
    assert found["machine"]["packages"]["numpy"]
    for result in found["results"]:
        assert list(result) == [each.name for each in fields(Result)]
        assert result["verified"] == (result["engine"] != "wrong")
        assert (result["median_us"] is None) == (result["engine"] == "wrong")
    assert {result["layer"] for result in found["results"]} == {"first", "second", "third"}
    assert {result["engine"] for result in found["results"]} == {"depthwise", "right", "wrong"}
    output = capsys.readouterr()
    assert "Our fastest beside the fastest peer" in output.out
    assert "WRONG: wrong only on depthwise c8 hw6 k3 p1" in output.err
    for picture in ("channels.png", "roofline.png"):
        assert (quick / picture).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("op", get_args(PassKind))
def test_a_bench_of_passes(quick: Path, monkeypatch: pytest.MonkeyPatch, op: Any) -> None:
    use_fakes(monkeypatch, {"depthwise": Behaviour(), "x.y": Behaviour(times=(30.0,))})
    assert command.bench(small(quick, op=op, batch=2, peers=["x.y"])) == 0
    found = json.loads((quick / "out.json").read_text())["results"]
    assert {result["op"] for result in found} == {op}
    assert found[0]["spec"] == f"{op} depthwise n2 c8 hw6 k3 p1"
    assert found[0]["gflops"] == pytest.approx(cost(found[0]["spec"]).flops / 10e3)


def test_a_bench_of_causal_convolutions(
    quick: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = {"c": 8, "h": 1, "w": 6, "k": [1, 4], "pad": [[0, 0], [3, 0]], "activation": "silu"}
    layers_of = [{**line, "state": 3, "batch": 2, "name": "step"}, {**line, "name": "whole"}]
    (quick / "causal.json").write_text(json.dumps(layers_of))
    use_fakes(monkeypatch, {"depthwise": Behaviour(), "x.y": Behaviour(times=(30.0,))})
    given = small(
        quick, op="causal", layers=quick / "causal.json", epilogue="network", layout="nhwc",
        peers=["x.y"], html=quick / "page.html",
    )  # fmt: skip
    assert command.bench(given) == 0
    found = json.loads((quick / "out.json").read_text())["results"]
    assert [(each["spec"], each["layer"]) for each in found[::2]] == [
        ("causal n2 c8 l6 k4 nlc silu state3", "step"),
        ("causal c8 l6 k4 nlc silu", "whole"),
    ]
    assert found[0]["gbytes_per_s"] == pytest.approx(cost(found[0]["spec"]).bytes / 10e3)
    assert "causal c8 l6 k4 nlc silu  (whole)" in capsys.readouterr().out
    page = (quick / "page.html").read_text()
    assert "<dt>layout of the arrays given</dt>\n<dd>NLC</dd>" in page


def test_engines_have_ways_of_their_own_with_some_kinds() -> None:
    class Special(FakeWorker):
        @property
        def hello(self) -> Hello:
            return Hello(self.engine, "1", ("only",), 1, {"causal": ["one", "two"]})

    workers: Any = [Special("x", Behaviour(), []), FakeWorker("y", Behaviour(), [])]
    named = {kind: [*map(str, run.contestants(workers, kind))] for kind in ("depthwise", "causal")}
    assert named == {"depthwise": ["x only", "y only"], "causal": ["x one", "x two", "y only"]}


def test_ours_wrong_is_exit_code_one(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_fakes(monkeypatch, {"depthwise": Behaviour(verified=False)})
    assert command.bench(small(quick, peers=[])) == 1


def test_a_wrong_peer_is_not_our_failure(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_fakes(monkeypatch, {"depthwise": Behaviour(), "x.y": Behaviour(verified=False)})
    assert command.bench(small(quick, peers=["x.y"])) == 0


def test_an_interruption_keeps_what_was_complete(
    quick: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = use_fakes(monkeypatch, {"depthwise": Behaviour(), "x.y": Behaviour()})
    act = FakeWorker.act

    def interrupted(self: FakeWorker, what: str) -> None:
        if log.count("x.y release") == 1 and what == "sample":
            raise KeyboardInterrupt
        act(self, what)

    monkeypatch.setattr(FakeWorker, "act", interrupted)
    with pytest.raises(KeyboardInterrupt):
        command.bench(small(quick, peers=["x.y"], html=quick / "page.html"))
    results = json.loads((quick / "out.json").read_text())["results"]
    assert [(r["layer"], r["engine"]) for r in results] == [
        ("first", "depthwise"),
        ("first", "x.y"),
    ]
    assert "depthwise c8 hw6 k3 p1" in capsys.readouterr().out
    assert log[-2:] == ["x.y closed", "depthwise closed"]
    assert not list(quick.glob("out.json?*"))
    assert "the run was stopped: 1 of 3 problems are complete" in (quick / "page.html").read_text()


def use_fakes(monkeypatch: pytest.MonkeyPatch, behaviours: dict[str, Behaviour]) -> list[str]:
    """Let the bench start fake workers; return what they are asked."""
    log: list[str] = []

    class Started(FakeWorker):
        def __init__(self, name: str, _threads: int, _pin: object, *, cpu: str | None) -> None:
            super().__init__(name, behaviours[name], log)
            assert cpu is None

        def __enter__(self) -> FakeWorker:
            return self

        def __exit__(self, *_: object) -> None:
            log.append(f"{self.engine} closed")

    monkeypatch.setattr(command, "Worker", Started)
    return log


def test_the_command_line_knows_everything_that_layers_pose() -> None:
    assert get_args(cli.Op) == get_args(layers.Op)
    assert get_args(Op) == (*get_args(layers.Op), "network")


@pytest.mark.parametrize(
    ("options", "error", "rule"),
    [
        ({"threads": 0}, SpecError, "threads is at least 1; got 0"),
        ({"repeats": 0}, SpecError, "repeats is at least 1; got 0"),
        ({"pin": [12345]}, SpecError, r"pin names cores of .*got \[12345\]"),
        ({"cpu": "imaginary"}, TargetError, "target is one of .*got 'imaginary'"),
        ({"peers": ["mxnett"]}, PeerError, "an engine is one of .*got 'mxnett'"),
        ({"batch": 0}, SpecError, "at least 1; got n=0"),
    ],
)
def test_impossible_options_are_refused(
    quick: Path, options: dict[str, Any], error: type[Exception], rule: str
) -> None:
    with pytest.raises(error, match=rule):
        command.bench(small(quick, **options))
    assert not (quick / "out.json").exists()


def test_results_that_cannot_be_written_are_refused_at_once(quick: Path) -> None:
    (quick / "file").touch()
    with pytest.raises(DepthwiseError, match="results go to a file that can be written"):
        command.bench(Options(workloads=["smoke"], json=quick / "file" / "out.json"))
    with pytest.raises(DepthwiseError, match="results go to a file that can be written"):
        command.bench(Options(workloads=["smoke"], json=quick))
    with pytest.raises(DepthwiseError, match="results go to a file that can be written"):
        command.bench(small(quick, html=quick / "file" / "page.html"))
    assert not (quick / "out.json").exists()


def test_peers_that_are_not_installed_are_named_with_what_installs_them(
    quick: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    present = {"torch": "2.13"}
    monkeypatch.setattr(command.environments, "installed_version", present.get)
    use_fakes(monkeypatch, {"depthwise": Behaviour(), "torch": Behaviour()})
    command.bench(small(quick))
    told = capsys.readouterr().err
    assert "mxnet is not installed; this installs it: depthwise peers install mxnet\n" in told
    assert "torch is not installed" not in told


@pytest.mark.parametrize(
    ("text", "read"),
    [(None, None), ("none", []), ("torch", ["torch"]), ("torch, mxnet", ["torch", "mxnet"])],
)
def test_names_of_peers(text: str | None, read: list[str] | None) -> None:
    assert names(text) == read


def test_cores_to_stay_on() -> None:
    assert cores(None) is None
    assert cores("0, 3") == [0, 3]
    with pytest.raises(SpecError, match="numbers of cores, as 0,1; got '0-3'"):
        cores("0-3")


def test_the_machine_is_described_in_plain_data() -> None:
    about = json.loads(json.dumps(state.describe()))
    assert about["cores"] >= len(about["usable_cores"]) >= 1
    assert about["isa"] in ("avx512", "avx2", "sse", "neon")


def test_a_busy_or_slowed_machine_is_warned_of() -> None:
    calm = {"load_before": 0.1, "cores": 4, "governor": "performance"}
    assert state.warnings(calm) == []
    assert state.warnings({**calm, "governor": None}) == []
    assert len(state.warnings({**calm, "load_before": 3.0, "governor": "powersave"})) == 2


def test_a_worker_knows_whether_its_process_lives() -> None:
    with Worker("depthwise", 1) as worker:
        assert worker.alive
    assert not worker.alive


def test_a_stream_is_given_the_results_once_behind_the_table(
    quick: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not after each problem, as a file is, which is put into place anew."""
    use_fakes(monkeypatch, {"depthwise": Behaviour()})
    stdout = quick / "stdout"
    stdout.symlink_to("/proc/self/fd/1")
    assert command.bench(small(quick, peers=[], json=stdout)) == 0
    out = capfd.readouterr().out
    assert len(json.loads(out[out.index("{\n") :])["results"]) == 3
    assert stdout.is_symlink()


def test_pictures_that_cannot_be_written_are_refused_at_once(quick: Path) -> None:
    (quick / "file").touch()
    with pytest.raises(DepthwiseError, match="results go to a file that can be written"):
        command.bench(small(quick, plot=quick / "file"))
    assert not (quick / "out.json").exists()


def test_the_table_is_printed_where_the_disk_fills_up_meanwhile(
    quick: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    use_fakes(monkeypatch, {"depthwise": Behaviour()})
    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(DepthwiseError, match=r"can be written; got .*: no space left"):
        command.bench(small(quick, peers=[]))
    assert "depthwise c8 hw6 k3 p1" in capsys.readouterr().out
    assert not list(quick.glob(".*"))
