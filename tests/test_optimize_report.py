"""The report of `optimize`: totals add up; a table, JSON and a picture say the same."""

from __future__ import annotations

import json
from html import escape

import pytest
import torch

from depthwise.commands import optimize_plot
from depthwise.errors import DepthwiseError
from depthwise.network.naming import short_names
from depthwise.torch.network.timing import conditions
from depthwise.torch.optimize_report import HEADERS, Report, Row

PLAN = "expand+depthwise+project rows4 | pointwise tc16 tw6 | channels_last tc8 tw4 | pointwise tc8"
NO_KERNEL = "no kernel computes it"


def row(name: str, before_us: float, after_us: float, **changed) -> Row:
    block = {"kind": "inverted", "problem": "inverted c8 e48 o8 hw14 k3 p1", "plan": PLAN}
    return Row(
        name=name, before_us=before_us, after_us=after_us, **block | {"reason": None} | changed
    )


def torchs(name: str, operator: str, us: float) -> Row:
    return row(name, us, us, kind="torch", problem=operator, plan=None, reason=NO_KERNEL)


def report(*rows: Row, **changed) -> Report:
    values = {
        "total_before_us": 1000.0, "total_after_us": 250.0, "largest_difference_given": 3e-7,
        "largest_difference_random": 4e-7, "tolerance": 1e-5, "change": 1.5,
        "conditions": "1 thread, inputs 1x3x32x32 float32", "traced": "torch.export",
        "untouched": (("head.gru", "a recurrent layer"),), "prepare_seconds": 12.34,
    }  # fmt: skip
    return Report(rows=rows, **values | changed)


ROWS = (
    row("(input)", 0.0, 10.0, kind="conversion", problem="NCHW to NHWC", plan=None),
    row("features.1", 600.0, 120.0),
    torchs("features.1.pool", "aten.mean.dim", 30.0),
    torchs("pool", "aten.mean.dim", 20.0),
    torchs("[b]classifier[/b]", "aten.linear.default", 50.0),
)


def test_times_add_up_to_whole_calls_and_shares_to_1():
    result = report(*ROWS)
    assert result.between.before_us == 300.0
    assert result.between.after_us == 20.0
    assert sum(line.before_us for line in result.lines) == result.total_before_us
    assert sum(line.after_us for line in result.lines) == result.total_after_us
    assert sum(map(result.share_before, result.lines)) == pytest.approx(1)
    assert sum(map(result.share_after, result.lines)) == pytest.approx(1)


def test_rows_that_take_longer_alone_leave_a_negative_time_between_them():
    result = report(row("features.1", 1200.0, 200.0))
    assert (result.between.before_us, result.between.after_us) == (-200.0, 50.0)
    assert result.between.speedup is None
    assert sum(map(result.share_before, result.lines)) == pytest.approx(1)


def test_speedups():
    result = report(*ROWS)
    assert result.speedup == 4.0
    assert [line.speedup for line in result.lines] == [None, 5.0, 1.0, 1.0, 1.0, 15.0]
    assert row("dropped", 5.0, 0.0).speedup is None


def test_the_dictionary_survives_json():
    result = report(*ROWS)
    values = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert values == result.as_dict()
    assert values["speedup"] == 4.0
    assert values["untouched"] == [{"what": "head.gru", "why": "a recurrent layer"}]
    block = values["rows"][1]
    assert Row(**{name: block[name] for name in Row.__dataclass_fields__}) == ROWS[1]
    assert (block["share_before"], block["share_after"], block["speedup"]) == (0.6, 0.48, 5.0)
    assert values["between"]["before_us"] == 300.0


def test_the_table_shows_every_line_and_whole_calls():
    header, _, *lines = str(report(*ROWS)).splitlines()[: 2 + len(ROWS) + 2]
    assert header.split("  ")[0].strip() == HEADERS[0]
    cells = [line.split() for line in lines]
    assert cells[0] == ["(input)", "NCHW", "to", "NHWC", "0.0", "0.0", "10.0", "4.0"]
    assert cells[1][0] == "features.1"
    assert "expand+depthwise+project rows4  " in lines[1]
    assert cells[1][-5:] == ["600.0", "60.0", "120.0", "48.0", "5.00"]
    assert cells[2][:3] == ["features.1.pool", "aten.mean.dim", "torch"]
    assert cells[4][0] == "[b]classifier[/b]"
    assert cells[-2] == ["between", "the", "kernels", "300.0", "30.0", "20.0", "8.0", "15.00"]
    assert cells[-1] == ["total", "1,000.0", "100.0", "250.0", "100.0", "4.00"]


def test_what_was_left_alone_is_below_the_table_once_for_each_reason():
    lines = str(report(*ROWS)).splitlines()
    assert lines[-8:] == [
        "left to torch:",
        f"  aten.mean.dim (2 times): {NO_KERNEL}",
        f"  aten.linear.default: {NO_KERNEL}",
        "not touched:",
        "  head.gru: a recurrent layer",
        "largest difference, relative to the largest output: 3.0e-07 for the example, "
        "4.0e-07 for random inputs; tolerance 1.0e-05",
        "times with 1 thread, inputs 1x3x32x32 float32",
        "read by torch.export, prepared in 12.3 s",
    ]


