"""The package without its optional packages: matplotlib, torch, onnx and the like."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from depthwise import drawing, errors
from depthwise.bench.peers import ours, roster
from depthwise.commands import cli, sweep
from depthwise.measure.process import Hello, PreparedInfo, Rejected
from depthwise.problem.parse import parse
from recorded import Recorded
from test_bench import Behaviour, quick, small, use_fakes  # noqa: F401 (a fixture)

OPTIONAL = ("functorch", "jinja2", "matplotlib", "onnx", "plotly", "torch")
"""What the names of optional packages begin with, in small letters."""
TEXT = "depthwise c3 hw6 k3 p1"
NEEDS = "a plot needs matplotlib; this installs it: pip install '.[bench]' in a clone of depthwise"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Variables under which Python and its children see no optional package."""
    folder = tmp_path_factory.mktemp("base")
    links = folder / "links"
    links.mkdir()
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not entry.name.lower().startswith(OPTIONAL) and entry.suffix != ".pth":
            (links / entry.name).symlink_to(entry)
    source = Path(errors.__file__).parents[1]
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "kept = [path for path in sys.path if 'site-packages' not in path]\n"
        f"sys.path[:] = [*kept, {str(source)!r}, {str(links)!r}]\n"
    )
    peers = {"DEPTHWISE_PEERS": str(folder / "peers")}
    return {**os.environ, "PYTHONPATH": str(folder), **peers}


def run(base, folder, *arguments):
    command = [sys.executable, "-m", "depthwise", *arguments]
    return subprocess.run(
        command, cwd=folder, env=base, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture
def nothing_draws(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def test_the_base_install_lacks_what_is_optional(base, tmp_path):
    listed = run(base, tmp_path, "peers").stdout
    assert "to install torch, onnxruntime: pip install '.[bench]' in a clone" in listed
    refused = run(base, tmp_path, "optimize", "models:one", "--input", "1,3,8,8")
    assert refused.returncode == 2
    assert refused.stderr.endswith("pip install '.[torch]' in a clone of depthwise\n")


class Picky:
    """An engine that computes convolutions alone."""

    hello = Hello("depthwise", "1", ("one", "two"), 1)

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def prepare(self, spec, variant, clock):
        if len(spec.parts) > 1 and (variant, clock) != ("two", "kernel"):
            return Rejected(f"{variant} takes no blocks")
        return PreparedInfo(1, "NCHW", "nothing", 1e-6, True, 0.1)

    def release(self, key):
        pass


def test_what_no_variant_takes_is_left_out_by_name(monkeypatch, tmp_path):
    monkeypatch.setenv("DEPTHWISE_PEERS", str(tmp_path))
    monkeypatch.setattr(roster, "Worker", Picky)
    verdict = roster.verify("depthwise", lambda _: None)
    blocks = [text for text in roster.PROBLEMS if len(parse(text).parts) > 1]
    assert blocks
    assert verdict.left_out == (
        f"{', '.join(f'{text} (call)' for text in blocks)}: one takes no blocks",
    )
    assert verdict.verified
    standing = next(each for each in roster.standings() if each.name == "depthwise")
    assert standing.verified


@pytest.mark.slow
def test_engines_are_verified_as_far_as_they_go_and_what_is_left_out_is_said(base, tmp_path):
    done = run(base, tmp_path, "peers", "verify", "depthwise")
    assert (done.returncode, done.stderr) == (0, "")
    said = " ".join(done.stdout.split())
    assert ": verified, " in said
    assert "left out: training depthwise n2 c16 hw14 k3 p1 bias (call): " in said
    assert "a module of PyTorch, which is missing: pip install '.[torch]'" in said


def test_training_is_called_where_torch_is(monkeypatch):
    spec = parse("training depthwise n2 c16 hw14 k3 p1 bias")
    assert ours.Engine(1).rejects(spec, "nchw", "call") is None
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "PyTorch, which is missing" in ours.Engine(1).rejects(spec, "nchw", "call")
    assert ours.Engine(1).rejects(spec, "nchw", "kernel") is None


def test_a_sweep_says_beforehand_that_it_draws_nothing(
    nothing_draws, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)

    def laboratory(_):
        assert capsys.readouterr().err == f"no heat map: {NEEDS}\n"
        return Recorded({})

    monkeypatch.setattr(sweep, "Laboratory", laboratory)
    sweep.sweep(TEXT, None, 1, 1, None, "table")
    assert "of the best" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("nothing_draws")
def test_a_bench_says_beforehand_that_it_draws_nothing(quick, monkeypatch, capsys):  # noqa: F811
    from depthwise.bench import command

    use_fakes(monkeypatch, {"depthwise": Behaviour()})
    assert command.bench(small(quick, peers=[], plot=None)) == 0
    out, err = capsys.readouterr()
    assert err.splitlines()[0] == f"no pictures: {NEEDS}"
    assert "Our fastest beside the fastest peer" in out
    assert not (quick / "results").exists()


@pytest.mark.parametrize(
    "line",
    [
        ["bench", "--workload", "smoke", "--plot", "pictures"],
        ["sweep", TEXT, "--plot", "map.png"],
        ["cost", TEXT, "--plot", "roofline.png"],
    ],
    ids=lambda line: line[0],
)
def test_plots_that_were_asked_for_and_cannot_be_are_refused_before_measuring(
    nothing_draws, tmp_path, monkeypatch, capsys, line
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("depthwise.measure.process.Worker", lambda *_: pytest.fail("measured"))
    monkeypatch.setattr("depthwise.measure.roofline.measure", lambda *_: pytest.fail("measured"))
    monkeypatch.setattr(sys, "argv", ["depthwise", *line])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out, err) == (2, "", f"depthwise: {NEEDS}\n")


def test_where_matplotlib_is_plots_are_drawn_unasked(tmp_path, monkeypatch, capsys):
    assert drawing.can_draw()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, "Laboratory", lambda _: Recorded({}))
    sweep.sweep(TEXT, None, 1, 1, None, "json")
    assert (tmp_path / "results" / "sweep.png").read_bytes().startswith(b"\x89PNG")
