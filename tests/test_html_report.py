"""The page of a run, read without a browser."""

from __future__ import annotations

import json
import math
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import found
from depthwise import files
from depthwise.bench import command
from depthwise.bench.comparison import pairs
from depthwise.bench.html import charts, layers, networks, page
from depthwise.bench.series import points
from depthwise.commands import cli
from depthwise.drawing import COLOURS, OUR_COLOUR
from depthwise.errors import DepthwiseError
from depthwise.measure.roofline import Copy, Roofline
from test_report import FOUND, LIMITS, lines, result

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """The elements of a page with what they say."""

    VOID = ("meta", "br", "img", "link", "input", "hr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, Any], list[str]]] = []
        self.open: list[int] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        if tag not in self.VOID:
            self.open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self.open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for number in self.open:
            self.elements[number][2].append(data)

    def all(self, tag: str, **attributes: str) -> list[str]:
        """Return what each such element says."""
        return [
            "".join(said)
            for name, given, said in self.elements
            if name == tag and attributes.items() <= given.items()
        ]


def read(file: Path) -> Page:
    return Page(file.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Page:
    file = tmp_path_factory.mktemp("page") / "report.html"
    layers.write(file, found.layers())
    assert [each.name for each in file.parent.iterdir()] == ["report.html"]
    return read(file)


def rows(written: Page, section: str) -> list[str]:
    (text,) = written.all("section", id=section)
    return lines(text)


def test_the_page_says_what_was_measured_and_how(written: Page) -> None:
    assert written.all("title") == ["depthwise bench: Some CPU (avx2), 2 threads, float32"]
    assert written.all("code")[0] == "depthwise bench --layers 'my layers.json'"
    said = " ".join(rows(written, "conditions"))
    for words in (
        "batch 1 samples of each time 20", "depthwise 1", "onnxruntime 1", "load before the start",
        "FMAs on registers: 100.0 GFLOP/s", "Roofline measured with 2 threads, float32, target",
    ):  # fmt: skip
        assert words in said
    assert "warning" not in {given.get("class") for _, given, _ in written.elements}


def test_the_overview_holds_ours_against_the_fastest_peer(written: Page) -> None:
    cells = written.all("td")
    assert cells[:7] == [
        "depthwise c16 hw64 k3 p1", "nhwc", "onnxruntime nchwc", "10.0", "50.0", "5.00", "50%",
    ]  # fmt: skip
    assert written.all("caption") == [
        "Our fastest beside the fastest peer",
        "Its time over that of our fastest",
        "Our fastest, of the limit",
    ]


def test_every_result_has_a_row_and_ours_stand_out(written: Page) -> None:
    ours = written.all("tr", **{"class": "ours"})
    assert len(ours) == 8
    assert all("depthwise nhwc" in text or "depthwise packed" in text for text in ours)
    (section,) = written.all("section", id="results")
    assert section.count("hw64 k3 p1") == len(found.LAYERS)
    assert "least time that the measured roofline allows" in section


def test_every_header_is_a_button_and_sorts(written: Page) -> None:
    headers = [given for tag, given, _ in written.elements if tag == "th"]
    assert {given["aria-sort"] for given in headers} == {"none"}
    assert written.all("th") == written.all("button")
    assert {"problem", "median us", "of limit"} <= set(written.all("button"))


def test_notes_are_all_there_the_gravest_first(written: Page) -> None:
    (section,) = written.all("section", id="notes")
    found_at = [section.index(word) for word in ("wrong", "failed", "unstable", "rejected")]
    assert found_at == sorted(found_at)
    assert "2 problems\nno float64" in section
    assert "<script>alert('died')</script>" in section


def test_the_page_loads_nothing(written: Page) -> None:
    loading = [
        (tag, given)
        for tag, given, _ in written.elements
        if {"src", "href", "srcset", "poster", "data", "action"} & set(given)
        and not given.get("href", "").startswith("#")
    ]
    assert loading == []
    for style in written.all("style"):
        assert not re.search(r"url\(|@import", style)
    (policy,) = (given["content"] for _, given, _ in written.elements if "http-equiv" in given)
    assert policy.startswith("default-src 'none';")
    assert not re.search(r"https?:|'self'|\*", policy)


def test_the_data_are_those_of_the_json_file(written: Page, tmp_path: Path) -> None:
    findings = found.layers()
    findings.write(tmp_path / "bench.json", last=False)
    (data,) = written.all("script", id="findings")
    kept = json.loads((tmp_path / "bench.json").read_text())
    assert json.loads(data)["results"] == kept["results"]
    assert json.loads(data)["limits"] == kept["limits"]
    assert list(json.loads(data)["results"][0]) == list(kept["results"][0])


def test_what_others_wrote_is_text(tmp_path: Path) -> None:
    hostile = [replace(each, layer=HOSTILE, variant=HOSTILE, version=HOSTILE) for each in FOUND[:4]]
    findings = found.findings(hostile, command=HOSTILE, summary=HOSTILE)
    layers.write(tmp_path / "tame.html", found.findings(FOUND[:4]))
    layers.write(tmp_path / "hostile.html", findings)
    tame, written = read(tmp_path / "tame.html"), read(tmp_path / "hostile.html")
    assert len(written.all("script")) == len(tame.all("script"))
    assert "img" not in {tag for tag, _, _ in written.elements}
    assert written.all("code")[0] == HOSTILE
    (data,) = written.all("script", id="findings")
    assert json.loads(data)["results"][0]["layer"] == HOSTILE


def test_a_run_that_was_stopped_or_disturbed_says_so(tmp_path: Path) -> None:
    findings = found.layers(complete=3)
    findings.machine["governor"] = "powersave"
    layers.write(tmp_path / "page.html", findings)
    assert read(tmp_path / "page.html").all("p", **{"class": "warning"}) == [
        "Warning: the run was stopped: 3 of 4 problems are complete.",
        "Warning: the frequency governor is powersave, not performance.",
    ]


def test_networks_have_bars_of_time_memory_and_preparation(tmp_path: Path) -> None:
    networks.write(tmp_path / "page.html", found.networks())
    written = read(tmp_path / "page.html")
    assert written.all("strong") == [
        "Our fastest beside the fastest peer, by problem",
        "ms a call", "MiB touched by a call", "s to prepare",
    ]  # fmt: skip
    (section,) = written.all("section", id="results")
    assert "network tiny n2\nopenvino nchw\nWRONG" in section
    (data,) = written.all("script", id="findings")
    assert json.loads(data)["results"][0]["prepare_seconds"] == 1.0


def test_a_page_that_cannot_be_put_into_place_leaves_the_one_that_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "page.html"
    file.write_text("before")

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(DepthwiseError, match=r"can be written; got .*: no space left"):
        layers.write(file, found.layers())
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [
        ("page.html", "before")
    ]


def test_a_page_without_its_packages_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.check(tmp_path / "page.html")
    monkeypatch.setattr(page, "find_spec", lambda _: None)
    with pytest.raises(DepthwiseError, match=r"needs jinja2; .*pip install '\.\[bench\]'"):
        page.check(tmp_path / "page.html")


def test_the_command_line_is_kept_as_it_can_be_given_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[command.Options] = []
    monkeypatch.setattr(command, "bench", lambda options: asked.append(options) or 0)
    given = ["bench", "--layers", "my layers.json", "--html", "page.html"]
    monkeypatch.setattr(sys, "argv", ["/somewhere/depthwise", *given])
    with pytest.raises(SystemExit):
        cli.main()
    (options,) = asked
    assert options.html == Path("page.html")
    assert options.command == "depthwise bench --layers 'my layers.json' --html page.html"


def test_a_page_of_three_layers_is_small(tmp_path: Path) -> None:
    layers.write(tmp_path / "page.html", found.findings(found.LAYERS[:15]))
    assert (tmp_path / "page.html").stat().st_size < 100_000


def test_bars_begin_at_one_and_show_who_is_ahead() -> None:
    chart = charts.ratios(pairs(found.LAYERS), lambda pair: pair.spec[10:])
    assert chart is not None
    assert [bar.value for bar in chart.bars] == ["5.00", "0.75", "0.88", "3.75"]
    ahead, behind = chart.colours.values()
    assert [bar.colour for bar in chart.bars] == [ahead, behind, behind, ahead]
    first, second, third, fourth = chart.bars
    assert (second.start, first.start + first.length) == (0, pytest.approx(100))
    assert second.length == first.start == fourth.start
    assert third.start + third.length == pytest.approx(first.start, abs=0.02)
    lengths = [bar.length for bar in chart.bars]
    logarithms = [abs(math.log(ratio)) for ratio in (5, 15 / 20, 35 / 40, 300 / 80)]
    total = math.log(5 / (15 / 20))
    assert lengths == pytest.approx([100 * each / total for each in logarithms], abs=0.02)
    assert first.name == "c16 hw64 k3 p1"
    assert first.about == "depthwise nhwc 10.0\xa0us, onnxruntime nchwc 50.0\xa0us"
    assert "on 2 of 4 problems; geometric mean 1.87" in chart.text


def test_there_are_no_ratios_without_a_peer() -> None:
    assert charts.ratios(pairs([result("depthwise nhwc", 10.0)]), str) is None


def plotted(chart: charts.Chart | None) -> charts.Plot:
    assert chart is not None
    assert chart.plot is not None
    return chart.plot


def test_lines_over_channels_are_those_of_the_pictures() -> None:
    chart = charts.channels(found.LAYERS)
    plot = plotted(chart)
    assert [line.name for line in plot.lines] == list(found.TIMES)
    assert [line.colour for line in plot.lines] == [
        OUR_COLOUR, OUR_COLOUR, COLOURS[0], COLOURS[0], COLOURS[1],
    ]  # fmt: skip
    assert [mark.x for mark in plot.lines[2].marks] == [16, 32, 64, 128]
    assert [mark.y for mark in plot.lines[2].marks] == pytest.approx([10.0, 5.0, 2.5, 1.25])
    assert plot.lines[2].marks[3].text == "torch nchw, 128 channels: 1.2 GFLOP/s"
    assert [plot.x.place(count) for count in plot.x.ticks] == pytest.approx(
        [0, 100 / 3, 200 / 3, 100], abs=0.01
    )
    assert list(plot.y.ticks.values()) == ["0", "20", "40", "60", "80", "100"]
    assert chart is not None
    assert "ours leads at 2 of 4 counts" in chart.text
    assert charts.channels(FOUND) is None


def test_the_roofline_has_its_roofs_and_both_points_of_a_problem() -> None:
    plot = plotted(charts.roofline(points(FOUND), LIMITS))
    *roofs, ours, peer = plot.lines
    names = ["peak 100 GFLOP/s", "L1 200 GB/s", "memory 20 GB/s"]
    assert [roof.name for roof in roofs] == [note.text for note in plot.notes] == names
    for roof, bandwidth in zip(roofs[1:], (200, 20), strict=True):
        assert [mark.y for mark in roof.marks] == pytest.approx(
            [bandwidth * mark.x for mark in roof.marks]
        )
        assert roof.marks[1].y == pytest.approx(100.0)
    (mark,) = ours.marks
    assert mark.text.startswith("depthwise nhwc on depthwise c16 hw64 k3 p1: 100.0 GFLOP/s at ")
    assert peer.marks[0].text.startswith("tvm default on depthwise c16 hw64 k3 p1: ")
    places = [axis.place(value) for axis, value in ((plot.x, mark.x), (plot.y, mark.y))]
    assert all(0 < place < 100 for place in places)


def test_a_roof_of_one_level_is_drawn_alone() -> None:
    limits = Roofline(1, "float64", "cpu", 50.0, (Copy(2**14, 10.0, "L1"),))
    assert len(plotted(charts.roofline([], limits)).lines) == 2


@pytest.mark.parametrize(("highest", "step"), [(0.9, 0.2), (95, 20), (7, 1), (480, 100), (41, 10)])
def test_numbers_beside_an_axis_are_few_and_round(highest: float, step: float) -> None:
    ticks = list(charts.from_zero(highest, "GFLOP/s").ticks)
    assert ticks == pytest.approx([step * k for k in range(len(ticks))])
    assert highest - step < ticks[-1] <= 1.05 * highest


def test_every_mark_of_a_plot_says_its_number(written: Page) -> None:
    marks = [given for tag, given, _ in written.elements if given.get("class") == "mark"]
    assert len(marks) == len(found.LAYERS) + 2 * len(found.PROBLEMS)
    assert all("GFLOP/s" in given["aria-label"] for given in marks)
