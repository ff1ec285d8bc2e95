"""What `depthwise doctor` makes of what it saw."""

from __future__ import annotations

from dataclasses import replace

import pytest

from depthwise.commands.diagnosis import BesideTorch, Disk, Facts, Team, findings

GOMP = "/usr/lib/libgomp.so.1"
IOMP = "/opt/conda/lib/libiomp5.so"
TEAM = Team(size=4, runtime=GOMP, missing=None)
CACHE = Disk("/home/ann/.cache/depthwise", writable=True, runs_code=True, free_bytes=10**9)
HEALTHY = Facts(
    machine={"usable_cores": [0, 1, 2, 3]},
    quota=None,
    settings={},
    team=TEAM,
    beside_torch=BesideTorch(None, 4, GOMP, (GOMP,)),
    linker="/usr/bin/ld",
    cache=CACHE,
    peers={},
    trial=None,
)


@pytest.mark.parametrize(
    "also",
    [
        {},
        {"beside_torch": None},
        {"cache": Disk(None)},
        {"team": replace(TEAM, size=1)},
        {"quota": 3.5},
        {"machine": {"usable_cores": [0, 1, 2, 3, 4]}, "quota": 8.0},
    ],
    ids=str,
)
def test_nothing_is_wrong(also):
    assert list(findings(replace(HEALTHY, **also))) == []


@pytest.mark.parametrize(
    ("wrong", "problem", "remedy"),
    [
        ({"trial": "off by 3.0"}, "off by 3.0", "report"),
        (
            {"team": Team(1, None, "libgomp.so.1: cannot open shared object file")},
            "no OpenMP runtime: kernels run on one thread",
            "libgomp1",
        ),
        (
            {"team": Team(1, None, "No module named 'depthwise.machine._team'")},
            "kernels run on one thread (No module named",
            "C compiler",
        ),
        ({"team": replace(TEAM, runtime=None)}, "built without OpenMP", "pip install"),
        ({"team": replace(TEAM, size=5)}, "5 threads share the time of 4 cores", "THREADS=4"),
        ({"quota": 1.5}, "4 threads share the time of 2 cores", "OMP_NUM_THREADS=2"),
        (
            {"beside_torch": BesideTorch(None, 4, GOMP, (GOMP, IOMP))},
            f"kernels run on {GOMP}, and PyTorch's process also has {IOMP}",
            "package index",
        ),
        ({"beside_torch": BesideTorch("no numpy")}, "PyTorch does not work here: no numpy", "anew"),
        ({"linker": None}, "no linker", "binutils"),
        (
            {"cache": Disk("/tmp/cache", "others may write to /tmp/cache")},
            "every process compiles: others may write to /tmp/cache",
            "DEPTHWISE_CACHE",
        ),
        ({"cache": replace(CACHE, runs_code=False)}, "noexec", "DEPTHWISE_CACHE"),
        ({"cache": replace(CACHE, writable=False)}, "cannot be written to", "DEPTHWISE_CACHE"),
        ({"cache": replace(CACHE, free_bytes=3 << 20)}, "3 MB are free", "make room"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_one_finding_with_its_remedy(wrong, problem, remedy):
    (finding,) = findings(replace(HEALTHY, **wrong))
    assert problem in finding.problem
    assert remedy in finding.remedy


def test_one_runtime_under_two_names_is_one(tmp_path):
    (tmp_path / "libgomp.so.1.0.0").touch()
    (tmp_path / "libgomp.so.1").symlink_to("libgomp.so.1.0.0")
    names = str(tmp_path / "libgomp.so.1"), str(tmp_path / "libgomp.so.1.0.0")
    facts = replace(HEALTHY, beside_torch=BesideTorch(None, 4, names[0], names[1:]))
    assert list(findings(facts)) == []


def test_the_gravest_comes_first():
    facts = replace(HEALTHY, linker=None, trial="off by 3.0", quota=1.0)
    words = [finding.problem.split()[0] for finding in findings(facts)]
    assert words == ["kernels", "4", "no"]
