"""Makes docs/screenshots/sweep.png: a sweep of the embedded engine's model in virtual time, its page in a browser.

python -m tests.browser.sweep_screenshot
"""

import argparse
import contextlib
import tempfile
from pathlib import Path

import orjson

from genbench.report import curves_page
from tests.browser.chrome import Chrome, missing
from tests.browser.screenshots import FOLDER
from tests.curves.made_sweeps import modelled, sweep

CONCURRENCIES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 384)
RULES = ("ttft.p95<500ms", "tpot.p95<25ms")
ENGINE, ISL, OSL = "8b-h100", 512, 128


def main() -> None:
    """Model, show, take the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the picture goes")
    given = parser.parse_args()
    if why := missing():
        raise SystemExit(why)
    points = modelled(values=CONCURRENCIES, name=ENGINE, isl=ISL, osl=OSL, rules=RULES, fewest=400)
    made = sweep(
        points,
        gpus=1,
        endpoint_type="chat",
        command=f"genbench sweep --concurrency 1,2,4,8,16,32,64,128,256,384 --isl {ISL} --osl {OSL} --gpus 1"
        f" {' '.join(f'--slo {rule!r}' for rule in RULES)}",
        config={
            "target": {"model": f"model of {ENGINE}"},
            "workload": {"dataset": "synthetic", "isl": ISL, "osl": OSL},
        },
    )
    with tempfile.TemporaryDirectory() as name, contextlib.closing(Chrome()) as chrome:
        folder = Path(name)
        (folder / "sweep.json").write_bytes(orjson.dumps(made))
        path = curves_page.write(folder)
        chrome.open(path, 1280, 2600)
        (given.folder / "sweep.png").write_bytes(chrome.picture())


if __name__ == "__main__":
    main()
