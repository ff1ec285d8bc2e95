"""Chromium without a window: what it said, and what it asked for beside the page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
_INSIDE = ("data:", "blob:", "about:", "chrome:")
"""Addresses that need neither a file nor a network."""

_CONTRASTS = """
const light = colour => {
  const [r, g, b] = colour.match(/[\\d.]+/g).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = light(getComputedStyle(document.body).backgroundColor);
return [...document.querySelectorAll(arguments[0])].map(e => {
  const ink = light(getComputedStyle(e)[arguments[1]]);
  return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
})
"""


def start() -> Chrome:
    """Start a browser that keeps what pages say and ask for."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1200,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return Chrome(options, ChromeService(DRIVER))


def emulate(driver: Chrome, *, media: str = "", scheme: str = "light") -> None:
    """Have pages believe that they are on such a medium, and that their reader wants a scheme."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def console_errors(driver: Chrome) -> list[str]:
    """Return what went wrong since this was last asked."""
    return [each["message"] for each in driver.get_log("browser") if each["level"] == "SEVERE"]


def requests_outside(driver: Chrome, root: str) -> list[str]:
    """Return the addresses not below `root` that were asked for since this was last asked."""
    events = [json.loads(each["message"])["message"] for each in driver.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    return [address for address in asked if not address.startswith((root, *_INSIDE))]


def contrasts(driver: Chrome, selector: str, colour: str = "color") -> list[float]:
    """Return how much a property of elements contrasts with the page, by WCAG's formula."""
    return driver.execute_script(_CONTRASTS, selector, colour)
