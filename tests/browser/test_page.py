"""The page in a real browser: it draws, asks for nothing, fits, prints, and is used by keyboard and mouse."""

from pathlib import Path

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.keys import Keys

from genbench.plots._look import DARK, LIGHT
from tests.browser.chrome import Chrome

pytestmark = pytest.mark.browser

PAGES = ("one", "several", "empty", "whole")
EMPTY_FIGURES = """
  return [...document.querySelectorAll("[data-figure]")].filter((place) => {
    const marks = [...place.querySelectorAll("svg .role-mark > *")];
    return !marks.some((mark) => { const box = mark.getBBox(); return box.width + box.height > 1; });
  }).map((place) => place.getAttribute("aria-label"));
"""


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_draws_without_an_error_or_a_request(chrome: Chrome, page: Path, dark: bool) -> None:
    chrome.open(page, dark=dark)
    assert chrome.errors() == []
    assert chrome.requests() == [page.as_uri()]
    assert chrome.run(EMPTY_FIGURES) == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_who_waits_for_the_page_to_load_sees_all_its_figures(chrome: Chrome, one: Path, dark: bool) -> None:
    chrome.driver.get("about:blank")
    chrome.scheme(dark=dark)
    chrome.driver.get(one.as_uri())
    state = "location.protocol === 'file:' && document.readyState === 'complete'"  # at once before the load event
    assert (
        chrome.wait(lambda: chrome.run(f"return {state} ? String(document.documentElement.dataset.drawn) : ''")) == "1"
    )
    assert chrome.run(EMPTY_FIGURES) == []
    assert chrome.run("return document.querySelectorAll('iframe').length") == 0
    painted = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    loaded = "performance.getEntriesByType('navigation')[0].domComplete"
    assert chrome.run(f"return 0 < {painted} && {painted} < {loaded}")  # the page is read before that


def test_there_are_figures_to_draw(chrome: Chrome, one: Path, whole: Path, empty: Path) -> None:
    counts = []
    for path in (one, whole, empty):
        chrome.open(path)
        counts.append(chrome.run("return document.querySelectorAll('[data-figure] svg').length"))
    assert counts[0] >= 12
    assert 4 <= counts[1] < counts[0]
    assert counts[2] == 0


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1920])
def test_nothing_is_wider_than_the_page(chrome: Chrome, page: Path, width: int) -> None:
    chrome.open(page, width, 844)
    assert chrome.run("return document.documentElement.scrollWidth") == width
    outside = chrome.run(
        "return [...document.querySelectorAll('main > *, figure, .card, .box')]"
        ".filter((one) => one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 90))"
    )
    assert outside == []


def test_a_hostile_text_runs_nothing(chrome: Chrome, one: Path) -> None:
    chrome.open(one)
    assert "<img src=x onerror=alert(1)>" in chrome.find("h1").text
    assert chrome.run("return document.images.length") == 0


def test_the_policy_refuses_a_request(chrome: Chrome, one: Path) -> None:
    chrome.open(one)
    chrome.run(
        "window.refused = []; addEventListener('securitypolicyviolation', (e) => refused.push(e.effectiveDirective));"
        "new Image().src = 'http://127.0.0.1:9/x.png'; fetch('http://127.0.0.1:9/').catch(() => 0);"
    )
    chrome.wait(lambda: len(chrome.run("return refused")) == 2)
    assert sorted(chrome.run("return refused")) == ["connect-src", "img-src"]


def test_dark_and_back(chrome: Chrome, one: Path) -> None:
    chrome.open(one, dark=True)
    words = (
        "return [...new Set([...document.querySelectorAll('.plot .role-axis-label text')]"
        ".map((text) => text.getAttribute('fill')))]"
    )
    ground = "return getComputedStyle(document.querySelector('figure')).backgroundColor"
    assert chrome.run(words) == [DARK.faint]
    assert chrome.run(ground) == "rgb({}, {}, {})".format(*bytes.fromhex(DARK.ground[1:]))
    chrome.scheme(dark=False)
    chrome.wait(lambda: chrome.run(words) == [LIGHT.faint])
    assert chrome.run(ground) == "rgb({}, {}, {})".format(*bytes.fromhex(LIGHT.ground[1:]))
    assert chrome.errors() == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_prints_on_light_paper(chrome: Chrome, one: Path, dark: bool) -> None:
    chrome.open(one, dark=dark)
    closed = "return document.querySelectorAll('details:not([open])').length"
    before = chrome.run(closed)
    pdf = chrome.pdf()
    assert pdf.startswith(b"%PDF-")
    assert len(pdf) > 100_000
    assert chrome.run(closed) == before  # what was opened for paper is closed again
    figures = chrome.run("return document.querySelectorAll('[data-figure]').length")
    assert chrome.run("return document.querySelectorAll('.paper svg').length") == (figures if dark else 0)
    chrome.tell("Emulation.setEmulatedMedia", media="print")
    shown = chrome.run(
        "return [...document.querySelectorAll('.plot, .paper')].filter((one) => one.offsetHeight > 20)"
        ".map((one) => one.querySelector('.role-axis-label text').getAttribute('fill'))"
    )
    chrome.tell("Emulation.setEmulatedMedia", media="")
    assert shown == [LIGHT.faint] * figures


