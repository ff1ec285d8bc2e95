"""The command that makes the pictures of the documentation, without its measurements."""

from __future__ import annotations

import runpy
import subprocess
from pathlib import Path

import pytest

from depthwise.commands import cli

IMAGES = Path(__file__).parents[1] / "docs" / "images"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(IMAGES / "make.py"))


def test_every_picture_is_made_by_one_command(script):
    made = [name for run in script["RUNS"] for name in run.pictures]
    assert sorted(made) == sorted(path.name for path in IMAGES.glob("*.png"))


def test_the_commands_are_those_of_depthwise(script):
    """Their options are read, up to the one that asks for help instead."""
    from typer.main import get_command

    for run in script["RUNS"]:
        name, *arguments = run.arguments
        command = get_command(cli.app).commands[name]
        command.make_context(name, arguments, resilient_parsing=False)


@pytest.fixture
def commands(monkeypatch):
    """What would have been run; it leaves the files that are looked for."""
    asked = []

    def run(command, cwd, check):
        asked.append(command[3])
        for name in ("channels.png", "roofline.png", "sweep.png", "layers.png"):
            Path(cwd, name).write_text(" ".join(command[3:]))

    monkeypatch.setattr(subprocess, "run", run)
    return asked


def test_all_pictures_are_put_into_place(script, commands, tmp_path):
    script["main"](into=tmp_path)
    assert commands == ["bench", "bench", "sweep", "optimize"]
    assert {each.name for each in tmp_path.iterdir()} == {
        each.name for each in IMAGES.glob("*.png")
    }
    assert "--threads 2" in (tmp_path / "channels-2-threads.png").read_text()


def test_one_picture_runs_one_command(script, commands, tmp_path):
    script["main"](["roofline.png"], into=tmp_path)
    assert commands == ["bench"]
    assert [each.name for each in tmp_path.iterdir()] == ["roofline.png"]


def test_a_picture_that_is_not_made_is_refused(script, commands, tmp_path):
    with pytest.raises(SystemExit, match=r"the pictures are .*; got other\.png"):
        script["main"](["other.png"], into=tmp_path)
    assert commands == []
