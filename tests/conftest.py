"""What every test shares: how hypothesis searches, and a cache folder of the session's own."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from browser import console_errors, emulate, requests_outside, start
from guarding import GuardedProcess

settings.register_profile("local", deadline=None, max_examples=60)
settings.register_profile("ci", parent=settings.get_profile("local"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


NOBODY = 65534


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_session(tmp_path_factory):
    """Keep what tests and their processes compile out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEPTHWISE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def guarded(cache_of_the_session):
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
