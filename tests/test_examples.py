"""The examples run, agree with what they are compared with, and leave whole files or none."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module


def arguments(folder, *options):
    few_steps = ("--images=32", "--batch=4", "--size=16", "--kernel-size=3", "--epochs=2")
    return [
        "train_separable.py", f"--out={folder / 'losses.png'}", f"--json={folder / 'losses.json'}",
        *few_steps, *options,
    ]  # fmt: skip


def test_a_few_steps_of_both_agree(tmp_path):
    script = [sys.executable, "-W", "error", *arguments(tmp_path, "--threads=1")]
    done = subprocess.run(
        script, cwd=EXAMPLES, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "losses agree" in done.stdout
    assert sorted(file.name for file in tmp_path.iterdir()) == ["losses.json", "losses.png"]
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")
    trainings = json.loads((tmp_path / "losses.json").read_text())["trainings"]
    assert [(t["layers"], len(t["losses"])) for t in trainings] == [
        ("torch", 16),
        ("depthwise", 16),
    ]
    first, ours = (training["losses"][:5] for training in trainings)  # roundings grow afterwards
    assert first == pytest.approx(ours, rel=1e-3)
    assert len(set(trainings[0]["losses"])) == 16


def interrupt(*args, **options):
    raise KeyboardInterrupt


@pytest.mark.parametrize("place", ["Training.step", "training_report.Path.replace"])
def test_an_interrupt_leaves_no_file(example, tmp_path, monkeypatch, place):
    """Pressed while networks learn, or when a file is about to be put into place."""
    script = example("train_separable")
    monkeypatch.setattr(f"train_separable.{place}", interrupt)
    monkeypatch.setattr(sys, "argv", arguments(tmp_path))
    with pytest.raises(SystemExit) as exit_:
        script.run()
    assert exit_.value.code == 130
    assert not list(tmp_path.iterdir())


def test_too_few_steps_are_refused(example, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", arguments(tmp_path, "--batch=16"))
    with pytest.raises(SystemExit) as exit_:
        example("train_separable").run()
    assert exit_.value.code == 2
    assert capsys.readouterr().err == (
        "train_separable: training goes on after its 5 steps of warm-up; got 4 steps: 2 epochs of "
        "32 images, 16 in a batch\n"
    )


@pytest.mark.parametrize(
    ("changed_step", "change", "status"), [(0, 0.0, 0), (2, 1e-2, 1), (9, 1e-2, 0), (9, 1.0, 1)]
)
def test_losses_that_disagree_are_reported(example, capsys, changed_step, change, status):
    report = example("training_report")
    losses = [2 / (1 + step) for step in range(12)]
    moved = [*losses[:changed_step], losses[changed_step] + change, *losses[changed_step + 1 :]]
    curves = [report.Curve("torch", losses, [2.0], 1), report.Curve("depthwise", moved, [1.0], 1)]
    assert report.tell(curves, epochs=3) == status
    assert "2.00 times as fast" in capsys.readouterr().out


def test_a_small_mobilenet_is_optimized(example, monkeypatch, capsys):
    network = importlib.import_module("depthwise.bench.networks.mobilenet_v2")
    monkeypatch.setattr(network, "STAGES", ((1, 16, 1, 1), (6, 24, 2, 2)))
    example("optimize_mobilenet").main(size=32, threads=1)
    out = capsys.readouterr().out
    assert "inverted c24 e144 o24 hw8 k3 p1 nhwc bias relu6 residual" in out
    differences = [float(found) for found in re.findall(r": (\S+e-\d+)$", out, re.MULTILINE)]
    assert len(differences) == 2
    assert all(0 < difference < 1e-4 for difference in differences)
