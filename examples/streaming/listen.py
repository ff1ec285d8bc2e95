"""Listens for tones as a microphone would be listened to: chunk by chunk, with `net.stream()`.

    python listen.py --folder heard

makes a file of sound (tones at known times, in noise), streams it through the network of `tones.py`
in chunks of 32 ms, prints when each tone was heard, and draws the scores over time.  `--wav FILE`
listens to another file instead: 16 bits, 16,000 samples in a second.
"""

from __future__ import annotations

import argparse
import sys
import time
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import tones
from numpy.typing import NDArray
from tones import HOP, RATE, TONES

import depthwise as dw
from depthwise.console import out, print_table
from depthwise.drawing import COLOURS, canvas, save
from depthwise.errors import DepthwiseError
from depthwise.network.streaming import Stream

Sound: TypeAlias = "NDArray[np.float32]"
Span: TypeAlias = "tuple[float, float]"
"""When something begins and ends, in seconds."""

PLAYED: dict[int, tuple[Span, ...]] = {
    440: ((0.5, 1.5), (6.0, 7.0)), 880: ((2.0, 3.0),), 1320: ((3.5, 4.5),), 1760: ((5.0, 5.6),),
}  # fmt: skip
"""When each tone is in the sound that is made here."""
SECONDS, LOUD, NOISE = 8, 0.2, 0.05
"""How long it is, the height of its tones, and the standard deviation of its noise."""
HEARD = 0.5
"""The score from which on a tone is heard."""


def made() -> Sound:
    """Return the sound: tones in noise, between -1 and 1."""
    moments = np.arange(SECONDS * RATE) / RATE
    sound = NOISE * np.random.default_rng(0).standard_normal(len(moments))
    for tone, spans in PLAYED.items():
        for begin, end in spans:
            on = (moments >= begin) & (moments < end)
            sound += on * LOUD * np.sin(2 * np.pi * tone * moments)
    return sound.clip(-1, 1).astype(np.float32)


def write(file: Path, sound: Sound) -> None:
    """Write a sound to a WAV file of 16 bits."""
    with wave.open(str(file), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(RATE)
        wav.writeframes((sound * 32767).round().astype("<i2").tobytes())


def chunks(file: Path, size: int) -> Iterator[Sound]:
    """Yield the sound of a WAV file in chunks (1, 1, size), the last one filled up with silence.

    Raises:
        DepthwiseError: it is of another rate, or not of 16 bits.
    """
    with wave.open(str(file), "rb") as wav:
        if (wav.getframerate(), wav.getsampwidth()) != (RATE, 2):
            raise DepthwiseError(
                f"a sound has {RATE} samples in a second, of 2 bytes; got {wav.getframerate()} of "
                f"{wav.getsampwidth()} in {file}"
            )
        while frames := wav.readframes(size):
            samples = np.frombuffer(frames, "<i2").reshape(-1, wav.getnchannels()).mean(axis=1)
            chunk = np.zeros((1, 1, size), np.float32)
            chunk[0, 0, : len(samples)] = samples / 32768
            yield chunk


def listened(stream: Stream, sound: Iterator[Sound]) -> tuple[Sound, list[float]]:
    """Return the scores (tones, moments) of a sound, and the microseconds of each chunk."""
    scores, times = [], []
    for chunk in sound:
        begin = time.perf_counter()
        scores.append(stream(chunk)[0])
        times.append((time.perf_counter() - begin) * 1e6)
    return np.concatenate(scores, axis=1), times


def heard(scores: Sound) -> list[Span]:
    """Return when the scores of a tone are high."""
    on = np.concatenate([[False], scores >= HEARD, [False]])
    edges = np.flatnonzero(on[1:] != on[:-1]) * HOP / RATE
    return [(float(begin), float(end)) for begin, end in edges.reshape(-1, 2)]


def draw(scores: Sound, file: Path) -> None:
    """Draw the scores over time; above them, when a tone was heard."""
    figure, axes = canvas(9, 4)
    moments = (np.arange(scores.shape[1]) + 1) * HOP / RATE
    for number, (tone, line) in enumerate(zip(TONES, scores, strict=True)):
        colour = COLOURS[number]
        axes.plot(moments, line, color=colour, label=f"{tone} Hz")
        for begin, end in heard(line):
            axes.plot((begin, end), [1.05 + 0.04 * number] * 2, color=colour, linewidth=4)
    axes.axhline(HEARD, color="0.6", linewidth=0.7, linestyle="--")
    axes.set(xlabel="seconds", ylabel="score", title="Tones heard, chunk by chunk")
    figure.legend(loc="outside lower center", ncols=len(TONES), frameon=False)
    save(figure, file)


def words(spans: Sequence[Span]) -> str:
    """Return spans as the table has them."""
    return ", ".join(f"{begin:.2f} to {end:.2f}" for begin, end in spans) or "never"


def main(arguments: Sequence[str] | None = None) -> None:
    """Listen, print the table, and draw the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path(), help="where files are written to")
    parser.add_argument("--wav", type=Path, help="the sound; one is made otherwise")
    parser.add_argument("--chunk", type=float, default=32, help="milliseconds; a multiple of 8")
    options = parser.parse_args(arguments)
    size = round(options.chunk * RATE / 1000)
    if size < HOP or size % HOP:
        parser.error(f"a chunk is a multiple of {1000 * HOP // RATE} ms; got {options.chunk}")
    options.folder.mkdir(parents=True, exist_ok=True)
    file = options.wav or options.folder / "tones.wav"
    if options.wav is None:
        write(file, made())
    net = dw.load(tones.model(), threads=1)
    stream = net.stream()
    stream(np.zeros((1, 1, size), np.float32))  # kernels are compiled
    stream.reset()
    scores, times = listened(stream, chunks(file, size))
    played = [words(PLAYED[tone]) if options.wav is None else "" for tone in TONES]
    rows = [
        (f"{tone} Hz", each, words(heard(line)), f"{line.max():.2f}")
        for tone, each, line in zip(TONES, played, scores, strict=True)
    ]
    print_table(("tone", "played, s", "heard, s", "highest score"), rows, left=3)
    out.print(
        f"{len(times)} chunks of {options.chunk:g} ms, each in {np.median(times):.0f} us (median)"
    )
    draw(scores, options.folder / "scores.png")
    out.print(f"{options.folder / 'scores.png'}: the scores over time")


if __name__ == "__main__":
    try:
        main()
    except (DepthwiseError, OSError, wave.Error) as error:
        sys.exit(f"listen: {error}")
