"""Commands whose output is full or closed, or that are interrupted early: no traceback."""

import errno
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from depthwise.commands import cli

PRINTING = (
    "--help",
    "--version",
    "cost 'depthwise c8 hw8 k3'",
    "cost 'depthwise c8 hw8 k3' --json",
)


def run_printing(line, redirected):
    """Run a command line with its standard output redirected as a shell does."""
    return subprocess.run(
        ["sh", "-c", f"exec {shlex.quote(sys.executable)} -m depthwise {line} {redirected}"],
        stderr=subprocess.PIPE, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="of Linux")
@pytest.mark.parametrize("line", [*PRINTING, "explain 'depthwise c8 hw8 k3'"])
def test_an_output_that_is_full_is_one_line(line):
    done = run_printing(line, "> /dev/full")
    message = "depthwise: standard output takes what is printed; got [Errno 28] No space left"
    assert (done.returncode, done.stderr) == (2, f"{message} on device\n")


@pytest.mark.parametrize("line", PRINTING[:3])
def test_an_output_that_is_closed_is_one_line(line):
    done = run_printing(line, ">&-")
    message = "depthwise: standard output is open (> /dev/null discards it); it is closed\n"
    assert (done.returncode, done.stderr) == (2, message)


@pytest.mark.parametrize(
    "line", ["cost --layers 'two\nlines'", "run 'two\nlines' --output y.npy", "cost 'two\nlines'"]
)
def test_what_was_given_may_have_line_breaks_and_an_error_has_none(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_printing(line, "")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("depthwise: ")


def test_memory_that_does_not_suffice_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(cli, "app", lambda **_: np.empty(2**60, np.uint8))
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    err = capsys.readouterr().err
    assert err.startswith("depthwise: what a command computes with fits into memory; got Unable")
    assert err.count("\n") == 1


def test_an_interrupt_before_a_command_runs_has_no_traceback(monkeypatch, capsys):
    def interrupt(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", interrupt)
    with pytest.raises(SystemExit, match="130"):
        cli.main()
    assert capsys.readouterr() == ("", "")


def test_other_errors_of_the_system_keep_their_traceback(monkeypatch):
    def fail(**_):
        raise OSError(errno.EACCES, "of another file")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(OSError, match="of another file"):
        cli.main()


FINDER = """
import importlib.abc, sys, time

class Waits(importlib.abc.MetaPathFinder):
    def find_spec(self, name, *_):
        if name == {where!r}:
            print('importing', flush=True)
            time.sleep(60)

sys.meta_path.insert(0, Waits())
"""
"""Where a module is imported, the process says so and waits."""


@pytest.mark.parametrize("where", ["numpy", "typer", "depthwise.commands.cost"])
def test_an_interrupt_while_importing_is_quiet_and_exits_130(tmp_path, interruptible, where):
    (tmp_path / "sitecustomize.py").write_text(FINDER.format(where=where))
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-m", "depthwise", "cost", "depthwise c8 hw8 k3"],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 130


@pytest.mark.parametrize(
    "line",
    [
        "cost 'depthwise c8 hw8 k3' --roofline",
        "compare 'conv c8 o8 hw8 k3'",
        "optimize model.pt --input 1",
    ],
)
def test_more_threads_than_any_machine_has_are_refused(line):
    done = run_printing(line, "--threads 100000")
    assert done.returncode == 2
    assert (
        "Invalid value for '--threads': Input should be less than or equal to 1024" in done.stderr
    )
