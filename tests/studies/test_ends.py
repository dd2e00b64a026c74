"""What ends a request or the run before its time: time-outs of the user's, too many failures, --strict."""

from typing import Any

import pytest

from tests.runs import Ran, Runner
from tests.simulator.process import Simulator

SMALL = ("--isl", "20", "--osl", "6", "--warmup", "0", "-q")


def simulate(**script: Any) -> tuple[str, str]:
    return "--extra", "simulate=" + str({"ttft_ms": 5, "itl_ms": 1} | script).replace("'", '"')


def outcomes(ran: Ran) -> dict[str, int]:
    found: dict[str, int] = ran.summary["outcomes"]
    return found


def test_no_token_in_time(run: Runner, simulator: Simulator) -> None:
    slow = simulate(ttft_ms=700)
    ran = run("profile", "--url", simulator.url, *SMALL, *slow, "-c", "3", "-n", "6", "--timeout-first-token", "150ms")
    assert ran.code == 1
    assert outcomes(ran) == {"ok": 0, "timeout_first_token": 6}
    assert ran.summary["outcome_examples"]["timeout_first_token"] == "no token within 0.15 s"
    waits = [(record["end_ns"] - record["sent_ns"]) / 1e6 for record in ran.records]
    assert min(waits) >= 150
    assert ran.summary["verdict"] == "INVALID"


def test_a_first_token_in_time_is_all_that_is_asked(run: Runner, simulator: Simulator) -> None:
    """The answer takes 3 times the limit: its tokens keep coming."""
    slow = simulate(ttft_ms=20, itl_ms=60)
    ran = run("profile", "--url", simulator.url, *SMALL, *slow, "-c", "3", "-n", "6", "--timeout-first-token", "100ms")
    assert outcomes(ran) == {"ok": 6}


def test_no_end_in_time(run: Runner, simulator: Simulator) -> None:
    """Tokens at 20, 80, 140, ... ms: two or three of them stay in the record."""
    slow = simulate(ttft_ms=20, itl_ms=60)
    ran = run("profile", "--url", simulator.url, *SMALL, *slow, "-c", "3", "-n", "6", "--timeout-total", "170ms")
    assert outcomes(ran) == {"ok": 0, "timeout_total": 6}
    for record in ran.records:
        assert (record["end_ns"] - record["start_ns"]) / 1e6 >= 170
        assert 2 <= record["event_kind"].count(3) <= 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--timeout-first-token", "1", "--no-stream"), "--timeout-first-token needs a stream; use --timeout-total"),
        (("--timeout-first-token", "1", "--endpoint-type", "embeddings"), "needs a stream"),
        (("--timeout-total", "0"), "--timeout-total 0: must be above 0 s"),
        (("--stop-after-errors", "some"), "--stop-after-errors some: must be a number of requests like 20 or a share"),
        (("--stop-after-errors", "0"), "must be a number"),
        (("--stop-after-errors", "101%"), "must be a number"),
        (("--transport", "curl"), "--transport curl: must be wire or aiohttp or openai"),
    ],
)
def test_a_users_mistakes(run: Runner, arguments: tuple[str, ...], says: str) -> None:
    ran = run("profile", "--url", "http://127.0.0.1:9", *arguments)
    assert ran.code == 2
    assert says in ran.err
    assert ran.err.count("\n") == 1


def test_the_run_stops_after_so_many_errors(run: Runner, start_simulator: Any) -> None:
    flaky = start_simulator("--ttft", "2ms", "--itl", "1ms", "--fault", "status:500", "--fault-share", "0.5")
    ran = run("profile", "--url", flaky.url, *SMALL, "-n", "500", "-c", "4", "--stop-after-errors", "5")
    assert ran.code == 1
    failed = outcomes(ran)["http_error"]
    assert 5 <= failed < 125  # those in flight, and what ended before the fifth was decoded: more on a busy machine
    assert sum(outcomes(ran).values()) < 250  # half of those that were asked for
    assert ran.header["interrupted"] is False
    assert "requests had failed" in ran.header["stopped_early"]
    assert any("stopped early" in note and "--stop-after-errors" in note for note in ran.summary["notes"])


def test_the_run_stops_at_a_share_of_errors_once_it_means_something(run: Runner, start_simulator: Any) -> None:
    flaky = start_simulator("--ttft", "2ms", "--itl", "1ms", "--fault", "status:500", "--fault-share", "0.25")
    ran = run("profile", "--url", flaky.url, *SMALL, "-n", "500", "-c", "4", "--stop-after-errors", "20%")
    assert ran.code == 1
    assert 20 <= sum(outcomes(ran).values()) <= 60
    again = start_simulator("--ttft", "2ms", "--itl", "1ms", "--fault", "status:500", "--fault-share", "0.25")
    held = run("profile", "--url", again.url, *SMALL, "-n", "40", "-c", "4", "--stop-after-errors", "50%")
    assert held.code == 0
    assert sum(outcomes(held).values()) == 40
    assert held.header["stopped_early"] == ""


def test_strict_turns_invalid_into_exit_code_4(run: Runner, start_simulator: Any) -> None:
    def every_fourth_fails(*more: str) -> Ran:
        # A server for each: which requests fail is counted from its start, and the preflight must not be one of them.
        flaky = start_simulator("--ttft", "2ms", "--itl", "1ms", "--fault", "status:500", "--fault-share", "0.25")
        return run("profile", "--url", flaky.url, *SMALL, "-n", "20", "-c", "2", *more)

    assert every_fourth_fails().code == 0
    strict = every_fourth_fails("--strict")
    assert strict.code == 4
    assert "verdict INVALID" in strict.out
    assert "INVALID: 25 % of the requests failed" in strict.out
    good = start_simulator("--ttft", "2ms", "--itl", "1ms")
    assert run("profile", "--url", good.url, *SMALL, "-n", "20", "-c", "2", "--strict").code == 0


def test_health_is_in_every_run(run: Runner, simulator: Simulator) -> None:
    ran = run("profile", "--url", simulator.url, *SMALL, *simulate(), "-n", "40", "-c", "2")
    health = ran.header["health"]
    assert health["loop_lag_ns"]["count"] >= 3
    assert 0 <= health["loop_lag_ns"]["p50"] <= health["loop_lag_ns"]["p99"] <= health["loop_lag_ns"]["max"]
    assert health["cpu_pct"] > 0
    assert health["cpu_s"] > 0
    assert health["peak_rss_bytes"] > 1 << 20
    assert health["gc_collections"] == 0
    assert health["connection_waits"] == 0
    series = health["series"]
    assert {len(column) for column in series.values()} == {len(series["t_ns"])}
    assert len(series["t_ns"]) >= 1
