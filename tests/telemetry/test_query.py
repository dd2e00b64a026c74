"""Prometheus's answers, played back: what it stored becomes rows like those that were scraped."""

from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from genbench.errors import ConfigError
from genbench.telemetry import query
from genbench.telemetry.source import Source, Unavailable
from tests.telemetry.exporter import Answer, exporting

ZERO_UNIX_NS = 1_800_000_000_000_000_000
UNIX_S = ZERO_UNIX_NS / 1e9


def series(name: str, values: dict[float, float], instance: str = "gpu1:8000", **labels: str) -> dict[str, object]:
    """One of query_range's; moments in seconds of the run's clock."""
    points = [[UNIX_S + t_s, str(value)] for t_s, value in values.items()]
    return {"metric": {"__name__": name, "instance": instance, **labels}, "values": points}


def matrix(*found: dict[str, object]) -> Answer:
    """What query_range answers with."""
    return Answer(orjson.dumps({"status": "success", "data": {"resultType": "matrix", "result": list(found)}}))


def test_what_it_stored_becomes_rows() -> None:
    answer = matrix(
        series("vllm:num_requests_running", {10: 3, 15: 4}),
        series("vllm:time_to_first_token_seconds_bucket", {10: 1, 15: 5}, le="0.5"),
        series("vllm:time_to_first_token_seconds_bucket", {10: 1, 15: 6}, le="+Inf"),
        series("vllm:time_to_first_token_seconds_count", {10: 1, 15: 6}),
        series("vllm:time_to_first_token_seconds_sum", {10: 0.2, 15: 3.2}),
        series("DCGM_FI_DEV_POWER_USAGE", {10: 300}, "gpu1:9400", UUID="GPU-0"),
    )
    with exporting(lambda k, _: answer) as exporter:
        source = Source(exporter.url + '/?match=job="vllm"', "prometheus", "--prometheus")
        rows = list(query.rows(source, 1, 10 * 10**9, 20 * 10**9, ZERO_UNIX_NS))
        asked = parse_qs(urlsplit(exporter.asked[0][0]).query)
    heads = [row for row in rows if "url" in row]
    assert [(one["source"], one["dialect"], one["role"]) for one in heads] == [
        (1, "vllm", "prometheus"), (2, "dcgm", "prometheus"),
    ]  # fmt: skip
    vllm = [row for row in rows if row["source"] == 1 and "t_ns" in row]
    assert [row["t_ns"] for row in vllm] == [10 * 10**9, 15 * 10**9]
    assert [row["v"]["running"] for row in vllm] == [3, 4]
    assert vllm[1]["h"]["ttft"] == (3.2, 6, (0.5,), (5,))
    assert rows[-1]["g"] == {"GPU-0": {"gpu_power": 300}}
    assert asked["query"][0].endswith(',job="vllm"}')
    assert float(asked["start"][0]) == UNIX_S + 10 - query.BEFORE_S
    assert float(asked["end"][0]) == UNIX_S + 21


def test_a_prometheus_server_is_told_from_others() -> None:
    with exporting(lambda k, _: matrix()) as exporter:
        query.checked(Source(exporter.url, "prometheus", "--prometheus"))
        assert exporter.asked[0][0] == "/api/v1/query?query=1"
    for answer in (Answer(b"<html></html>"), Answer(b"{}"), Answer(b"no", 404), Answer(drop=True)):
        with exporting(lambda k, _, answer=answer: answer) as exporter:  # type: ignore[misc]
            source = Source(exporter.url, "prometheus", "--prometheus")
            with pytest.raises(ConfigError, match=f"^--prometheus {exporter.url}: no Prometheus server there"):
                query.checked(source)
            with pytest.raises(Unavailable):
                list(query.rows(source, 0, 0, 10**9, ZERO_UNIX_NS))


def test_labels_that_are_none() -> None:
    for wrong in ("job=vllm", 'job="a"} or up{', 'job="a",'):
        with pytest.raises(ConfigError, match="labels are matched like"):
            query.checked(Source(f"http://127.0.0.1:1/?match={wrong}", "prometheus", "--prometheus"))
