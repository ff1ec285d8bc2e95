"""`depthwise cost` and `depthwise compare`: what they print, write and refuse."""

import json
from pathlib import Path

import pytest

import depthwise as dw
from depthwise.bench.layers import workload
from depthwise.commands import compare
from depthwise.commands import cost as cost_report
from depthwise.commands.cli import main
from depthwise.measure.roofline import Copy, Roofline

STANDARD = "conv c8 o64 hw16 k3 bias"
MACHINE = Roofline(
    threads=1,
    dtype="float32",
    cpu="a machine of round numbers",
    peak_gflops=100.0,
    copies=(Copy(2**20, 50.0, "L2"), Copy(2**24, 10.0, "memory")),
)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command line; return its exit status, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["depthwise", *arguments])
        with pytest.raises(SystemExit) as exit_info:
            main()
        return exit_info.value.code or 0, *capsys.readouterr()

    return run


@pytest.fixture
def round_machine(monkeypatch) -> None:
    monkeypatch.setattr("depthwise.measure.roofline.measure", lambda *_, **__: MACHINE)


def test_the_counterpart_keeps_sizes_window_and_epilogue() -> None:
    spec = dw.parse("conv n2 c8 o64 h16 w12 k3x5 s2x1 p1,0,2,3 d1x2 nhwc float64 reflect bias relu")
    separable = compare.counterpart(spec)
    expected = "separable n2 c8 o64 h16 w12 k3x5 s2x1 p1,0,2,3 d1x2 nhwc float64 reflect bias"
    assert str(separable) == f"{expected} none/relu"
    assert separable.input_shape == spec.input_shape
    assert separable.output_shape == spec.output_shape


@pytest.mark.parametrize(
    "text", ["depthwise c8 hw16 k3", "conv c8 o8 hw16 k3 g2", "separable c8 o64 hw16 k3"]
)
def test_only_a_standard_convolution_has_a_counterpart(text: str, run) -> None:
    status, out, err = run("compare", text)
    assert (status, out) == (2, "")
    assert err == f"depthwise: a standard convolution is a conv with one group; got {text}\n"


def test_compare_measures_what_it_verified(run, round_machine) -> None:
    status, out, _ = run("compare", STANDARD, "--repeats", "1", "--json")
    assert status == 0
    found = json.loads(out)
    standard, separable = found["standard"], found["separable"]
    assert (standard["params"], separable["params"]) == (4_672, 656)
    assert standard["output_shape"] == separable["output_shape"] == [1, 64, 14, 14]
    assert found["ratios"]["params"] == 4_672 / 656
    assert found["parameter_ratio_limit"] == 9
    for engine in ("depthwise", "torch"):
        for problem in (standard, separable):
            timed = [
                result
                for result in found["results"]
                if (result["engine"], result["spec"]) == (engine, problem["spec"])
            ]
            assert timed
            assert all(result["verified"] and result["median_us"] > 0 for result in timed)


def test_compare_prints_both_problems_side_by_side(run, round_machine) -> None:
    status, out, _ = run("compare", STANDARD, "--repeats", "1")
    assert status == 0
    lines = {line.split("  ")[0]: line.split() for line in out.splitlines()}
    assert lines["params"][1:] == ["4,672", "656", "7.12"]
    assert lines["output"][1:] == ["(1,", "64,", "14,", "14)"] * 2
    for engine in ("depthwise", "torch"):
        assert float(lines[f"us, {engine}"][-1]) > 0
    assert "KH * KW = 9 " in out


def test_cost_prints_a_row_for_each_problem_and_each_part(run) -> None:
    status, out, _ = run(
        "cost", "conv c8 o64 hw128 k3 bias", "separable c8 o64 hw128 k3 bias", "--wide"
    )
    assert status == 0
    rows = [line.split() for line in out.splitlines()]
    columns = ["params", "MACs", "FLOPs", "bytes", "bytes", "unfused", "FLOP/byte"]
    assert rows[0] == ["problem", *columns]
    assert rows[1][-6:-3] == ["4,672", "73,156,608", "146,313,216"]
    assert rows[2][-6:-3] == ["656", "9,271,584", "18,543,168"]
    assert [row[0] for row in rows[3:]] == ["depthwise", "pointwise"]


def test_cost_reports_the_layers_of_a_workload(run) -> None:
    status, out, _ = run("cost", "--workload", "mobilenet_v2", "--op", "separable", "--json")
    assert status == 0
    records = json.loads(out)["problems"]
    layers = workload("mobilenet_v2")
    assert {record["spec"] for record in records} == {
        str(layer.problem("separable")) for layer in layers
    }
    for record in records:
        assert record["flops"] == 2 * record["macs"] == dw.cost(record["spec"]).flops
        assert record["layers"].startswith("mobilenet_v2")


def test_cost_takes_problems_beside_a_layer_file(run, tmp_path: Path) -> None:
    file = tmp_path / "layers.json"
    file.write_text('[{"c": 8, "h": 9, "w": 7, "k": 3, "stride": 2, "name": "first"}]')
    status, out, _ = run(
        "cost", "pointwise c8 o4 hw7", "--layers", str(file), "--batch", "2", "--wide"
    )
    assert status == 0
    names = [line.split("  ")[0] for line in out.splitlines()]
    assert names == ["problem", "pointwise c8 o4 hw7", "depthwise n2 c8 h9 w7 k3 s2"]
    assert "first" in out.splitlines()[2]


def test_a_limit_is_the_longer_of_arithmetic_and_memory() -> None:
    large = cost_report.record(dw.parse("depthwise c256 hw64 k3 p1"), MACHINE)
    assert large["bound_by"] == "memory"
    assert large["limit_gflops"] < 100
    dense = cost_report.record(dw.parse("conv c256 o256 hw12 k3 p1"), MACHINE)
    assert dense["bound_by"] == "arithmetic"
    assert dense["limit_us"] == pytest.approx(dense["flops"] / 100e3)
    assert dense["limit_gflops"] == pytest.approx(100)


def test_a_plot_measures_the_roofline_and_is_written(run, round_machine, tmp_path: Path) -> None:
    file = tmp_path / "roofline.png"
    status, out, _ = run("cost", "depthwise c256 hw64 k3 p1", "--plot", str(file), "--wide")
    assert status == 0
    assert out.splitlines()[0].endswith("bound by")
    assert out.splitlines()[1].endswith("memory")
    assert file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["/proc/plot.png", "plot.nothing", "."])
def test_a_plot_that_cannot_be_written_is_refused_before_measuring(
    run, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost_report, "measure_roofline", lambda *_: pytest.fail("measured"))
    status, out, err = run("cost", "depthwise c256 hw64 k3 p1", "--plot", name)
    assert (status, out) == (2, "")
    assert " to a file " in err


def test_the_roofline_is_in_the_json(run, round_machine) -> None:
    status, out, _ = run("cost", "depthwise c256 hw64 k3 p1", "--roofline", "--json")
    assert status == 0
    assert json.loads(out)["roofline"]["peak_gflops"] == 100
    assert json.loads(out)["problems"][0]["limit_us"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "got none of them"),
        (["convolution c8"], "a problem begins with"),
        (["--workload", "nothing"], "a workload is one of"),
        (["--layers", "missing.json"], "missing.json"),
        (["depthwise c8 hw8 k3", "--plot", "plot.nothing"], "a plot goes to a file"),
    ],
)
def test_cost_refuses_in_one_line(arguments, message, run, round_machine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = run("cost", *arguments)
    assert status == 2
    assert err.startswith("depthwise: ")
    assert message in err
    assert len(err.splitlines()) == 1