def test_a_slow_request_opens_by_keyboard(chrome: Chrome, one: Path) -> None:
    chrome.open(one)
    keys = chrome.driver.switch_to
    keys.active_element.send_keys(Keys.TAB)
    assert keys.active_element.text == "To the content"
    for _ in range(300):
        keys.active_element.send_keys(Keys.TAB)
        if chrome.run("return document.activeElement.className") == "opens":
            break
    button = keys.active_element
    assert chrome.run("return getComputedStyle(arguments[0]).outlineStyle", button) == "solid"
    story = chrome.find(f"#{button.get_attribute('aria-controls')}")
    assert not story.is_displayed()
    button.send_keys(Keys.ENTER)
    assert story.is_displayed()
    assert button.get_attribute("aria-expanded") == "true"
    assert "response head" in story.text
    button.send_keys(Keys.SPACE)
    assert not story.is_displayed()


def test_a_row_opens_by_mouse(chrome: Chrome, one: Path) -> None:
    chrome.open(one)
    row = chrome.find("tr.request")
    chrome.run("arguments[0].scrollIntoView({block: 'center'})", row)
    row.find_element("css selector", "td").click()
    assert chrome.find("tr.story").is_displayed()


def test_a_figure_moves_and_comes_back_and_the_wheel_scrolls_the_page(chrome: Chrome, one: Path) -> None:
    chrome.open(one)

    def labels() -> list[str]:
        texts = "document.querySelectorAll('#figure-latency_cdf .role-axis-label text')"
        return sorted(chrome.run(f"return [...{texts}].map((text) => text.textContent)"))

    chrome.run("document.querySelector('#figure-latency_cdf .plot').scrollIntoView({block: 'center'})")
    place, before = chrome.find("#figure-latency_cdf .plot svg"), labels()
    mouse = ActionChains(chrome.driver)
    mouse.move_to_element(place).click_and_hold().move_by_offset(-90, 0).release().perform()
    chrome.wait(lambda: labels() != before)
    mouse.move_to_element(place).double_click().perform()
    chrome.wait(lambda: labels() == before)
    top = chrome.run("return scrollY")
    mouse.scroll_from_origin(ScrollOrigin.from_element(place), 0, 120).perform()
    chrome.wait(lambda: chrome.run("return scrollY") > top)
    assert labels() == before


def test_points_tell_their_values(chrome: Chrome, one: Path) -> None:
    chrome.open(one)
    point = chrome.find("#figure-latency_over_run .mark-symbol.role-mark path")
    chrome.run("arguments[0].scrollIntoView({block: 'center'})", point)
    ActionChains(chrome.driver).move_to_element(point).perform()
    chrome.wait(
        lambda: (
            "latency" in str(chrome.run("return document.querySelector('#vg-tooltip-element.visible')?.textContent"))
        )
    )


def test_the_command_is_copied(chrome: Chrome, one: Path) -> None:
    chrome.open(one)
    button = chrome.find("[data-copy]")
    chrome.run("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()
    chrome.wait(lambda: button.text in ("Copied", "Selected: press Ctrl + C"))


def test_a_figure_is_saved(chrome: Chrome, one: Path, tmp_path: Path) -> None:
    chrome.open(one)
    chrome.tell("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    button = chrome.find("[data-save]")
    chrome.run("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()
    chrome.wait(lambda: list(tmp_path.glob("*.svg")))
    assert next(tmp_path.glob("*.svg")).read_text().startswith("<svg")
    assert chrome.errors() == []


def test_intervals_show_on_demand(chrome: Chrome, one: Path) -> None:
    chrome.open(one)
    interval = chrome.find(".wide .ci")
    assert not interval.is_displayed()
    chrome.run("document.querySelector('#intervals').click()")
    assert interval.is_displayed()


def test_a_link_opens_the_run_it_leads_to(chrome: Chrome, several: Path) -> None:
    chrome.open(several)
    details = chrome.find("#run1")
    assert details.get_attribute("open") is None
    chrome.run("document.querySelector('.runs a[href=\"#run1\"]').click()")
    chrome.wait(lambda: details.get_attribute("open") is not None)


def test_a_narrower_window_draws_anew(chrome: Chrome, one: Path) -> None:
    chrome.open(one)
    chrome.tell("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=False)
    chrome.wait(lambda: chrome.run("return document.documentElement.dataset.drawn") == "2")
    drawings = "document.querySelectorAll('[data-figure] svg')"
    assert chrome.run(f"return Math.max(...[...{drawings}].map((one) => +one.getAttribute('width')))") <= 390
