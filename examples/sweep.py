"""The highest load that keeps every promise, from a sweep's own file: python sweep.py SWEEP-FOLDER.

genbench sweep --url http://localhost:8000 --concurrency 1:64:x2 --slo "ttft.p95<500ms" makes such a folder.
"""

import json
import sys
from pathlib import Path

sweep = json.loads((Path(sys.argv[1]) / "sweep.json").read_text())
kept = [point for point in sweep["points"] if all(rule["passed"] for rule in point["slo"]) and not point["saturated"]]
if not kept:
    sys.exit("no load keeps the promises")
best = max(kept, key=lambda point: float(point["value"]))
throughput = best["run"]["request_throughput"]["value"]
print(f"{sweep['by']} {best['value']:g}: {throughput:.3g} req/s, TTFT p95 {best['metrics']['ttft']['p95']:.0f} ms")
