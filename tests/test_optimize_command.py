"""`depthwise optimize`: what it takes, what it prints and writes, how it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from depthwise.commands import cli
from depthwise.commands import optimize as optimize_command
from depthwise.commands.optimize import inputs, shape
from depthwise.errors import ModelError
from models import mobilenet
from test_optimize_report import ROWS, report

MODULE = """
from torch import nn

class Two(nn.Module):
    def forward(self, image, scale, *, shift=0):
        return image * scale + shift

def one():
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU())
"""


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run the command where a module of models is; return exit code, stdout and stderr."""
    (tmp_path / "dw_command_test.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["depthwise", "optimize", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, *capsys.readouterr()

    yield command
    sys.modules.pop("dw_command_test", None)


@pytest.fixture
def asked(monkeypatch):
    """Stand in for `optimize`; hold what it was asked."""
    seen = {}

    def optimize(model, example, *, tune, step):
        step("compiling")
        seen.update(model=model, example=example, tune=tune, threads=torch.get_num_threads())
        return SimpleNamespace(report=report(*ROWS))

    monkeypatch.setattr(optimize_command, "optimize", optimize)
    threads = torch.get_num_threads()
    yield seen
    torch.set_num_threads(threads)


def test_the_model_its_inputs_and_the_options_are_handed_on(run, asked):
    code, _, err = run("dw_command_test:one", "--input", "1,3,8,9", "--threads", 1, "--tune")
    assert (code, err) == (0, "")
    assert isinstance(asked["model"], nn.Sequential)
    assert [tuple(x.shape) for x in asked["example"]] == [(1, 3, 8, 9)]
    assert (asked["tune"], asked["threads"]) == (True, 1)


def test_inputs_are_random_and_the_same_each_time(run, asked):
    arguments = ("dw_command_test:Two", "--input", "1,3,8,8", "--input", "3,1,1")
    run(*arguments)
    first = asked["example"]
    run(*arguments)
    assert [tuple(x.shape) for x in first] == [(1, 3, 8, 8), (3, 1, 1)]
    assert first[0].std() > 0.5
    assert all(map(torch.equal, first, asked["example"]))


def test_the_report_in_a_pipe_is_a_plain_table_with_what_was_left_alone(run, asked):
    code, out, err = run("dw_command_test:one", "--input", "1,3,8,8", "--wide")
    assert (code, err) == (0, "")
    header, *lines = out.splitlines()
    assert header.split()[:2] == ["layer", "what"]
    assert len(lines[0].split()) == 8
    assert "─" not in out
    assert "\nleft to torch:\n  aten.mean.dim (2 times): no kernel computes it\n" in out


def test_json_is_all_of_it(run, asked):
    code, out, err = run("dw_command_test:one", "--input", "1,3,8,8", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == report(*ROWS).as_dict()


def test_the_picture_and_the_module_are_written(run, asked, tmp_path):
    picture, saved = tmp_path / "new" / "bars.png", tmp_path / "fast.pt"
    code, _, err = run(
        "dw_command_test:one", "--input", "1,3,8,8", "--plot", picture, "--save", saved
    )
    assert (code, err) == (0, "")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert torch.load(saved, weights_only=False).report == report(*ROWS)


def test_a_module_is_saved_beside_what_others_keep_there(run, asked, tmp_path):
    other, saved = tmp_path / "fast.pt.part", tmp_path / "fast.pt"
    other.write_text("mine")
    saved.symlink_to("real.pt")
    code, _, err = run(*ONE, "--save", saved)
    assert (code, err) == (0, "")
    assert other.read_text() == "mine"
    assert saved.is_symlink()
    assert torch.load(tmp_path / "real.pt", weights_only=False).report == report(*ROWS)


def test_a_module_is_saved_into_a_pipe_as_it_is(run, asked, tmp_path):
    pipe, copy = tmp_path / "pipe", tmp_path / "copy.pt"
    os.mkfifo(pipe)
    with copy.open("wb") as file, subprocess.Popen(["cat", pipe], stdout=file):
        assert run(*ONE, "--save", pipe)[0] == 0
    assert pipe.is_fifo()
    assert torch.load(copy, weights_only=False).report == report(*ROWS)


def test_the_report_is_printed_and_the_picture_drawn_where_the_disk_fills_up(
    run, monkeypatch, tmp_path
):
    fast = nn.Linear(1000, 1000)
    fast.report = report(*ROWS)
    monkeypatch.setattr(optimize_command, "optimize", lambda *_, **__: fast)
    disk, picture = tmp_path / "disk", tmp_path / "bars.png"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root mounts disks")
    try:
        code, out, err = run(*ONE, "--save", disk / "fast.pt", "--plot", picture)
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
    assert code == 2
    assert "a file that can be written; got" in err
    assert err.count("\n") == 1
    assert "\nlayer " in out
    assert picture.read_bytes().startswith(b"\x89PNG")


ONE = ("dw_command_test:one", "--input", "1,3,8,8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "MODEL"),
        (ONE[:1], "--input"),
        (("nowhere.pt2", *ONE[1:]), "no such file: nowhere.pt2"),
        (("dw_command_test:nothing", *ONE[1:]), "has no 'nothing'"),
        ((*ONE[:2], "1,3,8,x"), "as 1,3,224,224; got '1,3,8,x'"),
        ((*ONE[:2], "1,3,-8,8"), "got '1,3,-8,8'"),
        ((*ONE[:2], ""), "got ''"),
        ((*ONE[:2], f"1,3,8,{5000 * '9'}"), "as 1,3,224,224; got '1,3,8,999"),
        ((*ONE, "--input", "1,3"), "takes (input)"),
        ((ONE[0], "--input", "99999999,99999,99999"), "--input fits into memory; got 99999999,"),
        ((ONE[0], "--input", f"1,{10**20}"), "--input fits into memory; got 1,1000"),
        (("dw_command_test:Two", *ONE[1:]), "takes (image, scale, *, shift=0); got 1,3,8,8: miss"),
        (
            (*ONE[:2], "1,4,8,8"),
            "one that the model takes; got 1,4,8,8: RuntimeError: Given groups",
        ),
        ((*ONE, "--threads", "0"), "--threads"),
        ((*ONE, "--save", "/dev/null/fast.pt"), "a file that can be written"),
        ((*ONE, "--save", "/proc/fast.pt"), "a file that can be written"),
        ((*ONE, "--save", "."), "a file that can be written"),
        ((*ONE, "--plot", "/dev/null/bars.png"), "a file that can be written"),
        ((*ONE, "--plot", "bars.nosuch"), "a file whose suffix is one of"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run, asked, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err
    assert not asked


def test_models_that_optimize_refuses_are_one_line(run, monkeypatch):
    def refuse(model, example, **options):
        raise ModelError("a model is optimized for inference; got one in training mode")

    monkeypatch.setattr(optimize_command, "optimize", refuse)
    assert run(*ONE) == (
        2, "", "depthwise: a model is optimized for inference; got one in training mode\n"
    )  # fmt: skip


def test_an_interrupt_is_quiet_and_writes_nothing(run, monkeypatch, tmp_path):
    def interrupt(model, example, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(optimize_command, "optimize", interrupt)
    saved = tmp_path / "fast.pt"
    assert run(*ONE, "--save", saved) == (130, "", "")
    assert not saved.exists()
    assert run(*ONE, "--tune") == (130, "", f"{optimize_command.GOES_ON}\n")


def test_without_torch_it_says_what_to_install():
    code = (
        "import sys; sys.modules['torch'] = None;"
        "sys.argv = ['depthwise', 'optimize', 'model.pt2', '--input', '1'];"
        "from depthwise.commands.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("depthwise: depthwise optimize needs PyTorch; this installs it:")
    assert done.stderr.count("\n") == 1


def test_shapes_and_inputs():
    assert shape("8,3,224,224") == (8, 3, 224, 224)
    (x,) = inputs(nn.ReLU(), [(2, 3)])
    assert x.shape == (2, 3)


MOBILENET = """
import torch
from models import mobilenet

def made():
    torch.manual_seed(0)
    return mobilenet()
"""


def test_a_model_is_optimized_saved_and_loaded_again(run, tmp_path):
    (tmp_path / "dw_command_test.py").write_text(MOBILENET)
    saved = tmp_path / "fast.pt"
    code, out, err = run("dw_command_test:made", "--input", "1,3,32,32", "--save", saved, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert [row["name"] for row in found["rows"]][:3] == ["(input)", "0 to 2", "3"]
    assert [row["kind"] for row in found["rows"][2:4]] == ["inverted", "inverted"]
    assert found["traced"] == "torch.export"
    x = torch.randn(2, 3, 32, 32)
    torch.manual_seed(0)
    with torch.no_grad():
        fast, model = torch.load(saved, weights_only=False), mobilenet().eval()
        torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-5)


def test_an_exported_program_keeps_the_names_of_its_modules(run, tmp_path):
    program = torch.export.export(mobilenet().eval(), (torch.randn(1, 3, 32, 32),))
    torch.export.save(program, tmp_path / "model.pt2")
    code, out, err = run("model.pt2", "--input", "1,3,32,32", "--wide")
    assert (code, err) == (0, "")
    assert [line.split()[:2] for line in out.splitlines()[3:5]] == [
        ["3", "inverted"],
        ["4.body", "inverted"],
    ]
