"""Asks a Prometheus server, after a run, for what it scraped meanwhile: `query_range`, as rows like the scraper's.

Each `instance` there becomes a source. `?match=job="vllm"` at the end of the address keeps series with these labels.
Its clock is the wall clock's, brought onto the run's by the header's zero. What it has not scraped yet is missing: it
usually does so every 15 s. https://prometheus.io/docs/prometheus/latest/querying/api/.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, replace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import orjson

from genbench.errors import ConfigError
from genbench.telemetry import names, prometheus
from genbench.telemetry.source import Line, Source, Unavailable

RANGE, INSTANT = "/api/v1/query_range", "/api/v1/query"
TIMEOUT_S = 10.0
MOST_POINTS = 10_000  # of a series; the server refuses 11,000
LEAST_STEP_S = 0.5
BEFORE_S = 60.0  # before the load, for what was idle
LABEL = r'\s*[a-zA-Z_]\w*\s*(?:=|!=|=~|!~)\s*"[^"\\]*"\s*'
MATCH = re.compile(f"{LABEL}(?:,{LABEL})*")
PREFIXES = sorted(
    {prefix.rstrip("_") for one in (*names.ENGINES, *names.MACHINES) for prefix in one.prefixes} - {"process_resident"}
)
SELECTED = f'__name__=~"({"|".join(PREFIXES)})[_:].*"'  # the unprefixed names of NIM are anybody's


def checked(source: Source) -> None:
    """Raises ConfigError where nobody answers as a Prometheus server does, or its address selects oddly."""
    _selector(source)
    try:
        _ask(source, INSTANT, {"query": "1"})
    except Unavailable as error:
        raise ConfigError(
            f"{source.option} {source.shown}: no Prometheus server there ({error}); give something like "
            "http://localhost:9090"
        ) from error


def rows(source: Source, number: int, begin_ns: int, end_ns: int, zero_unix_ns: int) -> Iterator[dict[str, Any]]:
    """The log's lines for this window (ns of the run's clock), sources numbered from `number`. Raises Unavailable."""
    begin_s, end_s = (begin_ns + zero_unix_ns) / 1e9 - BEFORE_S, (end_ns + zero_unix_ns) / 1e9 + 1
    step_s = max(LEAST_STEP_S, math.ceil((end_s - begin_s) / MOST_POINTS))
    found = _ask(
        source,
        RANGE,
        {"query": _selector(source), "start": f"{begin_s:.3f}", "end": f"{end_s:.3f}", "step": f"{step_s}"},
    )
    by_instance: dict[str, dict[float, list[tuple[str, Mapping[str, str], float]]]] = {}
    for series in found.get("result", ()):
        labels = dict(series["metric"])
        name = str(labels.pop("__name__", ""))
        moments = by_instance.setdefault(str(labels.get("instance", "")), {})
        for moment, value in series["values"]:
            moments.setdefault(float(moment), []).append((name, labels, float(value)))
    for instance, moments in sorted(by_instance.items()):
        yield from _instance(source, number, instance, moments, zero_unix_ns)
        number += 1


def _instance(
    source: Source,
    number: int,
    instance: str,
    moments: Mapping[float, Sequence[tuple[str, Mapping[str, str], float]]],
    zero_unix_ns: int,
) -> Iterator[dict[str, Any]]:
    spoken = prometheus.dialects(name.replace(":", "_") for samples in moments.values() for name, _, _ in samples)
    dialect = ", ".join(dict.fromkeys(one.name for one in spoken))
    yield {"source": number, "url": f"{instance} by {source.shown}", "role": "prometheus", "dialect": dialect}
    for moment, samples in sorted(moments.items()):
        reading = prometheus.translated(prometheus.grouped(samples), spoken)
        yield {
            "source": number,
            "t_ns": round(moment * 1e9) - zero_unix_ns,
            "v": reading.values,
            "h": {key: astuple(one) for key, one in reading.histograms.items()},
            "g": reading.gpus,
        }


def _selector(source: Source) -> str:
    """What is asked for: every name of a known dialect, with the labels that the address names."""
    labels = ",".join(parse_qs(urlsplit(source.url).query).get("match", ()))
    if labels and not MATCH.fullmatch(labels):
        raise ConfigError(
            f'{source.option} {source.shown}: labels are matched like ?match=job="vllm",instance="host:8000"'
        )
    return "{" + ",".join(filter(None, (SELECTED, labels))) + "}"


def _ask(source: Source, path: str, question: Mapping[str, str]) -> Mapping[str, Any]:
    parts = urlsplit(source.url)
    line = Line(replace(source, url=parts._replace(query="").geturl()), TIMEOUT_S)
    try:
        body = line.get(f"{parts.path.rstrip('/')}{path}?{urlencode(question)}")
    finally:
        line.close()
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unavailable("its answer is not JSON") from error
    if not isinstance(told, dict) or told.get("status") != "success" or not isinstance(told.get("data"), dict):
        raise Unavailable("its answer is not Prometheus's")
    return dict(told["data"])
