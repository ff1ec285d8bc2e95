"""Compiled kernels on disk: found again, never trusted blindly, whatever happens to writers."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import stat
import subprocess
import sys
import time
from importlib.machinery import ModuleSpec
from pathlib import Path

import grimp
import pytest

from depthwise.errors import CacheWarning
from depthwise.machine.target import Target
from depthwise.problem.parse import parse
from depthwise.schedule.plan import Plan
from depthwise.store import cache, disk

SPEC = parse("depthwise c8 hw8 k3 p1 nhwc")
PLAN = Plan("channels_last", tc=8, tw=4)
TARGET = Target("znver3", "avx2")
OBJECT = b"\x7fELF" + bytes(range(256)) * 8 + b"\n; depthwise {}"
META = {"entry": "main", "sizes": [1, 2]}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setattr(disk, "_said", set())
    monkeypatch.setenv(disk.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(spec=SPEC, plan=PLAN, target=TARGET, content=OBJECT, suffix=".so"):
    cache.store(spec, plan, target, lambda path: path.write_bytes(content), META, suffix)


def files(place):
    return sorted(path for path in place.rglob("*") if path.is_file())


def start(code, *arguments):
    """Run Python code in a process of its own that has everything of this file's head."""
    head = f"""
import os, sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_cache import *
"""
    command = [sys.executable, "-c", head + code, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("suffix", cache.LOADED)
def test_what_was_stored_is_found_by_another_process(suffix):
    put(suffix=suffix)
    with start("found = cache.load(SPEC, PLAN, TARGET); print(found.path, found.meta)") as process:
        printed = process.communicate(timeout=60)[0].strip()
    entry = cache.load(SPEC, PLAN, TARGET)
    assert printed == f"{entry.path} {entry.meta}"
    assert entry.meta == META
    assert entry.object() == OBJECT
    assert cache.has(SPEC, PLAN, TARGET)
    assert entry.path.suffix == suffix
    assert entry.path.read_bytes().startswith(OBJECT)
    assert entry.path.stat().st_mode & 0o777 == 0o600


def test_a_choice_is_remembered_for_its_problem_target_and_threads(place):
    cache.choose(SPEC, PLAN, TARGET, 2)
    assert cache.chosen(SPEC, TARGET, 2) == str(PLAN)
    assert cache.chosen(SPEC, TARGET, 1) is None
    assert cache.chosen(parse("depthwise c8 hw9 k3 p1 nhwc"), TARGET, 2) is None
    (choice,) = cache.stored_choices()
    assert (cache.stored(), cache.foreign()) == ([], [])
    choice.path.write_bytes(choice.path.read_bytes().replace(b"tc8", b"tc9"))
    with pytest.warns(CacheWarning, match="checksum"):
        assert cache.chosen(SPEC, TARGET, 2) is None
    assert cache.stored_choices() == []


def test_nothing_is_found_where_nothing_was_stored():
    assert cache.load(SPEC, PLAN, TARGET) is None
    assert not cache.has(SPEC, PLAN, TARGET)


@pytest.mark.parametrize(
    "other",
    [
        {"spec": parse("depthwise c8 hw8 k3 p1")},
        {"plan": Plan("channels_last", tc=8, tw=5)},
        {"target": Target("znver3", "sse")},
        {"target": Target("znver4", "avx2")},
    ],
    ids=str,
)
def test_another_problem_plan_or_target_has_an_entry_of_its_own(other):
    put()
    asked = {"spec": SPEC, "plan": PLAN, "target": TARGET, **other}
    assert cache.load(**asked) is None
    put(**other, content=b"another")
    assert cache.load(**asked).path.read_bytes().startswith(b"another")
    assert cache.load(SPEC, PLAN, TARGET).path.read_bytes().startswith(OBJECT)


def test_storing_gives_the_entry_that_loading_finds():
    entry = cache.store(SPEC, PLAN, TARGET, lambda path: path.write_bytes(OBJECT), META, ".so")
    assert entry == cache.load(SPEC, PLAN, TARGET)


def test_another_fingerprint_has_entries_of_its_own(monkeypatch):
    put()
    assert [entry.stale for entry in cache.stored()] == [False]
    monkeypatch.setattr(cache, "fingerprint", lambda: 16 * "a")
    assert cache.load(SPEC, PLAN, TARGET) is None
    assert [entry.stale for entry in cache.stored()] == [True]


def test_an_empty_variable_keeps_nothing(place, monkeypatch):
    monkeypatch.setenv(disk.VARIABLE, "")
    write = lambda _: pytest.fail("written")  # noqa: E731
    assert cache.store(SPEC, PLAN, TARGET, write, META, ".so") is None
    assert cache.load(SPEC, PLAN, TARGET) is None
    assert cache.stored() == []


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


def flip_description(path):
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"entry"', b'"other"'))


def foreign(path):
    path.write_bytes(OBJECT)


def sealed_without_description(path):
    content = OBJECT + b" "
    path.write_bytes(content + hashlib.sha256(content).hexdigest().encode() + b"\n")


def of_another_problem(path):
    put(spec=parse("depthwise c9 hw8 k3 p1 nhwc"))
    (other,) = (entry.path for entry in cache.stored() if entry.path != path)
    other.replace(path)


def writable_by_others(path):
    path.chmod(0o666)


def link(path):
    aside = path.with_name("aside")
    path.rename(aside)
    path.symlink_to(aside)


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def a_folder(path):
    path.unlink()
    path.mkdir()
    (path / "file").write_bytes(b"")


@pytest.mark.parametrize(
    "harm",
    [
        cut, empty, flip, flip_description, foreign, sealed_without_description, of_another_problem,
        writable_by_others, link, pipe, a_folder,
    ],
    ids=lambda harm: harm.__name__,
)  # fmt: skip
def test_a_damaged_or_foreign_entry_is_removed_with_a_warning_and_stored_anew(harm):
    put()
    path = cache.load(SPEC, PLAN, TARGET).path
    harm(path)
    with pytest.warns(CacheWarning, match="compiled anew") as caught:
        assert cache.load(SPEC, PLAN, TARGET) is None
    assert [str(path) in str(warning.message) for warning in caught] == [True]
    assert not os.path.lexists(path)
    put()
    assert cache.load(SPEC, PLAN, TARGET).path == path


def test_an_entry_of_another_user_is_not_loaded(monkeypatch):
    put()
    path = cache.load(SPEC, PLAN, TARGET).path
    status = list(path.stat())
    status[stat.ST_UID] += 1
    monkeypatch.setattr(os, "fstat", lambda _: os.stat_result(status))
    with pytest.warns(CacheWarning, match="another user"):
        assert cache.load(SPEC, PLAN, TARGET) is None


def test_an_entry_that_did_not_load_can_be_discarded():
    put()
    with pytest.warns(CacheWarning, match="no such symbol"):
        cache.load(SPEC, PLAN, TARGET).discard("no such symbol")
    assert cache.load(SPEC, PLAN, TARGET) is None


def test_a_folder_that_others_can_write_to_is_neither_loaded_from_nor_stored_to(place):
    put()
    place.chmod(0o777)
    before = files(place)
    with pytest.warns(CacheWarning, match="0777"):
        assert cache.load(SPEC, PLAN, TARGET) is None
    put(spec=parse("depthwise c9 hw8 k3"))
    assert files(place) == before


def test_a_file_system_that_runs_no_code_keeps_none(monkeypatch):
    """(Mounted noexec: what was stored there could not be loaded.)"""
    put()
    status = list(os.statvfs("/"))
    status[8] |= os.ST_NOEXEC
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(status))
    with pytest.warns(CacheWarning, match="noexec"):
        assert cache.load(SPEC, PLAN, TARGET) is None
    put(spec=parse("depthwise c9 hw8 k3"))
    assert len(cache.stored()) == 1


