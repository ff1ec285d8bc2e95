"""`depthwise export`: what is printed and written, and refusals."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import depthwise as dw
from depthwise import console
from depthwise.commands import cli
from depthwise.errors import DepthwiseError
from exporting import assert_right
from tiny_networks import file

PROBLEM = "depthwise c5 hw7 k3 p1 nhwc bias"


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Run the command in a folder with a model; return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    Path("net.v2.onnx").write_bytes(file("small", "int8"))

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["depthwise", "export", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code or 0, *capsys.readouterr()

    return run


def test_a_network_is_written_and_its_memory_printed(command):
    code, out, err = command(
        "net.v2.onnx", "--target", "c", "--optimize", "memory", "--output", "made",
        "--plot", "memory.png",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= console.PIPE_WIDTH
    assert "row by row" in out.replace("\n", " ")
    assert Path("memory.png").read_bytes().startswith(b"\x89PNG")
    assert_right(Path("made"))
    assert Path("made/net.h").exists()


def test_json_has_all_of_it_and_csv_a_line_for_each_part(command):
    code, out, _ = command("net.v2.onnx", "--output", "a", "--name", "net", "--json")
    report = json.loads(out)
    assert code == 0
    assert (report["name"], report["target"], report["folder"]) == ("net", "c", "a")
    assert report["arena_bytes"] >= max(part["nbytes"] for part in report["segments"])
    assert report["files"] == {
        str(each.relative_to("a")): each.stat().st_size
        for each in sorted(Path("a").rglob("*")) if each.is_file()
    }  # fmt: skip
    _, out, _ = command("net.v2.onnx", "--output", "b", "--csv")
    assert len(out.splitlines()) == 1 + len(report["segments"])


def test_saved_networks_and_problems_are_taken(command):
    net = dw.load("net.v2.onnx")
    net.save("fast.dw")
    for source in ("fast.dw", PROBLEM):
        assert command(source, "--output", "made", "--force", "--name", "f")[0] == 0
        assert_right(Path("made"))


def test_weights_come_from_a_file(command):
    _, weight, bias, _ = dw.random_problem(PROBLEM, seed=3)
    np.savez("weights.npz", weight=weight, bias=bias)
    assert command(PROBLEM, "--weights", "weights.npz", "--output", "made")[0] == 0
    np.savez("weights.npz", weight=weight)
    code, out, err = command(PROBLEM, "--weights", "weights.npz", "--output", "other")
    assert (code, out) == (2, "")
    assert "operands are weight, bias; got weight" in err


@pytest.mark.parametrize(("words", "said"), [
    (("nothing.onnx",), "nothing.onnx"),
    (("depthwise c5 hw7 k9",), "c5 hw7 k9"),
    ((PROBLEM, "--target", "cortex-m5"), "cortex-m55"),
    ((PROBLEM, "--memory", "some"), "256k"),
    (("net.v2.onnx", "--memory", "10"), "smallest plan"),
    ((PROBLEM, "--name", "int"), "a letter"),
    (("net.v2.onnx", "--plan", "channels_last tw1"), "those of a problem"),
    ((PROBLEM, "--plot", "memory.txt"), "memory.txt"),
])  # fmt: skip
def test_refusals_are_a_line_and_leave_nothing(command, words, said):
    code, out, err = command(*words, "--output", "made")
    assert (code, out) == (2, "")
    assert said in err.replace("\n", " ")
    assert not Path("made").exists()


def test_an_interrupt_leaves_nothing(command, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("depthwise.exporting.export._replace", interrupt)
    assert command(PROBLEM, "--output", "made")[0] == 130
    assert sorted(each.name for each in Path().iterdir()) == ["net.v2.onnx"]


def test_a_missing_compiler_is_named_for_libraries_alone(command, monkeypatch):
    monkeypatch.setenv("PATH", "")
    code, _, err = command(
        PROBLEM, "--target", "cortex-m4f", "--format", "static-library", "--output", "a"
    )
    assert code == 2
    assert "arm-none-eabi-gcc" in err
    assert "gcc-arm-none-eabi" in err
    assert command(PROBLEM, "--target", "cortex-m4f", "--output", "b")[0] == 0
    with pytest.raises(DepthwiseError, match="static-library"):
        dw.export(PROBLEM, "c", target="wasm32", format="shared-library")
