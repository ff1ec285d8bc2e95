"""The page of a run in a browser, as its reader opens it: from the disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import found
from browser import console_errors, contrasts, emulate, requests_outside
from depthwise.bench.html import layers, networks

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.site

_COLUMN = """
const table = document.querySelector('#results table');
return [...table.tBodies[0].rows].map(row => row.cells[arguments[0]].textContent)
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    written = {"layers": folder / "layers.html", "networks": folder / "networks.html"}
    layers.write(written["layers"], found.layers())
    networks.write(written["networks"], found.networks())
    return written


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest, browser: Chrome) -> str:
    emulate(browser, scheme=request.param)
    return str(request.param)


def plots(browser: Chrome) -> list[Any]:
    return browser.find_elements("css selector", ".canvas, .bars")


@pytest.mark.parametrize(("name", "count"), [("layers", 3), ("networks", 4)])
@pytest.mark.usefixtures("scheme")
def test_the_page_opens_from_the_disk_alone(
    browser: Chrome, pages: dict[str, Path], name: str, count: int
) -> None:
    browser.get(pages[name].as_uri())
    assert console_errors(browser) == []
    assert requests_outside(browser, pages[name].as_uri()) == []
    sizes = [plot.size for plot in plots(browser)]
    assert len(sizes) == count
    assert all(size["width"] > 100 and size["height"] > 15 for size in sizes)


def test_what_is_written_is_seen_in_both_schemes(
    browser: Chrome, pages: dict[str, Path], scheme: str
) -> None:
    browser.get(pages["layers"].as_uri())
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    for selector, colour, least in (
        ("td", "color", 7), ("figcaption", "color", 7), (".legend", "color", 4.5),
        (".across text", "fill", 7), (".upward text", "fill", 7), (".key li", "color", 7),
        (".canvas .title", "fill", 7), (".note", "fill", 7), (".bars .value", "color", 7),
        (".bars .about", "color", 4.5), (".bar", "backgroundColor", 1.9),
        (".lines polyline", "stroke", 1.9), (".mark", "fill", 1.9),
    ):  # fmt: skip
        found_here = contrasts(browser, selector, colour)
        assert found_here, selector
        assert min(found_here) >= least, selector


@pytest.mark.usefixtures("scheme")
def test_pointing_at_a_mark_tells_its_number(browser: Chrome, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    browser.get(pages["layers"].as_uri())
    mark = browser.find_element("css selector", "#plot-2 .mark")
    tip = browser.find_element("css selector", "#plot-2 .tip")
    assert not tip.is_displayed()
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", mark)
    ActionChains(browser).move_to_element(mark).perform()
    assert tip.text == "depthwise nhwc, 16 channels: 100.0 GFLOP/s"
    assert console_errors(browser) == []


def test_arrow_keys_go_from_mark_to_mark(browser: Chrome, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.get(pages["layers"].as_uri())
    canvas = browser.find_element("css selector", "#plot-2 .canvas")
    tip = browser.find_element("css selector", "#plot-2 .tip")
    told = []
    for key in (Keys.RIGHT, Keys.RIGHT, Keys.LEFT, Keys.LEFT):
        canvas.send_keys(key)
        told.append(tip.text.split(":")[0])
    assert told == [
        "depthwise nhwc, 16 channels", "depthwise nhwc, 32 channels",
        "depthwise nhwc, 16 channels", "onnxruntime nchwc, 128 channels",
    ]  # fmt: skip
    canvas.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()


@pytest.mark.parametrize("name", ["layers", "networks"])
def test_bars_stand_beside_their_names(browser: Chrome, pages: dict[str, Path], name: str) -> None:
    """Or, where others may stand beside their plot, right below."""
    browser.get(pages[name].as_uri())
    rows = browser.find_elements("css selector", ".bars li")
    assert rows
    for row in rows:
        words, bar = (row.find_element("css selector", f".{part}").rect for part in ("name", "bar"))
        middles = [box["y"] + box["height"] / 2 for box in (words, bar)]
        if row.find_elements("xpath", "ancestor::*[@class='narrow']"):
            assert 0 < middles[1] - middles[0] < 1.5 * words["height"]
        else:
            assert abs(middles[1] - middles[0]) < 3


def test_plots_need_no_script(browser: Chrome, pages: dict[str, Path]) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(pages["layers"].as_uri())
        assert all(plot.size["width"] > 100 for plot in plots(browser))
        assert browser.find_elements("css selector", ".mark")
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def header(browser: Chrome, words: str) -> tuple[Any, int]:
    headers = browser.find_elements("css selector", "#results th")
    (number,) = (k for k, each in enumerate(headers) if each.text.split(" \n")[0].startswith(words))
    return headers[number], number


@pytest.mark.usefixtures("scheme")
def test_a_click_on_a_header_sorts_numbers_as_numbers(
    browser: Chrome, pages: dict[str, Path]
) -> None:
    browser.get(pages["layers"].as_uri())
    chosen, column = header(browser, "median us")
    expected = sorted(each.time for each in found.LAYERS)
    for order, times in (("ascending", expected), ("descending", expected[::-1])):
        chosen.find_element("tag name", "button").click()
        assert chosen.get_attribute("aria-sort") == order
        assert [float(text) for text in browser.execute_script(_COLUMN, column)] == times
    assert console_errors(browser) == []


def test_keys_sort_words_and_one_header_at_a_time(browser: Chrome, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.get(pages["layers"].as_uri())
    for words in ("engine", "problem"):
        chosen, column = header(browser, words)
        for order in ("ascending", "descending"):
            chosen.find_element("tag name", "button").send_keys(Keys.ENTER)
            assert chosen.get_attribute("aria-sort") == order
    problems = browser.execute_script(_COLUMN, column)
    assert problems[:: len(found.TIMES)] == found.PROBLEMS[::-1]
    sorts = [
        each.get_attribute("aria-sort")
        for each in browser.find_elements("css selector", "#results th")
    ]
    assert sorted(set(sorts)) == ["descending", "none"]
    assert sorts.count("descending") == 1


def test_what_has_no_number_stays_last(browser: Chrome, pages: dict[str, Path]) -> None:
    browser.get(pages["networks"].as_uri())
    chosen, column = header(browser, "ms")
    for _ in range(2):
        chosen.find_element("tag name", "button").click()
        assert browser.execute_script(_COLUMN, column)[-1] == "WRONG"


def test_the_page_fits_a_telephone(browser: Chrome, pages: dict[str, Path]) -> None:
    size = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.get(pages["layers"].as_uri())
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 400
        assert all(200 < plot.size["width"] <= 400 for plot in plots(browser))
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_printed_page_is_black_on_white_and_shows_whole_tables(
    browser: Chrome, pages: dict[str, Path]
) -> None:
    emulate(browser, media="print", scheme="dark")
    try:
        browser.get(pages["layers"].as_uri())
        assert min(contrasts(browser, "td")) > 7
        heights = browser.execute_script(
            "return [...document.querySelectorAll('.scroll')]"
            ".map(e => [e.scrollHeight, e.clientHeight])"
        )
        assert all(whole == shown for whole, shown in heights)
    finally:
        emulate(browser)


def test_the_results_can_be_saved(browser: Chrome, pages: dict[str, Path], tmp_path: Path) -> None:
    from selenium.webdriver.support.wait import WebDriverWait

    where = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    browser.get(pages["layers"].as_uri())
    browser.find_element("id", "save").click()
    file = tmp_path / "bench.json"
    WebDriverWait(browser, 10).until(lambda _: file.is_file())
    assert json.loads(file.read_text())["results"] == found.layers().as_dict()["results"]
