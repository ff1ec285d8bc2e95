"""The charts of the tutorial: what is drawn where, what is legible, and what their texts tell."""

from __future__ import annotations

import re

import pytest

from depthwise.measure.roofline import Copy, Roofline
from depthwise.tutorial import charts
from depthwise.tutorial.picture import INK

LIMITS = Roofline(
    2, "float32", "some-cpu", 100.0, (Copy(2**14, 200.0, "L1"), Copy(2**26, 20.0, "memory"))
)


def marked(axes):
    """Return the places of the points, apart from the roofs."""
    return [line.get_xydata().tolist() for line in axes.lines if line.get_marker() != "None"]


def written(axes):
    return [text.get_text() for text in axes.texts]


def test_a_roofline_has_its_roofs_and_its_points():
    picture = charts.roofline(LIMITS, {"ours": (2.0, 40.0), "theirs": (2.0, 20.0)}, "Ours is up.")
    (axes,) = picture.figure.axes
    assert marked(axes) == [[[2.0, 40.0]], [[2.0, 20.0]]]
    assert {"peak 100 GFLOP/s", "L1 200 GB/s", "memory 20 GB/s", "ours", "theirs"} == set(
        written(axes)
    )
    assert axes.get_legend() is None
    low, high = axes.get_xlim()
    assert low < 0.5
    assert high > 5  # from L1's ridge to that of memory
    assert picture.text.startswith("Ours is up. Roofline of 2 threads: no more than 100 GFLOP/s")
    assert "theirs: 2 FLOP/byte, 20 GFLOP/s." in picture.text


def test_a_roofs_slope_ends_at_the_peak():
    (axes,) = charts.roofline(LIMITS, {"ours": (2.0, 40.0)}).figure.axes
    slopes = [line.get_xydata() for line in axes.lines if line.get_alpha()]
    for bandwidth, ((x0, y0), (x1, y1)) in zip((200.0, 20.0), slopes, strict=True):
        assert y0 == pytest.approx(x0 * bandwidth)
        assert (x1, y1) == pytest.approx((100.0 / bandwidth, 100.0))


def test_points_of_one_kind_look_alike_and_the_legend_names_the_kinds():
    points = {
        "depthwise c8": (2.0, 40.0),
        "pointwise c8": (9.0, 90.0),
        "depthwise c16": (2.1, 41.0),
    }
    (axes,) = charts.roofline(LIMITS, points).figure.axes
    assert marked(axes) == [[[2.0, 40.0], [2.1, 41.0]], [[9.0, 90.0]]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["depthwise", "pointwise"]
    assert written(axes)[-3:].count("c8") == 2


def test_lines_carry_their_names_and_start_at_zero():
    series = {"ours": {16: 50.0, 32: 60.0, 256: 70.0}, "default": {16: 9.0, 256: 8.0}}
    picture = charts.lines(series, "channels", "GFLOP/s", limit=("limit", 100.0))
    (axes,) = picture.figure.axes
    assert [line.get_ydata().tolist() for line in axes.lines[:2]] == [[50, 60, 70], [9, 8]]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["16", "32", "256"]
    assert axes.get_xscale() == "log"
    assert axes.get_ylim()[0] == 0
    assert sorted(written(axes)) == ["default", "limit", "ours"]
    assert picture.text == (
        "GFLOP/s over channels. ours: 50 at 16, 60 at 32, 70 at 256; default: 9 at 16, 8 at 256. "
        "limit: 100."
    )


def test_near_places_stand_on_a_plain_axis():
    (axes,) = charts.lines({"ours": {1: 10.0, 2: 19.0}}, "threads", "speedup").figure.axes
    assert axes.get_xscale() == "linear"


def test_many_places_have_fewer_ticks():
    line = {2.0**k: 1.0 for k in range(14)}
    (axes,) = charts.lines({"ours": line}, "KiB", "GB/s").figure.axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [f"{4**k}" for k in range(7)]


def test_bars_show_every_number_and_the_limit():
    picture = charts.bars({"ours": 12.5, "theirs": 1234.0}, "us", ("limit", 10.0))
    (axes,) = picture.figure.axes
    assert [bar.get_width() for bar in axes.patches] == [12.5, 1234.0]
    assert written(axes) == ["12.5", "1,234", "limit 10"]
    assert axes.yaxis_inverted()
    assert picture.text == "ours: 12.5 us; theirs: 1,234 us. limit: 10 us."


def test_a_heat_map_writes_each_cell_legibly_and_the_best_in_bold():
    values = {(1, 4): 10.0, (1, 8): 40.0, (2, 4): 100.0, (2, 8): float("nan")}
    picture = charts.heat_map(values, "rows", "columns", "GFLOP/s")
    axes = picture.figure.axes[0]
    shown = {text.get_text(): (text.get_position(), text.get_color()) for text in axes.texts}
    assert shown == {
        "10": ((0, 0), charts.LIGHT), "40": ((1, 0), charts.LIGHT), "100": ((0, 1), charts.DARK),
    }  # fmt: skip
    assert [text.get_text() for text in axes.texts if text.get_fontweight() == "bold"] == ["100"]
    assert picture.text == (
        "GFLOP/s by rows and columns: from 10 to 100; the best, 100, at rows 2 and columns 4."
    )


def test_the_best_may_be_the_least():
    picture = charts.heat_map({(1, 1): 2.0, (1, 2): 3.0}, "rows", "columns", "us", best=min)
    assert picture.text.endswith("the best, 2, at rows 1 and columns 1.")


@pytest.mark.parametrize(
    "picture",
    [
        charts.roofline(LIMITS, {"ours": (2.0, 40.0)}),
        charts.lines({"ours": {1: 10.0, 2: 19.0}}, "threads", "speedup"),
        charts.bars({"ours": 1.0}, "us"),
    ],
    ids=["roofline", "lines", "bars"],
)
def test_letters_take_the_colour_of_the_page(picture):
    drawing = picture._repr_html_()
    assert INK not in drawing
    assert not re.search(r"(fill|stroke): ?(#000000|#ffffff|black|white)", drawing)
    assert "<text" in drawing
    assert "currentColor" in drawing
