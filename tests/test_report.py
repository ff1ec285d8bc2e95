"""The report and the pictures, from results that are given."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from depthwise import console
from depthwise.bench import comparison, plots, report, series
from depthwise.bench.findings import Findings
from depthwise.bench.results import Note, Result
from depthwise.drawing import OUR_COLOUR
from depthwise.errors import DepthwiseError
from depthwise.measure.roofline import Copy, Roofline

LIMITS = Roofline(
    2, "float32", "some-cpu", 100.0, (Copy(2**14, 200.0, "L1"), Copy(2**26, 20.0, "memory"))
)


def result(name: str, median: float | None, spec: str = "depthwise c16 hw64 k3 p1") -> Result:
    engine, variant = name.split()
    rate, spread, share = (
        (None,) * 3 if median is None else (1000 / median, median / 50, 5 / median)
    )
    return Result(
        engine=engine, variant=variant, op="depthwise", layer="seeds c16", spec=spec,
        layout="NCHW", dtype="float32", threads=2, batch=1, clock="kernel", median_us=median,
        min_us=median, mad_us=spread, gflops=rate,
        gbytes_per_s=rate, of_limit=share, verified=median is not None,
        max_abs_err=0.0, version="1",
    )  # fmt: skip


FOUND = [
    result("torch nchw", 40.0),
    result("depthwise nchw", 20.0),
    result("depthwise nhwc", 10.0),
    result("mxnet nchw", None),
    result("tvm default", 30.0),
]


def lines(text: str) -> list[str]:
    """Return the lines with one space between words, whatever the widths of the columns."""
    return [" ".join(line.split()) for line in text.splitlines()]


def test_a_table_is_sorted_and_compared_with_the_fastest_peer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console.out, "width", 100)
    report.print_results(FOUND, "the conditions", 200.0)
    out = capsys.readouterr().out
    assert out.startswith("the conditions\n")
    assert lines(out)[2:9] == [
        "depthwise c16 hw64 k3 p1 (seeds c16)",
        "engine layout median us +- us GFLOP/s GB/s x fastest peer of limit",
        "depthwise nhwc NCHW 10.0 0.20 100.0 100.0 3.00 50%",
        "depthwise nchw NCHW 20.0 0.40 50.0 50.0 1.50 25%",
        "tvm default NCHW 30.0 0.60 33.3 33.3 1.00 17%",
        "torch nchw NCHW 40.0 0.80 25.0 25.0 0.75 12%",
        "mxnet nchw NCHW WRONG",
    ]


def test_the_overview_holds_our_fastest_against_the_fastest_peer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report.print_results(FOUND, "", 200.0)
    rows = lines(capsys.readouterr().out)
    start = rows.index("Our fastest beside the fastest peer")
    assert rows[start + 2 :] == [
        "depthwise c16 hw64 k3 p1 nhwc tvm default 10.0 30.0 3.00 50%",
        "",
        "Its time over that of our fastest",
        "peer geometric mean least most problems",
        "the fastest peer 3.00 3.00 3.00 1",
        "tvm default 3.00 3.00 3.00 1",
        "torch nchw 4.00 4.00 4.00 1",
        "",
        "Our fastest, of the limit",
        "bound by geometric mean least most problems",
        "arithmetic 50% 50% 50% 1",
    ]


def test_means_are_over_the_problems_that_both_have() -> None:
    other = "depthwise c32 hw64 k3 p1"
    found = [*FOUND, result("depthwise nhwc", 10.0, other), result("torch nchw", 5.0, other)]
    ratios = comparison.mean_ratios(found)
    assert ratios["torch nchw"] == [4.0, 0.5]
    assert ratios["tvm default"] == [3.0]
    assert ratios["the fastest peer"] == [3.0, 0.5]
    assert "mxnet nchw" not in ratios


def test_blocks_that_narrow_have_a_mean_of_their_own_beside_others() -> None:
    wide, narrow = "separable c8 o16 hw8 k3 p1", "separable c16 o8 hw8 k3 p1"
    found = [
        result(name, median, spec)
        for spec, medians in ((wide, (10.0, 20.0)), (narrow, (10.0, 30.0)))
        for name, median in zip(("depthwise nhwc", "torch nchw"), medians, strict=True)
    ]
    ratios = comparison.mean_ratios(found)
    assert (ratios[comparison.FASTEST], ratios[comparison.NARROWING]) == ([2.0, 3.0], [3.0])
    for alone in (found[:2], found[2:]):
        assert comparison.NARROWING not in comparison.mean_ratios(alone)


def test_shares_of_the_limit_are_apart_for_what_bounds_them() -> None:
    bounds = {"depthwise c8 hw8 k3": 0.8, "depthwise c9 hw8 k3": 0.2, "depthwise c7 hw8 k3": 0.5}
    found = [
        replace(result("depthwise nhwc", 10.0, spec), gflops=100.0 * share, of_limit=of_limit)
        for (spec, share), of_limit in zip(bounds.items(), (0.8, 0.2, 0.9), strict=True)
    ]
    assert report.shares([*found, FOUND[0]], 100.0).rows == [
        ("arithmetic", "40%", "20%", "80%", 2),
        ("memory", "90%", "90%", "90%", 1),
    ]


def test_without_peers_there_is_nothing_to_compare_with(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report.print_results(FOUND[1:3], "alone", 200.0)
    out = capsys.readouterr().out
    assert "depthwise nhwc NCHW 10.0 0.20 100.0 100.0 50%" in lines(out)
    assert "Its time over" not in out


def test_an_unstable_time_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    report.print_results([replace(FOUND[0], mad_us=4.0)], "shaky", 200.0)
    assert "torch nchw NCHW 40.0 4.00 ! 25.0 25.0 1.00 12%" in lines(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("value", "text"), [(0.1234, "0.12"), (9.876, "9.88"), (45.67, "45.7"), (1234.5, "1234")]
)
def test_times_keep_their_significant_digits(value: float, text: str) -> None:
    assert report.microseconds(value) == text


def test_notes_are_said_aloud_the_gravest_last(capsys: pytest.CaptureFixture[str]) -> None:
    report.print_notes(
        [
            Note("wrong", "mxnet", "nchw", "P", "largest error 3"),
            Note("failed", "jax", "nhwc", "P", "died"),
            Note("unstable", "torch", "nchw", "P", "median 5.0 us, deviation 1.0 us"),
            Note("rejected", "litert", "nhwc", "P", "no float64"),
            Note("rejected", "litert", "nhwc", "Q", "no float64"),
        ],
        timed=7,
    )
    told = capsys.readouterr()
    assert told.out == ""
    first, second, *last = told.err.splitlines()
    assert first == "litert nhwc leaves out 2 problems: no float64"
    assert second.startswith("unstable: 1 of 7 times scatter more than 5% of their median")
    assert last == ["FAILED: jax nhwc on P: died", "WRONG: mxnet nchw on P: largest error 3"]


def findings() -> Findings[Result]:
    return Findings(
        command="", summary="", conditions={}, machine={"cpu": "x"}, limits=LIMITS, asked=1,
        results=FOUND,
    )  # fmt: skip


def test_the_file_is_complete_json_with_every_field(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    findings().write(file, last=False)
    read = json.loads(file.read_text())
    assert [Result(**each) for each in read["results"]] == FOUND
    assert read["machine"] == {"cpu": "x"}
    assert read["limits"][0]["threads"] == 2


def seeds() -> list[Result]:
    return [
        result(name, 10.0 + channels / size, f"depthwise c{channels} hw{size} k3 p1")
        for name in ("depthwise nhwc", "torch nchw", "torch channels_last")
        for channels, size in ((64, 64), (16, 64), (32, 64), (256, 12), (128, 12))
    ]


def test_lines_over_channels_are_the_largest_family_in_order() -> None:
    words, drawn = series.channel_lines(seeds())
    assert words == "depthwise hw64 k3 p1"
    assert list(drawn) == ["depthwise nhwc", "torch nchw", "torch channels_last"]
    assert list(drawn["torch nchw"]) == [16, 32, 64]
    assert drawn["torch nchw"] == pytest.approx({16: 1000 / 10.25, 32: 1000 / 10.5, 64: 1000 / 11})


def test_separable_blocks_of_one_shape_are_a_family() -> None:
    found = [
        result("torch nchw", 10.0, f"separable c{c} o{o} hw8 k3 p1")
        for c, o in ((8, 16), (16, 32), (32, 64), (64, 65))
    ]
    assert list(series.channel_lines(found)[1]["torch nchw"]) == [8, 16, 32]


def test_passes_of_one_shape_are_a_family_apart() -> None:
    found = [
        result("torch nchw", 10.0, f"{kind}depthwise c{c} hw8 k3 p1")
        for kind, channels in (("training ", (8, 16, 32)), ("", (64,)), ("backward ", (128,)))
        for c in channels
    ]
    words, drawn = series.channel_lines(found)
    assert words == "training depthwise hw8 k3 p1"
    assert list(drawn["torch nchw"]) == [8, 16, 32]


@pytest.mark.parametrize("found", [[], FOUND, [result("mxnet nchw", None)]])
def test_too_few_channels_make_no_picture(found: list[Result], tmp_path: Path) -> None:
    assert not plots.channels_plot(found, tmp_path / "channels.png")
    assert list(tmp_path.iterdir()) == []


def test_points_are_our_fastest_and_the_fastest_peer() -> None:
    ours, peer = series.points(FOUND)
    assert (ours.label, ours.gflops, ours.series) == ("c16 hw64 k3", 100.0, "depthwise")
    assert (peer.label, peer.gflops, peer.series) == ("", pytest.approx(1000 / 30), "fastest peer")
    assert ours.intensity == peer.intensity
    assert peer.about == "tvm default on depthwise c16 hw64 k3 p1"


def test_a_pass_is_labelled_like_its_convolution() -> None:
    (point,) = series.points([result("depthwise nchw", 10.0, "training depthwise c16 hw64 k3 p1")])
    assert (point.label, point.intensity) == ("c16 hw64 k3", 3 * 2 * 16 * 64**2 * 9 / point_bytes())


def point_bytes() -> int:
    """Return x, y, weight and their gradients."""
    return 4 * 2 * (2 * 16 * 64**2 + 16 * 9)


def drawn_texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect what a picture says instead of writing it."""
    texts: list[str] = []

    def save(figure: Any, _file: Path) -> None:
        (axes,) = figure.axes
        texts.extend(text.get_text() for text in [*axes.texts, axes.title])

    monkeypatch.setattr(plots, "save", save)
    return texts


