"""What every test shares: how hypothesis searches, and the cache folder of the run."""

import os
import secrets
import shlex
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test, settings

from browser import console_errors, emulate, requests_outside, start
from guarding import GuardedProcess

settings.register_profile("fixed", deadline=None, max_examples=60, derandomize=True)
settings.register_profile(
    "fuzz", settings.get_profile("fixed"), derandomize=False, database=None, print_blob=True
)
settings.load_profile("fixed")
FUZZ_FACTOR = 5
"""How many times as many examples `make fuzz` draws as `make test`."""

NOBODY = 65534


def fuzzes(config):
    return config.getoption("hypothesis_profile") == "fuzz"


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Choose the seed of a fuzzing run, where none is given; workers have that of the run."""
    if fuzzes(config) and config.option.hypothesis_seed is None:
        of_the_run = getattr(config, "workerinput", {}).get("hypothesis_seed")
        config.option.hypothesis_seed = of_the_run or str(secrets.randbelow(2**32))


def pytest_configure_node(node):
    node.workerinput["hypothesis_seed"] = node.config.option.hypothesis_seed


def pytest_report_header(config):
    return f"hypothesis seed: {config.option.hypothesis_seed}" if fuzzes(config) else None


def pytest_collection_modifyitems(config, items):
    if not fuzzes(config):
        return
    properties = {item.function for item in items if is_hypothesis_test(item.function)}
    for function in properties:
        few = function._hypothesis_internal_use_settings
        function._hypothesis_internal_use_settings = settings(
            few, max_examples=FUZZ_FACTOR * few.max_examples
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Say how to repeat what failed in a fuzzing run."""
    report = yield
    if report.failed and fuzzes(item.config):
        again = f"--hypothesis-seed={item.config.option.hypothesis_seed} {shlex.quote(item.nodeid)}"
        report.sections.append(("How to repeat this", f'make fuzz ARGS="problems {again}"'))
    return report


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_run(tmp_path_factory, worker_id):
    """Keep what tests and their processes compile out of the user's cache.

    The workers of a run share it, so that none compiles what another has compiled.
    """
    own = tmp_path_factory.getbasetemp()
    run = own if worker_id == "master" else own.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEPTHWISE_CACHE", str(run / "cache"))
        yield


@pytest.fixture(scope="session")
def guarded(cache_of_the_run):
    """Return the process that computes on guarded pages."""
    process = GuardedProcess()
    yield process
    assert process.close() == 0


@pytest.fixture(scope="session")
def chromium():
    driver = start()
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium):
    """Return a Chromium for tests marked as `site`, what it said to the last test forgotten."""
    console_errors(chromium)
    requests_outside(chromium, "")
    emulate(chromium)
    return chromium


@pytest.fixture
def bound_by_permissions():
    """Yield an empty folder while the process is one that permission bits bind, not root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        user = os.geteuid()
        if user == 0:
            os.chown(folder, NOBODY, -1)
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(user)
            for inside in (folder, *folder.rglob("*")):
                inside.chmod(0o700)


@pytest.fixture
def interruptible():
    """Heed SIGINT, here and in children, where whoever runs the tests ignores it.

    (Shells ignore it in what they run in the background, and children inherit that.)
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def database(tmp_path, monkeypatch):
    """An empty cache folder of the test's own, and no plan remembered from another."""
    from depthwise.store import database as plan_database
    from depthwise.store import disk

    monkeypatch.setattr(disk, "_said", set())
    monkeypatch.setenv(disk.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(plan_database.VARIABLE, raising=False)
    plan_database.tuned_plan.cache_clear()
    yield tmp_path / "cache"
    plan_database.tuned_plan.cache_clear()


@pytest.fixture
def one_process(monkeypatch):
    """Have a network's kernels compiled here: for a few, that is sooner than to start processes."""
    monkeypatch.setattr("depthwise.network.prepare._cores", lambda: 1)
