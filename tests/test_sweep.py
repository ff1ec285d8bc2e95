"""`depthwise sweep`: every tiling is verified before it is timed, ranked and drawn."""

import json

import pytest

from depthwise import Plan, schedule
from depthwise.commands import sweep
from depthwise.errors import DepthwiseError, InternalError, PlanError, SpecError
from depthwise.machine.target import named
from depthwise.problem.parse import parse
from recorded import Recorded

TEXT = "depthwise c3 hw6 k3 p1"


@pytest.fixture(autouse=True)
def folder_of_the_test(tmp_path, monkeypatch):
    """Where the usual picture goes."""
    monkeypatch.chdir(tmp_path)


def tilings(text, capsys, **options):
    arguments = {"name": None, "threads": 1, "repeats": 1, "plot": None, "form": "json"} | options
    sweep.sweep(text, **arguments)
    return json.loads(capsys.readouterr().out)


def test_every_legal_tiling_is_there_fastest_first(capsys):
    text = f"{TEXT} nhwc"
    spec = parse(text)
    legal = schedule.rule_of(Plan("channels_last"), spec, named(None)).plans(spec, named(None))
    found = tilings(text, capsys)["tilings"]
    assert {tiling["plan"] for tiling in found} == {str(plan) for plan in legal}
    times = [tiling["median_us"] for tiling in found]
    assert times == sorted(times)
    assert min(times) > 0


def test_the_map_is_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sweep, "Laboratory", lambda _: Recorded({}))
    picture = tmp_path / "folder" / "map.png"
    tilings(TEXT, capsys, plot=picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["file/map.png", "map.nosuch"])
def test_a_map_that_cannot_be_written_is_refused_before_measuring(tmp_path, monkeypatch, name):
    (tmp_path / "file").touch()
    monkeypatch.setattr(sweep, "Laboratory", lambda _: pytest.fail("measured"))
    with pytest.raises(DepthwiseError, match="to a file"):
        sweep.sweep(TEXT, None, 1, 1, tmp_path / name, form="json")


def test_a_wrong_tiling_is_refused_not_ranked(monkeypatch, capsys):
    recorded = Recorded({Plan("packed", tc=2, th=6): "wrong"})
    monkeypatch.setattr(sweep, "Laboratory", lambda _: recorded)
    with pytest.raises(InternalError, match="packed tc2 th6 is recorded as wrong"):
        tilings(TEXT, capsys)


def test_a_tiling_that_cannot_be_timed_is_named_and_left_out(monkeypatch, capsys):
    recorded = Recorded({Plan("packed", tc=2, th=6): "crashed"})
    monkeypatch.setattr(sweep, "Laboratory", lambda _: recorded)
    sweep.sweep(TEXT, name=None, threads=1, repeats=1, plot=None, form="json")
    out, err = capsys.readouterr()
    assert "packed tc2 th6: recorded as crashed" in err
    plans = [tiling["plan"] for tiling in json.loads(out)["tilings"]]
    assert plans
    assert "packed tc2 th6" not in plans


def test_an_interrupt_leaves_what_was_measured(monkeypatch, capsys):
    class Interrupted(Recorded):
        def sample(self, plan, repeats, *_):
            self.prepared.append(plan)
            if len(self.prepared) > 2:
                raise KeyboardInterrupt
            return super().sample(plan, repeats)

    monkeypatch.setattr(sweep, "Laboratory", lambda _: Interrupted({}))
    assert len(tilings(TEXT, capsys)["tilings"]) == 2


def test_every_strip_of_a_block_is_there_fastest_first(capsys):
    sweep.sweep("inverted c3 e8 o4 hw4 k3 p1 se2", None, 1, 1, None, form="json")
    out, err = capsys.readouterr()
    report = json.loads(out)
    strips = report["tilings"]
    assert [strip["fused"] for strip in strips if strip["rows"] == 3].count([2, 1]) == 1
    assert {tuple(strip["fused"]) for strip in strips} == {(2, 1), (1, 1, 1)}
    assert {strip["rows"] for strip in strips} == {1, 2, 3, 4}
    assert report["default"] in [strip["plan"] for strip in strips]
    times = [strip["median_us"] for strip in strips]
    assert times == sorted(times)
    assert min(times) > 0
    assert "expand+depthwise+project: the gate between depthwise and project needs" in err


def test_the_parts_of_a_block_have_schedules_of_their_own(capsys):
    with pytest.raises(SpecError, match="each part of a block has a schedule of its own"):
        tilings("separable c3 o4 hw6 k3", capsys, name="channels_last")


def test_a_schedule_that_does_not_take_the_problem_is_refused(capsys):
    with pytest.raises(PlanError, match="does not take this problem"):
        tilings(TEXT, capsys, name="channels_last")