@pytest.mark.parametrize("call", ["mkdir", "fsync", "replace"])
def test_a_full_disk_is_one_warning(place, monkeypatch, call):
    put()

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = files(place)
    monkeypatch.setattr(os, call, full)
    with pytest.warns(CacheWarning, match="No space left") as caught:
        put(spec=parse("depthwise c9 hw8 k3"))
    assert len(caught) == 1
    put(spec=parse("depthwise c10 hw8 k3"))
    assert files(place) == before
    assert cache.load(SPEC, PLAN, TARGET) is not None


def test_a_folder_that_may_only_be_read_is_loaded_from(bound_by_permissions, monkeypatch):
    monkeypatch.setenv(disk.VARIABLE, str(bound_by_permissions))
    put()
    cache.load(SPEC, PLAN, TARGET).path.parent.chmod(0o500)
    with pytest.warns(CacheWarning, match="Permission denied"):
        put(spec=parse("depthwise c9 hw8 k3"))
    assert cache.load(SPEC, PLAN, TARGET).meta == META


def test_a_linker_that_fails_is_a_warning_and_leaves_nothing(place):
    def link_badly(path):
        path.write_bytes(b"half")
        raise RuntimeError("ld:\n  cannot find -lm\n")

    with pytest.warns(CacheWarning, match="ld: cannot find -lm: ") as caught:
        assert cache.store(SPEC, PLAN, TARGET, link_badly, META, ".so") is None
    assert caught[0].filename == __file__
    assert files(place) == []


