"""A sweep's page in a real browser: it draws, asks for nothing, fits, and prints."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from genbench.plots._look import DARK, LIGHT
from genbench.report import curves_page
from tests.browser.chrome import Chrome
from tests.browser.test_page import EMPTY_FIGURES
from tests.curves.made_sweeps import batching, dead, entry, sweep
from tests.curves.test_ink import usual
from tests.report.made import HOSTILE

pytestmark = pytest.mark.browser

OUTSIDE = (
    "return [...document.querySelectorAll('main > *, figure, .card, .box')]"
    ".filter((one) => one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 90))"
)


def saturated() -> list[dict[str, Any]]:
    points = [entry(r, requests=min(r, 5), latency=90 * r, ttft=9.0 * r, itl=9, by="request_rate") for r in (1, 4, 8)]
    return [*points[:2], points[2] | {"saturated": "it grew"}]


SWEEPS: dict[str, dict[str, Any]] = {
    "one": sweep(usual(), gpus=4),
    "groups": sweep([point | {"group": name} for name in ("128:32", HOSTILE) for point in batching(error=0.1)]),
    "saturated": sweep(saturated()),
    "dead": sweep([dead(1), dead(2)]),
}


@pytest.fixture(scope="module", params=SWEEPS)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("sweep"), request.param)


def made(folder: Path, name: str) -> Path:
    (folder / "sweep.json").write_bytes(orjson.dumps(SWEEPS[name]))
    run = folder / "points" / "c4"
    run.mkdir(parents=True)
    (run / "report.html").write_text("<!doctype html><title>a run</title>")
    return curves_page.write(folder)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_draws_without_an_error_or_a_request(chrome: Chrome, path: Path, dark: bool) -> None:
    chrome.open(path, dark=dark)
    assert chrome.errors() == []
    assert chrome.requests() == [path.as_uri()]
    assert chrome.run(EMPTY_FIGURES) == []


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1920])
def test_nothing_is_wider_than_the_page(chrome: Chrome, path: Path, width: int) -> None:
    chrome.open(path, width, 844)
    assert chrome.run("return document.documentElement.scrollWidth") == width
    assert chrome.run(OUTSIDE) == []


def test_all_figures_are_there_and_the_levels_fit(chrome: Chrome, tmp_path: Path) -> None:
    chrome.open(made(tmp_path, "one"), 1280)
    assert chrome.run("return document.querySelectorAll('[data-figure] svg').length") == 7
    box = "document.querySelector('#levels .box')"
    assert chrome.run(f"return {box}.scrollWidth - {box}.clientWidth") == 0


def test_intervals_show_on_demand(chrome: Chrome, tmp_path: Path) -> None:
    chrome.open(made(tmp_path, "one"))
    interval = chrome.find(".levels .ci")
    assert not interval.is_displayed()
    chrome.run("document.querySelector('#intervals').click()")
    assert interval.is_displayed()


def test_a_level_leads_to_its_run(chrome: Chrome, tmp_path: Path) -> None:
    chrome.open(made(tmp_path, "one"))
    chrome.run("document.querySelector('.levels tbody a').click()")
    chrome.wait(lambda: chrome.driver.title == "a run")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_prints_on_light_paper(chrome: Chrome, tmp_path: Path, dark: bool) -> None:
    chrome.open(made(tmp_path, "one"), dark=dark)
    pdf = chrome.pdf()
    assert pdf.startswith(b"%PDF-")
    chrome.tell("Emulation.setEmulatedMedia", media="print")
    shown = chrome.run(
        "return [...document.querySelectorAll('.plot, .paper')].filter((one) => one.offsetHeight > 20)"
        ".map((one) => one.querySelector('.role-axis-label text').getAttribute('fill'))"
    )
    chrome.tell("Emulation.setEmulatedMedia", media="")
    assert shown == [LIGHT.faint] * 7


def test_the_dark_page_is_dark(chrome: Chrome, tmp_path: Path) -> None:
    chrome.open(made(tmp_path, "one"), dark=True)
    ground = "return getComputedStyle(document.querySelector('figure')).backgroundColor"
    assert chrome.run(ground) == "rgb({}, {}, {})".format(*bytes.fromhex(DARK.ground[1:]))
