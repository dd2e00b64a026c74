"""A browser for the session, and pages of runs made by hand."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from genbench.report import page
from tests.browser.chrome import Chrome, missing
from tests.report import made


@pytest.fixture(scope="session")
def chrome() -> Iterator[Chrome]:
    """The browser."""
    if why := missing():
        pytest.fail(why)
    browser = Chrome()
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with streams, failures and promises, its server's texts hostile."""
    run = made.full(model=f"tiny {made.HOSTILE}")
    return page.write([("run", run)], tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="session")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs on one page, one of them empty."""
    runs = [
        ("first", made.full()),
        (made.HOSTILE, made.run(made.streamed(100, 80.0), made.header())),
        ("empty", made.run([], made.header())),
    ]
    path = tmp_path_factory.mktemp("several") / page.NAME
    path.write_text(page.page(runs), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without a request."""
    return page.write([("run", made.run([]))], tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers in one piece: half of the figures have nothing to draw."""
    return page.write([("run", made.run(made.whole(), made.header()))], tmp_path_factory.mktemp("whole"))