def test_processes_that_store_the_same_kernel_at_once_leave_one_whole_entry(place):
    code = """
content = sys.argv[1].encode() * 300_000
sys.stdin.readline()
for _ in range(50):
    put(content=content)
    entry = cache.load(SPEC, PLAN, TARGET)
    assert entry.path.read_bytes()[:300_000] in (b"a" * 300_000, b"b" * 300_000)
"""
    with start(code, "a") as first, start(code, "b") as second:
        for process in (first, second):
            process.stdin.write("\n")
            process.stdin.flush()
        assert first.wait(timeout=120) == second.wait(timeout=120) == 0
    assert files(place) == [cache.load(SPEC, PLAN, TARGET).path]


@pytest.mark.parametrize("moment", ["writing the object", "putting it into its place"])
def test_a_writer_that_is_killed_leaves_no_entry_and_what_it_left_goes_later(
    place, moment, monkeypatch
):
    monkeypatch.setattr(cache, "TIDY_SECONDS", 0)
    code = """
def announce(*_):
    print("now", flush=True)
    time.sleep(600)
def write(path):
    path.write_bytes(OBJECT[:100])
    if sys.argv[1] == "writing the object":
        announce()
if sys.argv[1] == "putting it into its place":
    os.replace = announce
os.environ[disk.VARIABLE] = sys.argv[2]
cache.store(SPEC, PLAN, TARGET, write, META, ".so")
"""
    with start(code, moment, str(place)) as process:
        assert process.stdout.readline() == "now\n"
        process.send_signal(signal.SIGKILL)
    (left,) = files(place)
    assert cache.load(SPEC, PLAN, TARGET) is None
    assert cache.stored() == []

    put()
    assert left in files(place), "it might still be written"
    (abandoned,) = cache.load(SPEC, PLAN, TARGET).path.parent.glob(f"{disk.TEMPORARY}*")
    long_ago = time.time() - 2 * cache.ABANDONED_SECONDS
    os.utime(abandoned, (long_ago, long_ago))
    put()
    assert files(place) == [cache.load(SPEC, PLAN, TARGET).path]


def test_what_was_not_used_for_longest_goes_first_when_there_is_too_much(monkeypatch):
    specs = [parse(f"depthwise c{channels} hw8 k3") for channels in (1, 2, 3)]
    for age, spec in zip((30, 20, 10), specs, strict=True):
        put(spec=spec)
        path = cache.load(spec, PLAN, TARGET).path
        os.utime(path, (time.time() - age, time.time() - age))
    cache.load(specs[0], PLAN, TARGET)  # used again, so the second is the oldest now
    monkeypatch.setattr(cache, "LARGEST_BYTES", 3 * cache.stored()[0].size + 100)
    put(spec=parse("depthwise c4 hw8 k3"))
    found = [cache.load(spec, PLAN, TARGET) is not None for spec in specs]
    assert found == [True, False, True]


def test_the_whole_folder_is_looked_at_once_a_minute(monkeypatch):
    tidied = []
    tidy = cache.tidy
    monkeypatch.setattr(cache, "tidy", lambda: tidied.append(cache.stored()) or tidy())
    for channels in range(1, 11):
        put(spec=parse(f"depthwise c{channels} hw8 k3"))
    assert [len(entries) for entries in tidied] == [1]
    passed = time.monotonic() + cache.TIDY_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: passed)
    put(spec=parse("depthwise c11 hw8 k3"))
    assert [len(entries) for entries in tidied] == [1, 11]


def test_what_is_stored_within_a_minute_stays_within_the_bound(monkeypatch):
    put()
    size = cache.stored()[0].size
    monkeypatch.setattr(cache, "LARGEST_BYTES", 4 * size)
    for channels in range(1, 31):
        put(spec=parse(f"depthwise c{channels} hw8 k3"))
        assert sum(entry.size for entry in cache.stored()) <= cache.LARGEST_BYTES
    assert len(cache.stored()) >= 3


def strangers(place):
    """Put into the cache folder what somebody else keeps there; return it, ours in form or not."""
    fingerprint, key = cache.fingerprint(), 32 * "0"
    found = {}
    for name in (
        "plans/q3/roadmap.json", "plans/roadmap.json", "kernels/libmine.so", "kernels/v6/linux.so",
        f"kernels/{fingerprint}/libmine.so", f"kernels/{fingerprint}/{key}.so",
        f"kernels/{fingerprint}/{key}.o", f"kernels/{fingerprint}/{key}.json",
        f"plans/{fingerprint}/{key}.json", f"plans/{fingerprint}/roadmap.json",
        f"plans/{fingerprint}/.writing-my-memoirs", f"kernels/{fingerprint.upper()}/{key}.so",
    ):  # fmt: skip
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found.setdefault(path, '{"mine": true}'))
        os.utime(path, (0, 0))
    return found


