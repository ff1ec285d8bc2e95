"""The site that `make docs` built, in a browser: pages, links, pictures, search and notebooks."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import pytest

from browser import console_errors, contrasts, emulate, requests_outside

pytestmark = pytest.mark.site

SITE = Path(__file__).parents[1] / "results" / "site"
PAGES = sorted(SITE.rglob("*.html"))
TUTORIAL = sorted(path for path in SITE.glob("tutorial/*.html") if path.stem != "index")
_PICTURES = """
const shown = [...document.querySelectorAll('.picture svg, article img')];
return shown.map(e => {
  const box = e.getBoundingClientRect(), loaded = e.tagName != 'IMG' || e.naturalWidth > 0;
  return [e.getAttribute('aria-label') || e.alt, loaded && box.width > 0 && box.height > 0];
})
"""
_LETTERS = """
return [...document.querySelectorAll('.picture text')].map(e => e.getBoundingClientRect().height)
"""
_LINKS = "return [...document.querySelectorAll('a[href], link[href]')].map(e => e.href)"
_ANCHORS = "return [...document.querySelectorAll('[id]')].map(e => e.id)"


def named(path: Path) -> str:
    return path.relative_to(SITE).as_posix()


def test_there_is_a_site():
    assert len(TUTORIAL) == 11, "build it first: make docs"


@pytest.fixture(scope="module")
def anchors():
    """The anchors of each page that was opened."""
    return {}


@pytest.fixture(scope="module")
def links():
    """Where links to files of the site lead, and from where."""
    return {}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_page_opens_without_a_network(browser, page, anchors, links):
    browser.get(page.as_uri())
    assert console_errors(browser) == []
    assert requests_outside(browser, SITE.as_uri()) == []
    pictures = browser.execute_script(_PICTURES)
    assert all(text and visible for text, visible in pictures), pictures
    anchors[page] = set(browser.execute_script(_ANCHORS))
    for link in map(urlsplit, browser.execute_script(_LINKS)):
        if link.scheme == "file":
            links.setdefault((Path(unquote(link.path)), unquote(link.fragment)), page)


def test_no_link_is_dead(anchors, links):
    assert len(links) > len(PAGES)
    assert not [(str(to), named(page)) for (to, _), page in links.items() if not to.is_file()]
    assert not [
        (named(to), anchor, named(page))
        for (to, anchor), page in links.items()
        if anchor and to in anchors and anchor not in anchors[to]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", TUTORIAL, ids=named)
def test_pictures_are_readable(browser, page, scheme):
    emulate(browser, scheme=scheme)
    browser.get(page.as_uri())
    found = contrasts(browser, ".picture svg")
    assert found
    assert min(found) > 7


@pytest.mark.parametrize("page", [SITE / "index.html", *TUTORIAL], ids=named)
def test_a_page_fits_a_telephone_and_its_letters_can_be_read(browser, page):
    size = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.get(page.as_uri())
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 400
        heights = browser.execute_script(_LETTERS)
        assert min(heights, default=9) >= 7
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_start_page_has_a_picture_a_number_and_where_to_go(browser):
    browser.get((SITE / "index.html").as_uri())
    (picture,) = browser.find_elements("css selector", "article img")
    assert picture.size["width"] > 300
    text = browser.find_element("css selector", "article").text
    for words in ("7.6 ms instead of 24.7", "one thread of an AMD EPYC", "make setup"):
        assert words in text
    leads = browser.find_elements("css selector", "#where-to-go a.reference.internal")
    assert len(leads) == 6


@pytest.mark.parametrize("page", TUTORIAL, ids=named)
def test_what_a_page_sets_up_is_hidden_until_it_is_asked_for(browser, page):
    from selenium.webdriver.support.wait import WebDriverWait

    browser.get(page.as_uri())
    hidden = browser.find_element("css selector", "div.cell")
    code = hidden.find_element("css selector", "pre")
    assert not code.is_displayed()
    hidden.find_element("css selector", "summary").click()
    WebDriverWait(browser, 10).until(lambda _: code.is_displayed())  # it is faded in
    assert "import" in code.text


def test_every_function_of_the_reference_leads_to_its_source(browser):
    browser.get((SITE / "reference" / "functions.html").as_uri())
    entries = browser.find_elements("css selector", "dl.py.function > dt")
    assert len(entries) >= 8
    for entry in entries:
        assert entry.find_elements("css selector", ".viewcode-link")


def test_the_search_finds_a_page(browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    browser.get((SITE / "search.html").as_uri() + "?q=squeeze")
    found = WebDriverWait(browser, 10).until(
        lambda driver: driver.find_elements(By.CSS_SELECTOR, "ul.search li a")
    )
    assert any("blocks.html" in link.get_attribute("href") for link in found)
    assert console_errors(browser) == []


@pytest.fixture(scope="module")
def address():
    """Where the site is served: browsers take what a file names for a page, not for a download."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(SITE))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("page", TUTORIAL, ids=named)
def test_a_click_downloads_the_notebook(browser, page, address, tmp_path):
    import nbformat
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    where = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    browser.get(f"{address}/{named(page)}")
    browser.find_element(By.CSS_SELECTOR, ".notebook a").click()
    file = tmp_path / f"{page.stem}.ipynb"
    WebDriverWait(browser, 10).until(lambda _: file.is_file())
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    assert any(cell.get("outputs") for cell in notebook.cells)