def test_what_has_one_reason_is_named_together():
    apart = tuple((f"stages.{k}.dwconv", "computed alone") for k in range(5))
    lines = str(report(*ROWS, untouched=(*apart, ("head", "a loop")))).splitlines()
    assert lines[-5:-3] == [
        "  stages.0.dwconv, stages.1.dwconv, stages.2.dwconv and 2 more: computed alone",
        "  head: a loop",
    ]


def test_outputs_that_hardly_depend_on_the_input_are_remarked_on():
    assert "hardly depends" not in str(report(change=2e-3))
    assert "(outputs change by 2.0e-04 between the two: what hardly" in str(report(change=2e-4))


def test_the_conditions_of_the_times(monkeypatch):
    monkeypatch.setattr("depthwise.machine.team.size", lambda: 2)
    images = (torch.zeros(1, 3, 8, 9), {"mask": torch.zeros(4, dtype=torch.float64)}, 3)
    assert conditions(images) == "2 threads, inputs 1x3x8x9, 4 float32/float64"


def test_it_says_what_read_the_model():
    assert "\nread by torch.export, prepared" in str(report())
    assert "\nread module by module, prepared" in str(report(traced="module by module"))


def test_nothing_left_alone_is_nothing_said():
    text = str(report(ROWS[1], untouched=()))
    assert "left to torch" not in text
    assert "not touched" not in text


def png_size(file) -> tuple[int, int]:
    header = file.read_bytes()[:24]
    assert header.startswith(b"\x89PNG")
    return int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")


def test_the_picture_grows_with_the_network(tmp_path):
    small, large = tmp_path / "new" / "small.png", tmp_path / "large.png"
    optimize_plot.plot(report(*ROWS), small)
    optimize_plot.plot(report(*ROWS * 8), large)
    (width, height), (same_width, taller) = png_size(small), png_size(large)
    assert (width, same_width) == (1500, 1500)
    assert taller - height == pytest.approx(150 * optimize_plot.ROW_HEIGHT * 7 * len(ROWS), abs=2)


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Return the axes of what `plot` would have written."""
    figures = []
    monkeypatch.setattr(optimize_plot, "save", lambda figure, _: figures.append(figure))

    def draw(result: Report):
        optimize_plot.plot(result, tmp_path / "unwritten.png")
        return figures[-1].axes[0]

    return draw


def test_the_picture_shows_every_line_in_the_order_of_the_network(drawn):
    result = report(*ROWS)
    axes = drawn(result)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "(input)  NCHW to NHWC"
    assert labels[1] == "features.1  inverted"
    assert labels[-1] == "between the kernels"
    assert axes.get_xlabel() == f"microseconds (less is better), {result.conditions}"
    top, bottom = reversed(axes.get_ylim())
    assert top < 0 < len(result.lines) - 1 < bottom
    before, ours, others = axes.containers
    assert [bar.get_width() for bar in before] == [line.before_us for line in result.lines]
    assert [bar.get_width() for bar in ours] == [120.0]
    assert [bar.get_width() for bar in others] == [10.0, 30.0, 20.0, 50.0, 20.0]


def test_long_names_keep_their_ends(drawn):
    axes = drawn(report(row("network." * 9 + "conv", 2.0, 1.0)))
    label = axes.get_yticklabels()[0].get_text()
    assert len(label) == optimize_plot.LONGEST_LABEL
    assert label.startswith("…")
    assert label.endswith("network.conv  inverted")


def test_a_picture_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(
        DepthwiseError, match=r"a plot goes to a file whose suffix is one of .*; got"
    ):
        optimize_plot.plot(report(*ROWS), tmp_path / "bars.nosuch")


@pytest.mark.parametrize(
    ("groups", "names"),
    [
        ([["0.conv", "0.norm"], ["1.a.conv", "1.b", "1"], ["2"]], ["0", "1", "2"]),
        ([["f.0", "f.1", "f.2"], ["f.3", "f.4"]], ["f.0 to 2", "f.3 to 4"]),
        ([["f.x"], ["f.y.conv", "f.y.conv", "f.y.norm", "f.z"]], ["f.x", "f.y.conv to z"]),
        ([["f.x.conv", "f.x.norm"], ["f"]], ["f.x", "f"]),
        ([["conv1", "bn1"], [""], ["", "fc"], []], ["conv1 to bn1", "", "fc", ""]),
        ([["f.1"], ["f.10", "f.11"]], ["f.1", "f.10 to 11"]),
    ],
)
def test_parts_have_short_names(groups, names):
    assert short_names(groups) == names


def test_a_notebook_shows_the_table_and_its_notes():
    result = report(*ROWS)
    html = result._repr_html_()
    assert html.count("<tr>") == 1 + len([*result.cells()])
    assert all(escape(note) in html for note in result.notes())
