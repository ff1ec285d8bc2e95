"""The frame of the command line: help, exit codes, one line an error, printing in pipes."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from rich.console import Console

from depthwise import __version__, console
from depthwise.bench.layers import workload_names
from depthwise.commands import cli
from depthwise.errors import DepthwiseError


def call_main(monkeypatch, capsys, *arguments):
    """Run the command line in this process; return exit code, stdout and stderr."""
    monkeypatch.setattr(sys, "argv", ["depthwise", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    return ended.value.code or 0, captured.out, captured.err


def commands() -> list[str]:
    return [*typer.main.get_command(cli.app).commands]


def add_command(monkeypatch, function):
    """Give the command line one more subcommand, for one test."""
    monkeypatch.setattr(cli.app, "registered_commands", list(cli.app.registered_commands))
    cli.app.command("added")(function)


def test_no_arguments_print_the_help(monkeypatch, capsys):
    code, out, err = call_main(monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert out.startswith("Usage: depthwise")
    for command in commands():
        assert f"\n  {command} " in out


def test_the_commands_are_those_of_the_design():
    expected = "bench cost compare show explain sweep tune peers cache doctor run optimize quantize"
    assert sorted(commands()) == sorted([*expected.split(" "), "export"])


@pytest.mark.parametrize("command", commands())
def test_every_command_has_help_with_examples(monkeypatch, capsys, command):
    code, out, err = call_main(monkeypatch, capsys, command, "--help")
    assert (code, err) == (0, "")
    assert f"Usage: depthwise {command}" in out
    assert f"Examples:\n    depthwise {command}" in out


def command_lines() -> list[str]:
    """Return every `depthwise ...` line that the README and the help texts give as an example."""
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"^\$ (depthwise .*?)(?: +#.*)?$", readme, re.MULTILINE)
    waiting = [typer.main.get_command(cli.app)]
    while waiting:
        command = waiting.pop()
        found += re.findall(r"^ +(depthwise .*)$", command.epilog or "", re.MULTILINE)
        waiting += getattr(command, "commands", {}).values()
    return found


@pytest.mark.parametrize("line", sorted(set(command_lines())), ids=str)
def test_every_example_is_a_command_line_that_is_understood(line):
    words = shlex.split(line)[1:]
    command = typer.main.get_command(cli.app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    if hasattr(command, "commands"):
        assert not words or words[0].startswith("-"), f"no such command: {words[0]}"
    with contextlib.suppress(typer.Exit):  # --help leaves at once
        command.make_context("depthwise", words)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["bensh"], "bensh"),
        (["--nope"], "--nope"),
        (["cost", "--nope"], "--nope"),
        (["show"], "SPEC"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(monkeypatch, capsys, arguments, named):
    code, out, err = call_main(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("depthwise: ")
    assert err.count("\n") == 1
    assert named in err


@pytest.mark.parametrize("command", ["cost", "show", "explain"])
def test_an_impossible_problem_is_one_line_and_exits_2(monkeypatch, capsys, command):
    code, out, err = call_main(monkeypatch, capsys, command, "depthwise c0 hw8 k3")
    assert (code, out) == (2, "")
    assert err.startswith("depthwise: ")
    assert err.count("\n") == 1
    assert "depthwise c0 hw8 k3" in err


def test_version(monkeypatch, capsys):
    assert call_main(monkeypatch, capsys, "--version") == (0, f"depthwise {__version__}\n", "")


@pytest.mark.parametrize("kind", DepthwiseError.__subclasses__())
def test_errors_of_the_package_have_no_traceback(monkeypatch, capsys, kind):
    def fail() -> None:
        raise kind("what went wrong")

    add_command(monkeypatch, fail)
    assert call_main(monkeypatch, capsys, "added") == (2, "", "depthwise: what went wrong\n")


def test_other_errors_keep_their_traceback(monkeypatch):
    def fail() -> None:
        raise ZeroDivisionError("a fault of this package")

    add_command(monkeypatch, fail)
    monkeypatch.setattr(sys, "argv", ["depthwise", "added"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_an_interrupt_is_quiet_and_exits_130(monkeypatch, capsys, interruptible):
    def wait() -> None:
        signal.raise_signal(signal.SIGINT)

    add_command(monkeypatch, wait)
    assert call_main(monkeypatch, capsys, "added") == (130, "", "")


@pytest.mark.parametrize(
    "line",
    [
        "--help",
        "cost --workload mobilenet_v2",
        "cost --workload mobilenet_v2 --json",
        "cost --workload mobilenet_v2 --csv",
        "explain 'depthwise c8 hw8 k3'",
    ],
)
def test_a_reader_that_leaves_early_is_no_error(line):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        command = [sys.executable, "-m", "depthwise", *shlex.split(line)]
        done = subprocess.run(command, stdout=gone, stderr=subprocess.PIPE, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_exit_that_no_reader_caused_keeps_its_code(monkeypatch):
    def leave() -> None:
        raise SystemExit(3)

    add_command(monkeypatch, leave)
    monkeypatch.setattr(sys, "argv", ["depthwise", "added"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 3


def paths_of_commands():
    """Return the words of every command, e.g. ["cache", "clear"]."""
    waiting = [([], typer.main.get_command(cli.app))]
    while waiting:
        words, command = waiting.pop()
        yield words
        waiting += [
            ([*words, name], each) for name, each in getattr(command, "commands", {}).items()
        ]


@pytest.mark.parametrize("words", list(paths_of_commands()), ids=" ".join)
def test_help_is_not_cut(monkeypatch, capsys, words):
    monkeypatch.setenv("COLUMNS", "60")
    _, out, _ = call_main(monkeypatch, capsys, *words, "--help")
    usage, text = out.split("\n\n", 1)
    assert usage.startswith("Usage: ")
    assert "…" not in text
    assert [line for line in text.splitlines() if line.endswith("...")] == []


@pytest.mark.parametrize("command", ["bench", "cost", "tune"])
def test_help_names_the_workloads(monkeypatch, capsys, command):
    _, out, _ = call_main(monkeypatch, capsys, command, "--help")
    for name in workload_names():
        assert re.search(rf"\b{name}\b", out.partition("--workload")[2].partition("--layers")[0])


@pytest.mark.parametrize("command", ["bench", "cost", "tune"])
def test_a_workload_that_there_is_not_is_answered_with_the_nearest(monkeypatch, capsys, command):
    code, out, err = call_main(monkeypatch, capsys, command, "--workload", "mobilnet_v2")
    assert (code, out) == (2, "")
    assert "got 'mobilnet_v2' (did you mean 'mobilenet_v2'?)\n" in err


def test_help_starts_without_the_heavy_imports():
    code = (
        "import sys, atexit; sys.argv = ['depthwise', '--help'];"
        "atexit.register(lambda: print('LOADED', *sys.modules));"
        "from depthwise.commands.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert "typer" in loaded
    assert not loaded & {"tvm", "torch", "matplotlib", "onnxruntime"}


def test_a_table_in_a_pipe_is_plain(monkeypatch, capsys):
    monkeypatch.setattr(console, "out", Console(width=console.WIDE, highlight=False))
    problem = "depthwise c1 " * 20
    console.print_table(["problem", "us"], [(problem, 1.5), ("[b]", None)], title="Times")
    title, header, first, second = capsys.readouterr().out.splitlines()
    assert title == "Times"
    assert header.split() == ["problem", "us"]
    assert first.split() == [*problem.split(), "1.5"]
    assert second.rstrip() == "[b]"


def test_json_reads_back(capsys):
    value = {"results": [{"spec": "depthwise c8 hw8 k3", "median_us": 1.25}], "limits": []}
    console.print_json(value)
    assert json.loads(capsys.readouterr().out) == value


def written_by_progress(monkeypatch, ends, *, seconds, patience):
    """Return what progress() writes to one end of a pipe or terminal over three steps."""
    reading, writing = ends
    monkeypatch.setattr(console, "PATIENCE_SECONDS", patience)
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(console, "err", Console(file=stream))
        with console.progress(total=3) as step:
            for name in ("one", "two", "three"):
                step(name)
                time.sleep(seconds)
        stream.write("end")
        stream.flush()
        written = os.read(reading, 100_000).decode()
    os.close(reading)
    return written


def test_progress_shows_on_a_terminal_once_the_work_takes_a_while(monkeypatch):
    shown = written_by_progress(monkeypatch, pty.openpty(), seconds=0.2, patience=0.05)
    assert "2/3" in shown
    assert "three" in shown


def test_progress_is_silent_over_quick_work(monkeypatch):
    shown = written_by_progress(monkeypatch, pty.openpty(), seconds=0.0, patience=60.0)
    assert shown == "end"


def test_progress_is_silent_in_a_pipe(monkeypatch):
    shown = written_by_progress(monkeypatch, os.pipe(), seconds=0.1, patience=0.01)
    assert shown == "end"
