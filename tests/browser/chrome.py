"""Chromium without a window, driven over its own protocol where WebDriver has no word for it."""

import base64
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webelement import WebElement

BINARIES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE_S = 30.0


def missing() -> str:
    """What has to be installed first; empty when all is there."""
    if not any(map(shutil.which, BINARIES)):
        return "no Chromium on PATH: install chromium and chromium-driver"
    return "" if shutil.which("chromedriver") else "no chromedriver on PATH: install chromium-driver"


class Chrome:
    """One browser; `open` shows a page in a window of a size, light or dark."""

    def __init__(self) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = next(path for path in map(shutil.which, BINARIES) if path)
        for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"):
            options.add_argument(word)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)

    def close(self) -> None:
        """End the browser."""
        self.driver.quit()

    def tell(self, command: str, **arguments: Any) -> Any:
        """A command of the browser's own protocol."""
        return self.driver.execute_cdp_cmd(command, arguments)

    def open(self, path: Path, width: int = 1280, height: int = 900, *, dark: bool = False, scale: float = 1) -> None:
        """Show a file and wait until all its figures are drawn; logs of before are dropped."""
        self.driver.get("about:blank")
        self.errors()
        self.requests()
        mobile = width < 500
        self.tell(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile
        )
        self.scheme(dark=dark)
        self.driver.get(path.as_uri())
        self.wait(lambda: self.run("return document.documentElement.dataset.drawn"))
        self.run("document.documentElement.style.scrollBehavior = 'auto'")

    def scheme(self, *, dark: bool) -> None:
        """What the reader prefers."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.tell("Emulation.setEmulatedMedia", features=features)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, holds: Callable[[], Any]) -> Any:
        """The first true answer; an AssertionError when there is none in time."""
        end = time.monotonic() + PATIENCE_S
        while not (found := holds()):
            assert time.monotonic() < end, "it did not happen in time"
            time.sleep(0.02)
        return found

    def find(self, selector: str) -> WebElement:
        """The first element."""
        return self.driver.find_element("css selector", selector)

    def errors(self) -> list[str]:
        """Errors on the console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]  # type: ignore[no-untyped-call]

    def requests(self) -> list[str]:
        """Addresses that were asked for since the last call; what is inside the page counts for nothing."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]  # type: ignore[no-untyped-call]
        asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
        return [url for url in asked if not url.startswith(("data:", "blob:", "about:"))]

    def pdf(self) -> bytes:
        """The page on paper."""
        return base64.b64decode(self.tell("Page.printToPDF", printBackground=True, preferCSSPageSize=True)["data"])

    def picture(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(self.tell("Page.captureScreenshot", format="png")["data"])
