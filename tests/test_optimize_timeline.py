"""The steps of a network along an axis of time: each where it runs, in the lane of its kind."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from depthwise.commands import optimize_timeline as timeline
from depthwise.errors import DepthwiseError
from depthwise.network import report
from depthwise.network.report import Measured, Part, Report
from depthwise.problem.families import BY_KIND


def part(name: str, kind: str, begin_us: float | None, us: float, engine: str | None = None):
    return Part(
        name=name, kind=kind, problem="what", plan=None, begin_us=begin_us, us=us, engine=engine
    )


PARTS = (
    part("image", report.COPY, 10.0, 40.0),
    part("stem", "conv", 60.0, 200.0),
    part("shape", report.VIEW, None, 0.0),
    part("block", "inverted", 260.0, 300.0),
    part("resize", report.CALL, 570.0, 100.0, "onnxruntime"),
    part("norm", "groupnorm", 680.0, 100.0),
    part("sum", "elementwise", 780.0, 1.0),
    part("head", "pointwise", 790.0, 200.0),
)
MEASURED = Measured(
    total_us=1000.0, reference="ONNX Runtime", reference_us=1500.0, largest_difference=1e-7,
    tolerance=1e-4, conditions="1 thread, inputs 1x3x8x8 float32",
)  # fmt: skip
REPORT = Report(parts=PARTS, measured=MEASURED)


def test_each_step_is_in_the_lane_of_its_kind_where_it_runs():
    lanes = {lane.name: lane for lane in timeline.lanes(PARTS, REPORT.outside, 1500.0)}
    assert {name: lane.stretches for name, lane in lanes.items()} == {
        timeline.PRODUCTS: ((60.0, 200.0), (790.0, 200.0)),
        timeline.BLOCKS: ((260.0, 300.0),),
        timeline.OTHERS: ((680.0, 100.0), (780.0, 1.0)),
        timeline.COPIES: ((10.0, 40.0),),
        "onnxruntime": ((570.0, 100.0),),
        timeline.BETWEEN: (
            (0.0, 10.0), (50.0, 10.0), (260.0, 0.0), (560.0, 10.0), (670.0, 10.0), (780.0, 0.0),
            (781.0, 9.0), (990.0, 10.0),
        ),
    }  # fmt: skip
    assert lanes[timeline.BETWEEN].us == REPORT.outside.between_us
    assert len({lane.colour for lane in lanes.values()}) == len(lanes)
    told = [label.text for lane in lanes.values() for label, _ in lane.labels]
    assert sorted(told) == [
        "block 0.30 ms", "head 0.20 ms", "image 0.04 ms", "norm 0.10 ms", "resize 0.10 ms",
        "stem 0.20 ms",
    ]  # fmt: skip


def test_every_kind_of_problem_has_a_lane_of_ours():
    ours = timeline.PRODUCTS, timeline.BLOCKS, timeline.OTHERS
    assert {timeline.lane_of(part("", kind, 0.0, 1.0)) for kind in BY_KIND} == {*ours}
    assert {*timeline.KINDS[timeline.PRODUCTS], *timeline.KINDS[timeline.BLOCKS]} <= {*BY_KIND}


def test_long_names_keep_their_ends_and_labels_stay_within_the_call():
    (label,) = timeline.labels_of(part("network." * 9 + "conv", "conv", 800.0, 100.0), 1000, 1000)
    assert len(label.text) == timeline.LONGEST_LABEL
    assert label.text.startswith("…")
    assert label.text.endswith("network.conv 0.10 ms")
    assert 0 <= label.begin < label.end == label.x == 850
    (label,) = timeline.labels_of(part("", "conv", 0.0, 20.0), 1000, 1000)
    assert (label.text, label.begin, label.x) == ("what 0.02 ms", 10, 10)


SPOTS = st.tuples(st.integers(0, 100), st.integers(1, 30))


@given(spots=st.lists(SPOTS, max_size=20))
def test_labels_meet_neither_one_another_nor_lines(spots):
    labels = [
        [timeline.Label(text="", x=x, begin=begin, end=begin + width) for begin in (x, x - width)]
        for x, width in spots
    ]
    found = timeline.arranged(labels)
    if labels:
        assert found[0] == (labels[0][0], 0)
    for number, (one, row) in enumerate(found):
        assert 0 <= row < timeline.LEVELS
        for other, its_row in found[:number]:
            assert row != its_row or one.end <= other.begin or other.end <= one.begin
            assert row <= its_row or not other.begin <= one.x <= other.end
            assert row >= its_row or not one.begin <= other.x <= one.end


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Return the axes of what `plot` would have written."""
    figures = []
    monkeypatch.setattr(timeline, "save", lambda figure, _: figures.append(figure))

    def draw(result: Report):
        timeline.plot(result, tmp_path / "unwritten.png")
        return figures[-1].axes[0]

    return draw


def test_the_picture_has_a_bar_for_each_step_and_the_other_engine(drawn):
    axes = drawn(REPORT)
    assert axes.get_title() == (
        "A call takes 1.00 ms, 19.9% of it outside our kernels: 1.50 times as fast as ONNX Runtime"
    )
    assert [tick.get_text() for tick in axes.get_yticklabels()][:2] == [
        f"{timeline.PRODUCTS}\n0.40 ms, 40.0%", f"{timeline.BLOCKS}\n0.30 ms, 30.0%",
    ]  # fmt: skip
    ours = to_rgb(timeline.OUR_COLOUR)
    bars = [
        path.get_extents().intervalx.tolist()
        for each in axes.collections
        for path in each.get_paths()
        if tuple(each.get_facecolor()[0][:3]) == ours
    ]
    assert bars == [[60, 260], [790, 990]]
    assert [line.get_xdata()[0] for line in axes.lines][-2:] == [1000, 1500]
    assert "ONNX Runtime: 1.50 ms " in [text.get_text() for text in axes.texts]
    assert axes.get_xlim()[1] > 1500
    assert MEASURED.conditions in axes.get_xlabel()


@pytest.mark.parametrize(("reference_us", "line"), [(700.0, True), (1900.0, True), (9e3, False)])
def test_an_engine_that_takes_much_longer_is_an_arrow(drawn, reference_us, line):
    axes = drawn(replace(REPORT, measured=replace(MEASURED, reference_us=reference_us)))
    assert (reference_us in [line.get_xdata()[0] for line in axes.lines]) == line
    (words,) = (each.get_text() for each in axes.texts if "ONNX" in each.get_text())
    assert words.endswith("→ ") != line
    assert max(1000.0, reference_us if line else 0) < axes.get_xlim()[1] < 2000


def test_a_network_of_hundreds_of_steps_is_as_large_as_its_lanes(drawn):
    def many(count: int) -> Report:
        us = 900 / count
        steps = (part(f"n{n}", "conv", 10 + us * n, us) for n in range(count))
        return Report(parts=tuple(steps), measured=MEASURED)

    heights = [drawn(many(count)).figure.get_figheight() for count in (300, 600)]
    assert heights[0] == heights[1]


def test_a_picture_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(DepthwiseError, match="a plot goes to a file whose suffix is one of"):
        timeline.plot(REPORT, tmp_path / "timeline.nosuch")