def test_every_line_carries_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texts = drawn_texts(monkeypatch)
    assert plots.channels_plot(seeds(), tmp_path / "c.png")
    assert texts == [
        "depthwise nhwc",
        "torch nchw",
        "torch channels_last",
        "depthwise hw64 k3 p1, float32, batch 1, kernel clock, 2 threads",
    ]


def test_no_peer_looks_like_ours_or_like_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looks = []

    def save(figure: Any, _file: Path) -> None:
        lines = figure.axes[0].lines
        looks.extend((line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines)

    monkeypatch.setattr(plots, "save", save)
    names = ["depthwise a", "depthwise b", *(f"peer{k} {v}" for k in range(9) for v in "ab")]
    found = [
        result(name, 10.0, f"depthwise c{channels} hw8 k3 p1")
        for name in names
        for channels in (16, 32, 64)
    ]
    plots.channels_plot(found, tmp_path / "c.png")
    assert len(set(looks)) == len(looks) == 20
    assert [look[0] for look in looks].count(OUR_COLOUR) == 2


def test_the_roofline_names_its_roofs_and_points(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    texts = drawn_texts(monkeypatch)
    plots.roofline_plot([series.Point("a layer", 2.0, 50.0)], LIMITS, tmp_path / "r.png")
    assert texts == [
        "peak 100 GFLOP/s",
        "L1 200 GB/s",
        "memory 20 GB/s",
        "a layer",
        "Roofline measured with 2 threads, float32, target some-cpu",
    ]


def test_pictures_are_written_as_png(tmp_path: Path) -> None:
    plots.channels_plot(seeds(), tmp_path / "new" / "channels.png")
    plots.roofline_plot(series.points(seeds()), LIMITS, tmp_path / "roofline.png")
    for file in (tmp_path / "new" / "channels.png", tmp_path / "roofline.png"):
        assert file.read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DepthwiseError, match="results go to a file that can be written"):
        plots.roofline_plot([], LIMITS, tmp_path / "file" / "roofline.png")
