"""Makes docs/screenshots/report-*.png: half a minute of the embedded engine, its page in a browser.

python -m tests.browser.screenshots
"""

import argparse
import contextlib
import functools
import tempfile
from dataclasses import replace
from pathlib import Path

from genbench import config
from genbench.metrics.summary import Run
from genbench.report import page
from genbench.studies import simulated
from genbench.studies.profile import Screen, profile
from tests.browser.chrome import Chrome, missing

FOLDER = Path(__file__).parent.parent.parent / "docs" / "screenshots"
ENGINE = ("--jitter", "0.4", "--fault", "status:503", "--fault-share", "0.008")
OPTIONS = {
    "isl": "400",
    "isl_stddev": "150",
    "osl": "40",
    "osl_stddev": "15",
    "request_rate": "15",
    "slo": ("ttft.p95<80ms", "request_latency.p99<1.4s", "error_rate<1%"),
}
OF_THE_MACHINE = ("host", "system")  # of whoever makes the pictures


def measured(seconds: str) -> Run:
    """A run with something to show."""
    simulated.engine = functools.partial(simulated.engine, *ENGINE)
    options = OPTIONS | {"duration_s": seconds}
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        run = profile(config.load(options), config.command_line(options, ()), Screen(print, None))
    machine = {key: value for key, value in run.header["environment"].items() if key not in OF_THE_MACHINE}
    return replace(run, header={**run.header, "environment": machine})


def main() -> None:
    """Run, show, take pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the pictures go")
    parser.add_argument("--seconds", default="25s", help="how long the load lasts")
    given = parser.parse_args()
    if why := missing():
        raise SystemExit(why)
    run = measured(given.seconds)
    given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, contextlib.closing(Chrome()) as chrome:
        path = page.write([("run", run)], Path(name))
        chrome.open(path, 1280, 1560)
        (given.folder / "report-light.png").write_bytes(chrome.picture())
        chrome.open(path, 1280, 1180, dark=True)
        chrome.run("scrollTo(0, document.querySelector('#figures').offsetTop - 60)")
        (given.folder / "report-dark.png").write_bytes(chrome.picture())
        chrome.open(path, 390, 844, scale=2)
        (given.folder / "report-phone.png").write_bytes(chrome.picture())
        chrome.open(path, 1280, 900)
        chrome.run(
            "document.querySelector('button.opens').click();"
            "scrollTo(0, document.querySelector('#slowest').offsetTop - 60)"
        )
        (given.folder / "report-slowest.png").write_bytes(chrome.picture())


if __name__ == "__main__":
    main()