def test_what_is_not_ours_is_neither_listed_nor_evicted_but_named(place, monkeypatch):
    put()
    found = strangers(place)
    outside = place.parent / "outside"
    outside.mkdir()
    (outside / f"{32 * '1'}.so").write_bytes(next(iter(cache.stored())).path.read_bytes())
    (place / "kernels" / (16 * "b")).symlink_to(outside)
    assert len(cache.stored()) == 1
    assert cache.stored_plans() == []
    named = cache.foreign()
    assert all(any(path.is_relative_to(each) for each in named) for path in found)
    assert place / "kernels" / (16 * "b") in named
    monkeypatch.setattr(cache, "LARGEST_BYTES", 0)
    cache.tidy()
    assert cache.stored() == []
    assert {path: path.read_text() for path in found} == found
    assert len(list(outside.iterdir())) == 1


def test_an_entry_says_what_it_is_of_unless_it_is_damaged():
    put()
    (entry,) = cache.stored()
    assert cache.describe(entry) == {"spec": str(SPEC), "plan": str(PLAN), "target": str(TARGET)}
    flip(entry.path)
    assert cache.describe(entry) is None


def fingerprint_of(package):
    """Return the fingerprint that a copy of the package's sources has."""
    code = "from depthwise.store import cache; print(cache.fingerprint())"
    environment = {**os.environ, "PYTHONPATH": str(package.parent)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_the_fingerprint_follows_the_sources_and_nothing_else(tmp_path):
    import shutil

    package = tmp_path / "copy" / "depthwise"
    shutil.copytree(Path(cache.__file__).parents[1], package)
    first = fingerprint_of(package)
    assert fingerprint_of(package) == first
    for name in ("programs/define.py", "kernel/packing.py", "schedule/plan.py", "compiler.py"):
        source = package / name
        before = source.read_text()
        source.write_text(before + "\n")
        assert fingerprint_of(package) != first
        source.write_text(before)
    assert fingerprint_of(package) == first


def test_the_fingerprint_covers_every_file_that_is_loaded_to_compile():
    code = """
import depthwise
compile_kernel = depthwise.compile  # which imports what chooses a plan
before = set(sys.modules)
compile_kernel("depthwise c8 hw8 k3 nhwc")
loaded = (sys.modules[name] for name in set(sys.modules) - before if name.startswith("depthwise."))
files = (Path(module.__file__).resolve() for module in loaded)
print(*(file for file in files if file.suffix == ".py"), sep="\\n")
"""
    with start(code) as process:
        loaded = {Path(line) for line in process.communicate(timeout=120)[0].splitlines()}
    assert {path.name for path in loaded} >= {"build.py", "define.py"}
    assert loaded <= {path.resolve() for path in cache.sources()}


def test_the_rooms_of_the_fingerprint_import_no_others():
    """But errors: what machine code depends on lies in these rooms and in the compiler's page."""
    graph = grimp.build_graph("depthwise", exclude_type_checking_imports=True, cache_dir=None)
    rooms = [f"depthwise.{room}" for room in cache.ROOMS]
    reached = {
        name for room in rooms for name in graph.find_upstream_modules(room, as_package=True)
    }
    assert {"depthwise.machine.target", "depthwise.schedule.plan"} <= reached
    assert {name for name in reached if not name.startswith((*rooms, "depthwise.errors"))} == set()


def test_the_fingerprint_follows_the_versions_of_tvm(tmp_path, monkeypatch):
    """Whether they stand beside the package, as installers leave them, or elsewhere."""
    place = ModuleSpec("tvm", None, origin=str(tmp_path / "tvm" / "__init__.py"))
    monkeypatch.setattr(cache, "find_spec", lambda _: place)
    found = [cache.fingerprint.__wrapped__()]
    for name in ("apache_tvm-1.0.dist-info", "apache_tvm_ffi-0.1.dist-info"):
        (tmp_path / name).mkdir()
        found.append(cache.fingerprint.__wrapped__())
    monkeypatch.setattr(cache, "find_spec", lambda _: None)
    found.append(cache.fingerprint.__wrapped__())
    assert len(set(found)) == len(found)
    assert {len(each) for each in found} == {16}


def test_finding_a_kernel_imports_neither_tvm_nor_torch():
    put()
    code = """
assert cache.load(SPEC, PLAN, TARGET)
print(*sys.modules)
"""
    with start(code) as process:
        loaded = process.communicate(timeout=60)[0].split()
    assert "depthwise.store.cache" in loaded
    assert not {"tvm", "tvm_ffi", "torch", "filelock"} & set(loaded)
