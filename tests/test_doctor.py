"""`depthwise doctor`: what it looks at on this machine, and how it says so."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace

import pytest

from depthwise.commands import cli, doctor
from depthwise.commands.diagnosis import Disk
from depthwise.errors import PeerError
from depthwise.machine import team
from depthwise.store import disk


@pytest.fixture(scope="module")
def facts():
    return doctor.examine()


@pytest.fixture
def run(monkeypatch, capsys):
    """Run `depthwise doctor` on given facts; return its exit code and what it printed."""

    def run(facts, *arguments):
        monkeypatch.setattr(doctor, "examine", lambda: facts)
        monkeypatch.setattr(sys, "argv", ["depthwise", "doctor", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, capsys.readouterr().out

    return run


def test_it_sees_this_machine(facts):
    assert facts.trial is None
    assert facts.team.size == team.size()
    assert facts.team.runtime == team.native().runtime()
    assert facts.cache.folder == os.environ["DEPTHWISE_CACHE"]
    assert facts.cache.writable
    assert facts.cache.runs_code
    assert "depthwise" in facts.peers
    if facts.beside_torch is not None:
        assert facts.beside_torch.error is None
        assert facts.beside_torch.runtime is None or facts.beside_torch.runtimes


def test_a_machine_without_faults_is_a_table_and_zero(run, facts):
    nothing_wrong = replace(
        facts, cache=Disk(None), linker="/usr/bin/ld", beside_torch=None, quota=None,
        team=replace(facts.team, size=1, runtime="/usr/lib/libgomp.so.1", missing=None),
    )  # fmt: skip
    code, out = run(nothing_wrong)
    assert code == 0
    assert out.endswith("Nothing is wrong.\n")
    for words in (facts.machine["cpu"], "1 on /usr/lib/libgomp.so.1", "apache-tvm ", doctor.TRIAL):
        assert words in out


def test_what_is_wrong_is_said_with_what_to_do_and_one(run, facts):
    code, out = run(replace(facts, linker=None))
    assert code == 1
    assert "\nWrong: no linker" in out
    assert "\n   do: install one" in out


def test_the_json_has_all_that_was_seen_and_found(run, facts):
    code, out = run(replace(facts, linker=None, settings={"OMP_NUM_THREADS": "2"}), "--json")
    seen = json.loads(out)
    assert code == 1
    assert seen["settings"] == {"OMP_NUM_THREADS": "2"}
    assert seen["team"]["size"] == facts.team.size
    assert any(finding["problem"].startswith("no linker") for finding in seen["findings"])


def test_settings_are_the_variables_that_matter(monkeypatch):
    monkeypatch.setattr(doctor, "_beside_torch", lambda: None)
    monkeypatch.setattr(doctor, "_trial", lambda _: None)
    monkeypatch.setenv("GOMP_SPINCOUNT", "0")
    monkeypatch.setenv("EDITOR", "ed")
    settings = doctor.examine().settings
    assert settings["GOMP_SPINCOUNT"] == "0"
    assert "EDITOR" not in settings


def test_a_launcher_that_does_not_load_is_seen_without_a_warning(monkeypatch):
    monkeypatch.setitem(sys.modules, "depthwise.machine._team", None)
    monkeypatch.setattr(team, "native", team.native.__wrapped__)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    found = doctor._team()
    assert (found.size, found.runtime) == (1, None)
    assert "depthwise.machine._team" in found.missing


@pytest.mark.parametrize(
    ("code", "error"),
    [("import nothing_of_that_name", "nothing_of_that_name"), ("import os; os.abort()", "-6")],
)
def test_a_pytorch_that_does_not_work_is_seen(monkeypatch, code, error):
    monkeypatch.setattr(doctor, "find_spec", lambda _: object())
    monkeypatch.setattr(doctor, "_LOOK_BESIDE_TORCH", code)
    assert error in doctor._beside_torch().error


def test_without_pytorch_there_is_nothing_to_look_at(monkeypatch):
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    assert doctor._beside_torch() is None


def test_a_kernel_that_crashes_is_seen(monkeypatch):
    def crash(*_args, **_kwargs):
        raise PeerError("depthwise ended while preparing: SIGILL")

    monkeypatch.setattr(doctor, "Worker", crash)
    assert "SIGILL" in doctor._trial(1)


def test_a_cache_that_is_not_trusted_is_seen(tmp_path, monkeypatch):
    monkeypatch.setenv(disk.VARIABLE, str(tmp_path))
    tmp_path.chmod(0o777)
    found = doctor._cache()
    assert (found.folder, found.writable) == (str(tmp_path), False)
    assert "0777" in found.obstacle
    monkeypatch.setenv(disk.VARIABLE, "")
    assert doctor._cache() == Disk(None)


@pytest.mark.parametrize(
    ("group", "files", "quota"),
    [
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/", {"cpu.max": "max 100000"}, None),
        ("0::/a/b", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, 2.0),
        ("0::/a/b", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "50000 100000"}, 0.5),
        ("0::/unseen/from/inside", {"cpu.max": "100000 100000"}, 1.0),
        (
            "4:memory:/\n1:cpu,cpuacct:/a",
            {"cpu/a/cpu.cfs_quota_us": "300000", "cpu/a/cpu.cfs_period_us": "100000"},
            3.0,
        ),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("4:memory:/", {"cpu.max": "100000 100000"}, None),
        ("0::/", {}, None),
    ],
    ids=str,
)
def test_the_quota_is_the_tightest_of_the_control_groups(tmp_path, group, files, quota):
    for name, text in files.items():
        file = tmp_path / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    own = tmp_path / "own"
    own.write_text(f"{group}\n")
    assert doctor._quota(tmp_path / "groups", own) == quota


def test_without_control_groups_there_is_no_quota(tmp_path):
    assert doctor._quota(tmp_path, tmp_path / "missing") is None
