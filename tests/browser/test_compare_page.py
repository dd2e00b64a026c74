"""A comparison's page in a real browser: it draws, asks for nothing, fits, and prints."""

from pathlib import Path
from typing import Any

import pytest

from genbench.plots._look import DARK, LIGHT
from genbench.report import compare_page
from tests.browser.chrome import Chrome
from tests.browser.test_curves_page import OUTSIDE
from tests.browser.test_page import EMPTY_FIGURES
from tests.contrasts.made_comparisons import DOCUMENTS, comparison, document, priced, unfair
from tests.curves.made_sweeps import batching, sweep
from tests.report import made
from tests.report.made import HOSTILE

pytestmark = pytest.mark.browser

HOSTILES = document(
    [comparison("a", HOSTILE, unfair=[unfair(HOSTILE)]), comparison("a", "c")], value=priced(("a", HOSTILE), (1, 2))
)
PAGES: dict[str, dict[str, Any]] = {
    name: DOCUMENTS[name] for name in ("pair", "six", "long", "same", "barred", "loads", "three sweeps", "empty")
} | {"hostile": HOSTILES}


@pytest.fixture(scope="module", params=PAGES)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("compare"), request.param)


def written(folder: Path, name: str) -> Path:
    of = PAGES[name]
    names = [one["name"] for one in of["subjects"]]
    if "loads" in name or "sweeps" in name:
        sweeps = [(one, sweep(batching(base=10 + i, error=0.05))) for i, one in enumerate(names)]
        return compare_page.write(folder, of, (), sweeps)
    runs = [(one, made.run(made.streamed(60, 50.0 + 4 * i), made.header(salt=one))) for i, one in enumerate(names)]
    return compare_page.write(folder, of, runs)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_draws_without_an_error_or_a_request(chrome: Chrome, path: Path, dark: bool) -> None:
    chrome.open(path, dark=dark)
    assert chrome.errors() == []
    assert chrome.requests() == [path.as_uri()]
    assert chrome.run(EMPTY_FIGURES) == []


@pytest.mark.parametrize("width", [320, 390, 768, 1200, 1920])
def test_nothing_is_wider_than_the_page(chrome: Chrome, path: Path, width: int) -> None:
    chrome.open(path, width, 844)
    assert chrome.run("return document.documentElement.scrollWidth") == width
    assert chrome.run(OUTSIDE) == []


def test_the_words_beside_the_ratios_are_there_where_they_have_room(chrome: Chrome, tmp_path: Path) -> None:
    place = written(tmp_path, "pair")
    said = "return document.querySelector('#figure-ratios .plot').textContent"
    chrome.open(place, 1200)
    assert "−9.0 %  faster" in chrome.run(said)
    assert "candidate better →" in chrome.run(said)
    chrome.open(place, 390, 844)
    assert "−9.0 %" not in chrome.run(said)
    assert "better →" in chrome.run(said)
    assert "candidate better" not in chrome.run(said)


def test_the_tables_of_a_pair_fit_a_wide_page(chrome: Chrome, tmp_path: Path) -> None:
    chrome.open(written(tmp_path, "pair"), 1200)
    wider = "return [...document.querySelectorAll('.box')].filter((one) => one.scrollWidth > one.clientWidth).length"
    assert chrome.run(wider) == 0


def test_bars_of_value_are_drawn(chrome: Chrome, tmp_path: Path) -> None:
    chrome.open(written(tmp_path, "pair"))
    lengths = chrome.run(
        "return [...document.querySelectorAll('#figure-value .mark-rect path')]"
        ".map((one) => one.getBoundingClientRect().width).filter((width) => width > 100)"
    )
    assert lengths[1] / lengths[0] == pytest.approx(1.18, rel=0.02)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_prints_on_light_paper(chrome: Chrome, tmp_path: Path, dark: bool) -> None:
    chrome.open(written(tmp_path, "same"), dark=dark)
    assert chrome.pdf().startswith(b"%PDF-")
    chrome.tell("Emulation.setEmulatedMedia", media="print")
    inks = chrome.run(
        "return [...document.querySelectorAll('.plot, .paper')].filter((one) => one.offsetHeight > 20)"
        ".map((one) => one.querySelector('.role-axis-label text').getAttribute('fill'))"
    )
    chrome.tell("Emulation.setEmulatedMedia", media="")
    assert set(inks) == {LIGHT.faint}


def test_the_dark_page_is_dark(chrome: Chrome, tmp_path: Path) -> None:
    chrome.open(written(tmp_path, "same"), dark=True)
    ground = "return getComputedStyle(document.querySelector('figure')).backgroundColor"
    assert chrome.run(ground) == "rgb({}, {}, {})".format(*bytes.fromhex(DARK.ground[1:]))
