"""Tables at 60, 80 and 200 columns: no number, plan, name or header is ever cut."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
from rich.cells import cell_len

import depthwise as dw
from depthwise import console
from depthwise.bench import changes, report
from depthwise.bench.inference import report as network_report
from depthwise.bench.inference.run import NetworkResult
from depthwise.commands import cli, compare, doctor, optimize, sweep
from depthwise.commands import tune as tune_report
from depthwise.commands.diagnosis import Disk, Facts, Team
from depthwise.machine.target import host
from depthwise.measure import state
from depthwise.problem.parse import parse
from depthwise.schedule import default_plan
from depthwise.store import cache
from recorded import Recorded
from test_optimize_report import ROWS
from test_optimize_report import report as optimize_report
from test_report import LIMITS, result

BLOCK = "inverted c24 e144 o24 hw56 k3 p1 bias relu6 residual nhwc"
CONV = "depthwise c144 hw56 k3 p1 nhwc"
STANDARD = "conv c8 o64 hw16 k3 bias"
NAMES = ("depthwise nhwc", "torch channels_last", "onnxruntime nchwc")
RESULTS = [
    replace(result(name, us, spec), layer="mobilenet_v2_1.0 features.2.conv.1.0")
    for spec in (BLOCK, CONV)
    for name, us in zip(NAMES, (123.4, 12345.6, 234567.8), strict=True)
]


def command(*arguments):
    """Return what runs a command line."""

    def run(monkeypatch, _folder):
        monkeypatch.setattr(sys, "argv", ["depthwise", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code

    return run


def roofline(monkeypatch, folder):
    monkeypatch.setattr("depthwise.measure.roofline.measure", lambda *_, **__: LIMITS)
    command("cost", BLOCK, CONV, "--roofline")(monkeypatch, folder)


def bench(monkeypatch, folder):
    report.print_results(RESULTS, "the conditions", 100.0)


def networks(monkeypatch, folder):
    more = {
        "max_rel_err": 1e-6, "images_per_s": 1234.5, "prepare_seconds": 123.4,
        "export_seconds": 12.3, "peak_bytes": 2**30, "grown_bytes": 2**28, "touched_bytes": 2**26,
    }  # fmt: skip
    network_report.print_results([NetworkResult(**asdict(each), **more) for each in RESULTS], "x")


def bench_compare(monkeypatch, folder):
    slower = [replace(each, median_us=each.median_us + 100) for each in RESULTS]
    for name, results in (("a", RESULTS), ("b", slower)):
        found = {"machine": {}, "limits": [], "results": list(map(asdict, results))}
        (folder / name).write_text(json.dumps(found))
    changes.compare(folder / "a", folder / "b", "table")


def compared(monkeypatch, folder):
    spec = parse(STANDARD)
    pair = (str(spec), str(compare.counterpart(spec)))
    found = [result(name, 1234.5, text) for name in NAMES[:2] for text in pair]
    monkeypatch.setattr(compare, "_measure", lambda *_: (found, []))
    compare.compare(spec, threads=1, repeats=1, form="table")


def swept(monkeypatch, folder):
    monkeypatch.setattr(sweep, "Laboratory", lambda _: Recorded({}, otherwise=123456.7))
    monkeypatch.setattr(sweep, "can_draw", lambda: False)
    sweep.sweep(CONV, None, 1, 1, None, "table")


def tuned(monkeypatch, folder):
    default = default_plan(parse(CONV), host())
    laboratory = Recorded({default: 123456.7}, otherwise=23456.7)
    monkeypatch.setattr(tune_report, "Laboratory", lambda _: laboratory)
    tune_report.tune([parse(CONV), parse("separable c8 o8 hw6 k3 p1 nhwc")], 1, 1.0, "table")


def cached(monkeypatch, folder):
    plan = default_plan(parse(BLOCK), host(), 1)
    cache.store(parse(BLOCK), plan, host(), lambda path: path.write_bytes(b"x"), {}, ".so")
    command("cache", "--all")(monkeypatch, folder)


def optimized(monkeypatch, folder):
    optimize.print_report(optimize_report(*ROWS), "table")


def examined(monkeypatch, folder):
    facts = Facts(
        state.describe(), 1.5, {"OMP_NUM_THREADS": "2"}, Team(9999, "/usr/lib/libgomp.so.1", None),
        None, "/usr/bin/ld", Disk("/home/somebody/.cache/depthwise", None, True, True, 2**40, 3, 9),
        {"torch": "2.13.0+cpu"}, None,
    )  # fmt: skip
    monkeypatch.setattr(doctor, "examine", lambda: facts)
    doctor.doctor("table")


PRINTED = {
    "cost": command("cost", "--workload", "mobilenet_v2", "--op", "inverted"),
    "cost --roofline": roofline,
    "explain a block": command("explain", BLOCK),
    "explain": command("explain", CONV),
    "peers": command("peers"),
    "cache": command("cache"),
    "cache --all": cached,
    "bench": bench,
    "bench --op network": networks,
    "bench compare": bench_compare,
    "compare": compared,
    "sweep": swept,
    "tune": tuned,
    "optimize": optimized,
    "doctor": examined,
}


@pytest.fixture
def layouts(monkeypatch):
    """Note every table that is laid out, with how."""
    found = []
    fit = console._fit

    def noted(headers, rows, left, spare, width):
        layout = fit(headers, rows, left, spare, width)
        found.append(SimpleNamespace(headers=headers, rows=rows, spare=spare, layout=layout))
        return layout

    monkeypatch.setattr(console, "_fit", noted)
    return found


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("printed", PRINTED)
def test_nothing_is_cut(printed, width, layouts, monkeypatch, tmp_path, capsys, database):
    monkeypatch.setattr(console.out, "width", width)
    PRINTED[printed](monkeypatch, tmp_path)
    out = capsys.readouterr().out
    flat = " ".join(out.split())
    assert "…" not in out
    assert [line for line in out.splitlines() if cell_len(line) > width and " " in line] == []
    assert layouts
    for table in layouts:
        shown = {*table.layout.beside, *table.layout.apart}
        for k in shown:
            cells = [row[k] for row in table.rows]
            for text in (*table.headers[k].split(), *cells) if any(cells) else ():
                words = " ".join(text.split())
                assert re.search(rf"(?<!\S){re.escape(words)}(?![^\s:])", flat) or not words
        hidden = {header: None for k, header in enumerate(table.headers) if k not in shown}
        assert set(hidden) <= set(table.spare)
        assert f"({', '.join(hidden)}: with --wide)" in flat or not hidden


@pytest.mark.parametrize("printed", PRINTED)
def test_wide_tables_have_every_column_beside_the_others(
    printed, layouts, monkeypatch, tmp_path, capsys, database
):
    monkeypatch.setattr(console.out, "width", console.WIDE)
    PRINTED[printed](monkeypatch, tmp_path)
    assert all(len(table.layout.beside) == len(table.headers) for table in layouts)


def run_in(stdout, *arguments, **variables):
    command = [sys.executable, "-m", "depthwise", *arguments]
    environment = {**os.environ, **variables}
    return subprocess.run(command, stdout=stdout, env=environment, check=True, timeout=60).stdout


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_what_is_piped_is_at_most_80_columns_wide_unless_all_is_asked_for(columns):
    arguments = ("cost", "--workload", "mobilenet_v2", "--op", "inverted")
    found = run_in(subprocess.PIPE, *arguments, COLUMNS=columns).decode()
    assert max(map(len, found.splitlines())) <= min(int(columns), 80)
    wide = run_in(subprocess.PIPE, *arguments, "--wide", COLUMNS=columns).decode()
    assert "FLOP/byte" in wide.splitlines()[0]
    assert max(map(len, wide.splitlines())) > 80


@pytest.mark.parametrize("columns", [60, 200])
def test_a_terminal_is_as_wide_as_it_is(columns):
    master, slave = pty.openpty()
    run_in(slave, "cost", BLOCK, COLUMNS=str(columns))
    os.close(slave)
    found = os.read(master, 100_000).decode()
    os.close(master)
    assert ("with --wide" in found) is (columns == 60)
    assert f"{dw.cost(parse(BLOCK)).flops:,}" in found


def test_csv_has_the_numbers_of_the_json(monkeypatch, tmp_path, capsys):
    command("cost", BLOCK, "--json")(monkeypatch, tmp_path)
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    command("cost", BLOCK, "--csv")(monkeypatch, tmp_path)
    header, first, *parts = capsys.readouterr().out.splitlines()
    row = dict(zip(header.split(","), re.split(r',(?![^"]*"(?:[^"]*"[^"]*")*[^"]*$)', first),
                   strict=True))  # fmt: skip
    for name in ("params", "macs", "flops", "bytes", "unfused_bytes", "intensity"):
        assert float(row[name]) == problem[name]
    assert len(parts) == len(problem["parts"])


def test_json_and_csv_at_once_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["depthwise", "cost", BLOCK, "--json", "--csv"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "--json or --csv; got both" in capsys.readouterr().err
