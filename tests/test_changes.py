"""`depthwise bench compare`: what got faster or slower between two files of results."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace

import pytest

from depthwise.commands import cli
from test_report import result

OTHER = "depthwise c32 hw64 k3 p1"
MACHINE = {"cpu": "some CPU", "usable_cores": [0, 1]}
BEFORE = [
    replace(result("depthwise nhwc", 100.0), mad_us=2.0),
    replace(result("depthwise nchw", 100.0), mad_us=2.0),
    replace(result("torch nchw", 100.0), mad_us=2.0),
    replace(result("torch nchw", 100.0, OTHER), mad_us=2.0),
    result("mxnet nchw", 10.0, OTHER),
    result("jax nhwc", 10.0),
]
AFTER = [
    replace(result("depthwise nhwc", 50.0), mad_us=2.0),
    replace(result("depthwise nchw", 103.0), mad_us=2.0),
    replace(result("torch nchw", 110.0), mad_us=2.0),
    result("torch nchw", None, OTHER),
    replace(result("mxnet nchw", None, OTHER), verified=True),
    result("tvm default", 10.0),
]


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Compare two files of results; return exit code, stdout and stderr."""

    def run(before, after, *options):
        monkeypatch.chdir(tmp_path)
        for name, found in (("a.json", before), ("b.json", after)):
            if found is not None:
                (tmp_path / name).write_text(found if isinstance(found, str) else written(found))
        monkeypatch.setattr(
            sys, "argv", ["depthwise", "bench", "compare", "a.json", "b.json", *options]
        )
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, *capsys.readouterr()

    return run


def written(results, **machine):
    found = {"machine": MACHINE | machine, "limits": [], "results": list(map(asdict, results))}
    return json.dumps(found)


def test_each_change_is_named_for_what_it_is(run):
    code, out, err = run(BEFORE, AFTER, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    told = {
        (each["engine"], each["variant"], each["spec"]): (each["change"], each["times_as_fast"])
        for each in found["changes"]
    }
    spec = BEFORE[0].spec
    assert told == {
        ("depthwise", "nhwc", spec): ("faster", 2.0),
        ("depthwise", "nchw", spec): ("inside the spreads", pytest.approx(100 / 103)),
        ("torch", "nchw", spec): ("slower", pytest.approx(100 / 110)),
        ("torch", "nchw", OTHER): ("wrong", None),
        ("mxnet", "nchw", OTHER): ("not timed", None),
    }
    assert [each["engine"] for each in found["only_before"]] == ["jax"]
    assert [each["engine"] for each in found["only_after"]] == ["tvm"]
    assert found["geometric_means"]["torch"] == pytest.approx(100 / 110)
    assert found["machines_differ"] == []


def test_the_table_tells_the_worst_first_with_spreads(run):
    code, out, _ = run(BEFORE, AFTER, "--wide")
    assert code == 0
    titles = [line for line in out.splitlines() if line.endswith(" of 5")]
    assert titles == [
        "wrong: 1 of 5", "slower: 1 of 5", "faster: 1 of 5", "inside the spreads: 1 of 5",
        "not timed: 1 of 5",
    ]  # fmt: skip
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert "depthwise c16 hw64 k3 p1 depthwise nhwc 100.0 2.00 50.0 2.00 2.00" in rows
    assert "depthwise c16 hw64 k3 p1 torch nchw 100.0 2.00 110.0 2.00 0.91" in rows
    assert f"{OTHER} torch nchw 100.0 2.00 WRONG" in rows
    assert rows[-2:] == ["only in a.json: 1 result", "only in b.json: 1 result"]


def test_csv_has_a_line_for_each_change(run):
    code, out, _ = run(BEFORE, AFTER, "--csv")
    assert code == 0
    assert len(out.splitlines()) == 6


def test_another_machine_is_a_warning(run):
    code, _, err = run(BEFORE, written(AFTER, cpu="another CPU"))
    assert code == 0
    assert err == "warning: times of different machines: cpu some CPU, then another CPU\n"


@pytest.mark.parametrize(
    "found",
    [
        None, "", "[]", "{}", '{"results": [], "machine": 3}', '{"results": 3, "machine": {}}',
        '{"results": [{"engine": "torch"}], "machine": {}}', 100_000 * "[",
        written([replace(BEFORE[0], median_us="fast")]),
    ],
    ids=["missing", "empty", "list", "object", "machine", "results", "fields", "deep", "time"],
)  # fmt: skip
def test_what_is_no_file_of_results_is_refused(run, found):
    code, out, err = run(found, AFTER)
    assert (code, out) == (2, "")
    assert err.startswith("depthwise: results are a file that `depthwise bench --json FILE` wrote")
    assert err.endswith(": a.json\n")
    assert err.count("\n") == 1


def test_results_of_other_conditions_are_not_compared(run):
    code, out, err = run(BEFORE, [replace(each, threads=1) for each in AFTER])
    assert (code, out) == (2, "")
    assert "the same problem, engine and conditions; got none: a.json, b.json" in err
