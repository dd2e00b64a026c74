"""Rows made by hand, or from the expositions in tests/data/metrics, at moments in seconds."""

from collections.abc import Mapping, Sequence

from genbench.telemetry.figures import Client
from genbench.telemetry.log import Scrape, Told
from genbench.telemetry.prometheus import read
from tests.telemetry.exporter import data

URL = "http://server/metrics"


def client(start_s: float = 0.0, end_s: float = 10.0, tokens: float = 2000.0, mean_ms: float = 150.0) -> Client:
    """A window and what the client measured in it."""
    return Client(round(start_s * 1e9), round(end_s * 1e9), {"mean": mean_ms, "p50": mean_ms, "p95": 200.0}, tokens)


def expositions(folder: str, moments: Mapping[float, str], role: str = "server") -> Told:
    """A source that gave the exposition `before` or `after` (or what else there is) at each moment (s)."""
    scrapes, spoken = [], ""
    for t_s, name in moments.items():
        spoken, reading = read(data(folder, name))
        scrapes.append(Scrape(round(t_s * 1e9), reading.values, reading.histograms, reading.gpus))
    return Told(URL, role, spoken, scrapes)


def gauges(key: str, pairs: Sequence[tuple[float, float]], url: str = URL, role: str = "server") -> Told:
    """A source with one word only."""
    return Told(url, role, "vllm", [Scrape(round(t_s * 1e9), {key: value}) for t_s, value in pairs])


def gpu(key: str, pairs: Sequence[tuple[float, float]], name: str = "GPU-0") -> Told:
    """An exporter with one GPU and one word."""
    return Told(URL, "gpu", "dcgm", [Scrape(round(t_s * 1e9), gpus={name: {key: value}}) for t_s, value in pairs])
