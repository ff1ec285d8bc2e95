"""`depthwise cache` on the command line."""

from __future__ import annotations

import json
import os
import re
import sys
import time

import pytest

from depthwise.commands import cache as cache_report
from depthwise.commands import cli
from depthwise.machine.target import Target
from depthwise.problem.parse import parse
from depthwise.schedule.plan import Plan
from depthwise.store import cache, disk

PLAN = Plan("channels_last", tc=8, tw=4)
TARGET = Target("znver3", "avx2")
DAY = 86400


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv(disk.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def run(monkeypatch, capsys):
    """Run `depthwise cache ...` in this process; return what it printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["depthwise", "cache", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        return capsys.readouterr().out

    return run


def put(spec, days=0.0):
    """Store a kernel that was last used some days ago."""
    entry = cache.store(
        parse(spec), PLAN, TARGET, lambda path: path.write_bytes(b"code"), {}, ".so"
    )
    used = time.time() - days * DAY
    os.utime(entry.path, (used, used))
    return entry.path


def test_clearing_takes_what_a_clock_ahead_of_ours_wrote(run):
    path = put("depthwise c8 hw8 k3", days=-1)
    assert run("clear").startswith("removed 1 kernel,")
    assert not path.exists()


def put_plan(spec, days=0.0, tuned=str(PLAN)):
    """Store what tuning learnt of a problem some days ago."""
    path = disk.folder("plans", cache.fingerprint()) / f"{len(spec):032x}.json"
    disk.write_atomically(
        path, json.dumps({"spec": spec, "target": str(TARGET), "tuned": tuned}).encode()
    )
    (path.parent / ".lock").touch()
    used = time.time() - days * DAY
    os.utime(path, (used, used))
    return path


def put_as_another_version(monkeypatch, spec, days=0.0):
    with monkeypatch.context() as patch:
        patch.setattr(cache, "fingerprint", lambda: 16 * "a")
        return put(spec, days)


def test_an_empty_cache_is_a_line(run, place):
    title, _, *rows, most = run().splitlines()
    assert title == str(place)
    assert [row.split() for row in rows] == [
        ["kernels", "0", "0", "bytes"],
        ["kernels", "of", "other", "versions", "0", "0", "bytes"],
        ["tuned", "plans", "0", "0", "bytes"],
    ]
    assert most == "Kernels take at most 536.9 MB."


def test_without_more_the_cache_is_summed_up(run, monkeypatch):
    size = put("depthwise c8 hw8 k3", days=0.1).stat().st_size
    put_as_another_version(monkeypatch, "depthwise c32 hw8 k3", days=40)
    out = run()
    assert "hw8" not in out
    assert re.search(rf"^kernels +1 +{size} bytes +2 h ago$", out, re.MULTILINE)
    assert re.search(r"^kernels of other versions +1 .* 40 d ago$", out, re.MULTILINE)
    assert "depthwise cache clear --stale\n" in out
    assert out.endswith("depthwise cache --all\n")


def test_without_a_cache_it_says_so(run, monkeypatch):
    monkeypatch.setenv(disk.VARIABLE, "")
    assert run() == "DEPTHWISE_CACHE is empty: nothing is kept on disk\n"
    assert json.loads(run("--json"))["folder"] is None
    assert run("clear") == "removed 0 kernels, 0 bytes\n"


def test_the_list_has_the_last_used_first(run, place, monkeypatch):
    put("depthwise c8 hw8 k3", days=3.5)
    put("depthwise c16 hw8 k3", days=0.1)
    put_as_another_version(monkeypatch, "depthwise c32 hw8 k3")
    table, _, *rows = run("--all", "--wide").splitlines()[-5:]
    assert table == "Kernels"
    spans = [row.split() for row in rows]
    assert [row[1] for row in spans] == ["c32", "c16", "c8"]
    assert "another version" in rows[0]
    assert " now " in rows[0]
    assert all("this version" in row for row in rows[1:])
    assert "2 h ago" in rows[1]
    assert "3 d ago" in rows[2]
    assert f"{PLAN} " in rows[2]
    assert f"{TARGET} " in rows[2]


def test_the_json_names_problem_fingerprint_size_and_file(run, place):
    path = put("depthwise c8 hw8 k3")
    found = json.loads(run("--json"))
    (kernel,) = found["kernels"]
    assert found["folder"] == str(place)
    assert found["fingerprint"] == kernel["fingerprint"] == cache.fingerprint()
    assert kernel["bytes"] == path.stat().st_size
    assert kernel["path"] == str(path)
    assert kernel["spec"] == "depthwise c8 hw8 k3"
    assert kernel["used"].endswith("+00:00")


def test_a_damaged_kernel_is_listed_as_such(run):
    path = put("depthwise c8 hw8 k3")
    path.write_bytes(path.read_bytes().replace(b"code", b"coda"))
    assert "(damaged)" in run("--all")
    assert json.loads(run("--json"))["kernels"][0]["spec"] is None


def test_tuned_plans_are_listed_and_kept_unless_they_are_meant(run):
    kernel, plan = put("depthwise c8 hw8 k3"), put_plan("depthwise c16 hw8 k3", days=2)
    untuned = put_plan("depthwise c160 hw8 k3", days=3, tuned=None)
    out = run("--all", "--wide")
    assert re.search(r"^tuned plans +2 ", out, re.MULTILINE)
    *_, table, _, first, second = out.splitlines()
    assert table == "Tuned plans"
    assert first.startswith(f"depthwise c16 hw8 k3   {PLAN}  {TARGET}  this version")
    assert str(PLAN) not in second
    found = json.loads(run("--json"))["plans"]
    assert [(each["spec"], each["plan"]) for each in found] == [
        ("depthwise c16 hw8 k3", str(PLAN)),
        ("depthwise c160 hw8 k3", None),
    ]
    assert run("clear").startswith("removed 1 kernel, ")
    assert [path.exists() for path in (kernel, plan, untuned)] == [False, True, True]
    removed = run("clear", "--plans", "--older-than", "2.5")
    assert removed.startswith("removed 0 kernels, 0 bytes and 1 tuned plan, ")
    assert [path.exists() for path in (plan, untuned)] == [True, False]


def test_the_plan_of_a_block_is_listed_whole(run):
    plan = "depthwise+project rows4 | channels_last tc8 tw4 | pointwise tc16 tw6"
    put_plan("separable c8 o8 hw8 k3", tuned=plan)
    listed = run("--all", "--wide").splitlines()[-1]
    assert listed.startswith(f"separable c8 o8 hw8 k3  {plan}  {TARGET}")
    assert json.loads(run("--json"))["plans"][0]["plan"] == plan


@pytest.mark.parametrize(
    "end", [b"", b'"}', b'", "target": ' + 100_000 * b"["], ids=["cut", "keys", "deep"]
)
def test_a_damaged_file_of_plans_is_listed_as_such(run, end):
    put_plan("depthwise c8 hw8 k3").write_bytes(b'{"spec": "depthwise' + end)
    assert "(damaged)" in run("--all")


def test_what_is_not_ours_is_left_and_named(run, place):
    put("depthwise c8 hw8 k3")
    put_plan("depthwise c8 hw8 k3")
    files = [place / "kernels" / "mine.so", place / "plans" / "q3" / "roadmap.json"]
    files[1].parent.mkdir()
    for file in files:
        file.write_text("mine")
    named = f"left, because depthwise did not write it: {files[0]}, {files[1].parent}"
    assert " ".join(run().split()).endswith(named)
    assert json.loads(run("--json"))["foreign"] == [str(files[0]), str(files[1].parent)]
    removed, line = run("clear", "--plans").split("\n", 1)
    assert removed.startswith("removed 1 kernel, ")
    assert " and 1 tuned plan, " in removed
    assert " ".join(line.split()) == named
    assert [file.read_text() for file in files] == ["mine", "mine"]
    for number in range(5):
        (place / "kernels" / f"zz{number}").touch()
    assert run("clear").split()[-3:] == ["and", "4", "more"]


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ([], []),
        (["--stale"], ["new", "old"]),
        (["--older-than", "30"], ["new", "stale"]),
        (["--stale", "--older-than", "30"], ["new", "old", "stale"]),
    ],
    ids=str,
)
def test_clearing_removes_what_was_asked_for(run, monkeypatch, arguments, left):
    paths = {
        "new": put("depthwise c8 hw8 k3", days=1),
        "old": put("depthwise c16 hw8 k3", days=40),
        "stale": put_as_another_version(monkeypatch, "depthwise c8 hw8 k3", days=1),
        "old and stale": put_as_another_version(monkeypatch, "depthwise c16 hw8 k3", days=40),
    }
    removed = len(paths) - len(left)
    assert run("clear", *arguments).startswith(f"removed {removed} kernel")
    assert {name for name, path in paths.items() if path.exists()} == set(left)


def test_clearing_removes_what_was_abandoned(run):
    path = put("depthwise c8 hw8 k3")
    abandoned = path.with_name(f"{disk.TEMPORARY}{16 * '1'}")
    abandoned.mkdir()
    long_ago = time.time() - 2 * cache.ABANDONED_SECONDS
    os.utime(abandoned, (long_ago, long_ago))
    run("clear")
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "now"), (59, "now"), (60, "1 min ago"), (7300, "2 h ago"), (3 * DAY, "3 d ago")],
)
def test_ages_are_told_in_their_largest_unit(seconds, words):
    assert cache_report._age(seconds) == words
