"""The pause between two points of a study: until every server has nothing more to do.

An engine of vLLM's kind says in `/metrics` what it runs and what it holds back; quiet is when both are 0. Any other is
sent a small request, the preflight's, until one is answered about as fast as the first point's preflight was. The small
request is tried beside a gauge that stays above 0, too: a gauge may be an old one, or count somebody else's requests.
"""

import contextlib
import http.client
import time
from collections.abc import Mapping, Sequence
from typing import Any

from genbench import registry
from genbench.engine.preflight import check_too
from genbench.engine.prober import Prober
from genbench.errors import ConfigError, TargetError
from genbench.options import RunConfig
from genbench.plan.facts import Facts
from genbench.studies.prepare import Place

POLL_S = 0.1
PROBE_S = 2.0  # between two small requests where there is a gauge
SLOWER, SLOWER_S = 1.5, 0.02  # a small request slower than the first one by this had to wait for others
GAUGES = frozenset({
    "vllm:num_requests_running", "vllm:num_requests_waiting",
    "sglang:num_running_reqs", "sglang:num_queue_reqs",
    "tgi_batch_current_size", "tgi_queue_size",
    "llamacpp:requests_processing", "llamacpp:requests_deferred",
    "num_requests_running", "num_requests_waiting",
})  # fmt: skip


class Quiet:
    """Knows how fast a small request is on a quiet server, from the header of the first point."""

    def __init__(self) -> None:
        self._usual_s: float | None = None

    def learn(self, header: Mapping[str, Any]) -> None:
        """Take the first header there is."""
        latency = (header.get("preflight") or {}).get("latency_s")
        if self._usual_s is None and isinstance(latency, int | float):
            self._usual_s = float(latency)

    def wait(self, places: Sequence[Place], header: Mapping[str, Any], resolved: RunConfig, until_s: float) -> bool:
        """Return once all are quiet, or at `until_s` of `time.monotonic`; whether they are.

        A small request that is under way then is let end (10 s at most).
        """
        return all(self._one(place.prober, header, resolved, until_s) for place in places)

    def _one(self, prober: Prober, header: Mapping[str, Any], resolved: RunConfig, until_s: float) -> bool:
        asked_s = time.monotonic()
        while True:
            busy = load_of(prober)
            if busy == 0:
                return True
            if busy is None or time.monotonic() - asked_s >= PROBE_S:
                if self._answers_at_once(prober, header, resolved):
                    return True
                asked_s = time.monotonic()
            if time.monotonic() + POLL_S >= until_s:
                return False
            time.sleep(POLL_S)

    def _answers_at_once(self, prober: Prober, header: Mapping[str, Any], resolved: RunConfig) -> bool:
        if self._usual_s is None:
            return True
        target = resolved.target
        endpoint = registry.load("endpoints", target.endpoint_type)
        known = header.get("preflight") or {}
        facts = Facts(
            model=str(header.get("model", "")),
            max_tokens_field=str(known.get("max_tokens_field") or "max_tokens"),
            ignore_eos=bool(known.get("ignore_eos")),
        )
        began = time.monotonic()
        try:
            check_too(resolved, prober, "/" + (target.endpoint or endpoint.PATH).lstrip("/"), endpoint, facts)
        except ConfigError:
            return True  # it cannot be asked that way: nothing to wait for
        except TargetError:
            return False
        return time.monotonic() - began <= SLOWER * self._usual_s + SLOWER_S


def load_of(prober: Prober) -> float | None:
    """Requests that the server runs and holds back by its own `/metrics`; None where it does not say."""
    try:
        status, body = prober._call("GET", "/metrics", None)
    except (OSError, http.client.HTTPException):
        return None
    return gauged(body.decode("utf-8", "replace")) if status == 200 else None


def gauged(text: str) -> float | None:
    """The sum of the known gauges in a Prometheus text; None where there is none of them."""
    found = []
    for line in text.splitlines():
        named, _, value = line.rpartition("} ") if "{" in line else line.partition(" ")
        if named.partition("{")[0] in GAUGES:
            number = (value.split() or [""])[0]  # a time stamp may follow
            with contextlib.suppress(ValueError):  # a line that says no number says nothing
                found.append(float(number))
    return sum(found) if found else None
