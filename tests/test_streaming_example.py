"""The example that listens to tones: what it hears, in chunks and as a whole, and its files."""

import re
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

import depthwise as dw

FOLDER = Path(__file__).parents[1] / "examples" / "streaming"


def ran(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "error", "listen.py", *map(str, arguments)],
        cwd=FOLDER, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip


def test_it_hears_what_was_played(tmp_path):
    """Each tone, from when it begins to when it ends, but for the windows that it looks back to."""
    done = ran("--folder", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [re.findall(r"[\d.]+ to [\d.]+", line) for line in done.stdout.splitlines()]
    heard = [row for row in rows if row]
    assert len(heard) == 4
    for row in heard:
        played, found = row[: len(row) // 2], row[len(row) // 2 :]
        for right, span in zip(played, found, strict=True):
            ends = [np.array([float(n) for n in each.split(" to ")]) for each in (right, span)]
            assert np.abs(ends[1] - ends[0]).max() < 0.1
    assert "250 chunks of 32 ms" in done.stdout
    assert sorted(file.name for file in tmp_path.iterdir()) == ["scores.png", "tones.wav"]
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")


def test_chunks_are_the_whole_to_the_last_bit(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import listen
    import tones

    network = dw.load(tones.model(), threads=1)
    sound = listen.made()[None, None, : 2 * tones.RATE]
    whole = network.stream()(sound)
    for size in (tones.HOP, 4 * tones.HOP, 10 * tones.HOP):
        stream = network.stream()
        chunks = np.split(sound, range(size, sound.shape[2], size), axis=2)
        found = np.concatenate([stream(chunk) for chunk in chunks], axis=2)
        np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("wrong", ["chunk", "rate", "none"])
def test_what_it_cannot_listen_to(tmp_path, wrong):
    file = tmp_path / "slow.wav"
    if wrong == "rate":
        with wave.open(str(file), "wb") as wav:
            wav.setparams((1, 2, 8000, 0, "NONE", ""))
            wav.writeframes(bytes(64))
    words = {
        "chunk": "a chunk is a multiple of 8 ms; got 30",
        "rate": "listen: a sound has 16000 samples in a second, of 2 bytes; got 8000 of 2",
        "none": "listen: [Errno 2] No such file",
    }
    done = ran("--folder", tmp_path, "--wav", file, "--chunk", 30 if wrong == "chunk" else 32)
    assert done.returncode != 0
    assert words[wrong] in done.stderr
    assert "Traceback" not in done.stderr
