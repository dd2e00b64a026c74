"""`genbench size`: needs worked out, what was measured of an instance, what binds, where division is wrong."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from genbench import sizing
from genbench.errors import GenbenchError
from genbench.metrics import slo
from genbench.studies import size, size_words
from genbench.studies.size import Machine
from genbench.studies.size_read import Need, measured, parse
from tests.studies.paid_for import RULE, capacity_in, points, probed, sweep_in

H100 = Machine("H100-80", 80, bandwidth_gbs=3350, per_server=8)
DELL = (parse("5B:users=64,concurrency=4,mem=12.41"), parse("20B:users=128,concurrency=16,mem=44.76"))
LLAMA = {"params": 8.0, "layers": 32, "kv_heads": 8, "head_dim": 128, "tokens": 4096}


def sized(*needs: Need, machine: Machine = H100, rule: str = "engine", overhead_gb: float = 2.0) -> dict[str, Any]:
    return size.size(needs, machine, rule=rule, overhead_gb=overhead_gb, command="genbench size")


def need(**said: Any) -> Need:
    return Need(**{"name": "m", "users": 16.0, "concurrency": 4.0, **said})


def binds(document: dict[str, Any]) -> list[str]:
    return [one["what"] for one in document["binds"]]


def test_the_dell_example_line_by_line() -> None:
    """64/4 and 128/16 instances, 556.64 GB, 8 GPUs though 6.958 would hold as many GB, 2 servers of 4."""
    document = sized(*DELL, machine=Machine("H100-80", 80, per_server=4, price_per_hour=10.0, price_from="--price"))
    assert document["instances"] == {"5B": 16, "20B": 8}
    assert round(document["total_gb"], 2) == 556.64
    assert (document["gpus_naive"], document["gpus_packed"], document["servers"]) == (7, 8, 2)
    assert document["usd_per_month"] == 2 * 10 * 730
    assert binds(document) == ["memory"]
    said = size_words.screen(document)
    assert said.startswith("8 GPUs (H100-80) in 2 servers for 24 instances: 16 x 5B + 8 x 20B; $14,600 a month\n")
    for line in (
        "a GPU with 1 x 20B + 2 x 5B has 10.42 GB left, and the smallest instance needs 12.41",
        "plain division is wrong here: 556.64 GB / 80 GB = 6.958, so 7 GPUs, but instances do not split:",
        "64 users / 4 at a time = 16, rounded up: 16",
        "16 x 12.41 + 8 x 44.76 = 556.64 GB",
        "8 GPUs with 1 x 20B + 2 x 5B: 69.58 of 80 GB",
        "556.64 of 640 GB, 87.0 %",
        "2 x $10 x 730 h = $14,600 (--price)",
    ):
        assert line in said
    assert max(map(len, said.splitlines())) <= 100


def test_plain_division_is_said_to_be_wrong_only_where_it_is() -> None:
    assert any("plain division" in text for text in sized(*DELL)["warnings"])
    ninety = Machine("H100-80", 80, headroom=0.1)
    assert not any("plain division" in text for text in sized(*DELL, machine=ninety)["warnings"])


def test_instances_that_share_a_gpu_are_a_caveat() -> None:
    together = sized(need(mem=10.0))
    assert together["gpus_packed"] == 1
    assert any("they slow each other down" in text for text in together["warnings"])
    apart = sized(need(mem=10.0, share=1))
    assert apart["gpus_packed"] == 4
    assert not any("slow each other" in text for text in apart["warnings"])
    assert any("an instance has its GPU for itself" in text for text in apart["warnings"])


def test_users_and_rate_together_take_the_larger() -> None:
    """40 users / 4 = 10 instances; 30 req/s / 2 = 15."""
    document = sized(need(mem=10.0, users=40.0, rate=30.0, capacity=2.0))
    assert document["instances"] == {"m": 15}
    assert document["needs"][0]["instances_from"] == "30 req/s / 2 req/s = 15"
    assert sized(need(mem=10.0, users=80.0, rate=30.0, capacity=2.0))["instances"] == {"m": 20}


def test_memory_from_parameters() -> None:
    """8 billion x 2 bytes + 2 GB; the cache: 4 sequences x 4096 tokens x 131,072 bytes = 2.147 GB; Dell: 2.1 x 8."""
    bare = sized(need(params=8.0))
    assert bare["needs"][0]["memory_gb"] == 18
    assert any("no room for the cache" in text for text in bare["warnings"])
    whole = sized(need(**LLAMA))
    assert whole["needs"][0]["memory_gb"] == pytest.approx(18 + 4 * 4096 * 131072 / 1e9)
    assert not any("no room for the cache" in text for text in whole["warnings"])
    assert sized(need(params=8.0, dtype="fp8"), overhead_gb=1)["needs"][0]["memory_gb"] == 9
    assert sized(need(params=8.0), rule="dell")["needs"][0]["memory_gb"] == pytest.approx(16.8)


def test_a_large_model_gets_a_power_of_two_of_gpus() -> None:
    """70B: 140 + 2 GB are on 2 x 80, on 4 x 64; 3 would hold it, but a model is split over powers of two."""
    two = sized(need(params=70.0))
    assert (two["needs"][0]["gpus"], two["gpus_packed"]) == (2, 8)
    assert binds(two) == ["memory"]
    four = sized(need(params=70.0), machine=Machine("H100-80", 80, headroom=0.2))
    assert (four["needs"][0]["gpus"], four["gpus_packed"], four["servers"]) == (4, 16, 2)
    assert any("an instance of several GPUs has them for itself" in text for text in four["warnings"])


def test_memory_may_hold_fewer_sequences_than_the_promise_allows() -> None:
    """One GPU: (80 - 18) GB / (4096 x 131,072 bytes) = 115.5 sequences, the promise allows 500: 115 it is."""
    document = sized(need(users=1000.0, concurrency=500.0, gpus=1, **LLAMA))
    assert document["instances"] == {"m": 9}  # 1000 / 115
    assert binds(document)[-1] == "memory"
    assert "memory holds 115 sequences of m, the promise allows 500" in document["binds"][-1]["why"]
    rate = sized(need(users=None, rate=100.0, capacity=50.0, concurrency=500.0, gpus=1, **LLAMA))
    assert rate["instances"] == {"m": 9}  # 100 / (50 x 115/500)


def test_gpus_of_a_server_with_nothing_to_do() -> None:
    document = sized(need(mem=60.0, users=20.0, share=1))
    assert (document["gpus_packed"], document["servers"], document["gpus_in_servers"]) == (5, 1, 8)
    assert binds(document) == ["GPUs per server", "compute"]
    assert document["binds"][0]["why"] == "3 of the 8 GPUs in 1 server would be idle"


def test_decode_floor_bounds_a_measured_tpot_and_a_promise() -> None:
    """7B in 16 bits on an H100: 14 / 3350 = 4.18 ms."""
    fine = sized(need(params=7.0, tpot=8.36))
    assert fine["needs"][0]["decode_floor_ms"] == pytest.approx(4.179, abs=1e-3)
    assert fine["needs"][0]["tpot_over_floor"] == pytest.approx(2.0, abs=1e-2)
    wrong = sized(need(params=7.0, tpot=3.0))
    assert any("a measured TPOT of 3 ms is below the 4.179 ms" in text for text in wrong["warnings"])
    assert not any("measured TPOT" in text for text in sized(need(params=7.0, active=1.0, tpot=3.0))["warnings"])
    hopeless = sized(need(params=7.0, rules=(slo.parse("tpot.p95<4ms"),)))
    assert any("tpot.p95<4ms cannot be kept on H100-80" in text for text in hopeless["warnings"])


# -- measured ----------------------------------------------------------------------------------------------------------


def test_a_sweep_by_concurrency_says_what_an_instance_takes(tmp_path: Path) -> None:
    """Up to 16 in flight TTFT p95 is at most 14 ms; at 16 it is 16/11.6 x 1000/100 = 13.79 req/s."""
    folder = sweep_in(tmp_path / "s", points(RULE), {"gpu": "A10G", "instance": "g5.2xlarge"}, gpus=1)
    found = measured(Need(name="m", users=100.0), folder, ())
    assert (found.name, found.users, found.concurrency, found.share, found.gpus) == ("m", 100.0, 16, 1, 1)
    assert found.capacity == pytest.approx(1000 / 11.6 * 16 / 100)
    assert "concurrency 16 keeps ttft.p95<200ms (ttft.p95 13.92 ms), 32 does not (ttft.p95 1,406 ms)" in found.source
    document = sized(measured(need(mem=10.0, users=100.0, concurrency=None), folder, ()), machine=Machine("L4", 24))
    assert document["instances"] == {"m": 7}
    assert any("m was measured on A10G" in text for text in document["warnings"])


def test_a_rule_given_now_is_held_against_the_sweep(tmp_path: Path) -> None:
    """Request latency p95 is 1.2 x 100 steps of 10.1 ms at 1, 10.8 at 8: 1,296 ms."""
    folder = sweep_in(tmp_path / "s", points(RULE))
    found = measured(need(concurrency=None), folder, ("request_latency.p95<=1296ms",))
    assert found.concurrency == 8
    found = measured(need(concurrency=None), folder, ("request_throughput>0.5", "ttft.p95<99s", "error_rate<1%"))
    assert found.concurrency == 64
    assert found.source.endswith("the highest load of the sweep: more may be possible")


def test_what_is_said_stays_what_was_measured_fills_in(tmp_path: Path) -> None:
    folder = sweep_in(tmp_path / "s", points(RULE))
    found = measured(need(concurrency=5.0, share=3, mem=7.0), folder, ())
    assert (found.concurrency, found.share, found.mem) == (5.0, 3, 7.0)


def test_a_level_that_was_saturated_keeps_nothing(tmp_path: Path) -> None:
    found = points(RULE)
    found[2]["saturated"] = "the number in flight grew"
    at = measured(need(concurrency=None), sweep_in(tmp_path / "s", found), ())
    assert at.concurrency == 2
    assert "4 does not (its queue grew without bound)" in at.source


def test_a_sweep_by_rate(tmp_path: Path) -> None:
    """At 8 req/s with 1,080 ms each, 8.64 are in flight: an instance takes 8 users."""
    found = [one | {"by": "request_rate"} for one in points(RULE)[:4]]
    for one in found:
        one["run"]["concurrency_mean"]["value"] = 8.64
    at = measured(Need(name="m"), sweep_in(tmp_path / "s", found), ())
    assert (at.capacity, at.concurrency) == (8, 8)


def test_a_capacity_search(tmp_path: Path) -> None:
    at = measured(Need(name="m"), capacity_in(tmp_path / "c"), ())
    assert (at.capacity, at.concurrency) == (12.0, 8)
    assert "12 req/s (95 % CI 11.00-13.00) keeps ttft.p95<200ms" in at.source
    by = measured(Need(name="m"), capacity_in(tmp_path / "n", "concurrency"), ())
    assert by.concurrency == 12
    assert by.capacity == pytest.approx(8000 / 10.8 / 100)


def searched(folder: Path, **answer: Any) -> Path:
    """A search that holds 46.6 req/s, 7.4 in flight on average: probes at 23.3 and 46.6, no confirmation."""
    capacity_in(folder, answer=46.6, probes=[probed(23.3), probed(46.6)])
    found = json.loads((folder / "capacity.json").read_text())
    found["answer"] |= {"ci95": [23.3, 93.2], "confirmed": None, "wide": True, "fitted": False, **answer}
    (folder / "capacity.json").write_text(json.dumps(found))
    return folder


def test_the_lower_end_of_a_search_that_was_not_confirmed(tmp_path: Path) -> None:
    """400 / 46.6 = 8.6 instances, 400 / 23.3 = 17.2; servers of 4 at $1 for 730 hours."""
    machine = Machine("L4", 24, per_server=4, price_per_hour=1.0)
    rate = need(mem=17.0, users=None, concurrency=None, rate=400.0)
    document = sized(measured(rate, searched(tmp_path / "c"), ()), machine=machine)
    assert (document["instances"], document["servers"]) == ({"m": 9}, 3)
    assert document["lower"] == {
        "at": {"m": "23.3 req/s"}, "instances": {"m": 18}, "gpus_packed": 18, "servers": 5, "usd_per_month": 3650,
    }  # fmt: skip
    assert document["sentences"][0] == (
        "9 GPUs (L4) in 3 servers for 9 instances: 9 x m; $2,190 a month; the search was not confirmed; at the lower"
        " end of its interval, 23.3 req/s: 18 instances, 18 GPUs in 5 servers, $3,650 a month"
    )
    assert "46.6 req/s (23.30 for sure, 93.20 is too much) keeps" in document["needs"][0]["source"]
    two = sized(measured(rate, tmp_path / "c", ()), need(name="n", mem=10.0), machine=machine)
    assert (
        "; m: the search was not confirmed; at the lower ends of the intervals, m 23.3 req/s: 2" in two["sentences"][0]
    )


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"confirmed": False}, "; the search was not confirmed: the confirmation did not keep the promises; at the"),
        ({"confirmed": True}, "; the search ended with a wider interval than was asked for; at the lower end"),
        ({"confirmed": None, "ci95": [46.6, None]}, "9 x m; the search was not confirmed"),
        ({"confirmed": True, "wide": False}, "9 x m; at the lower end of its interval, 23.3 req/s: 18 instances"),
        ({"confirmed": True, "wide": False, "ci95": [46.0, 47.0]}, "9 x m"),
    ],
)
def test_how_sure_a_search_is(tmp_path: Path, answer: dict[str, Any], says: str) -> None:
    rate = need(mem=70.0, users=None, concurrency=None, rate=400.0)
    (first, *_) = sized(measured(rate, searched(tmp_path / "c", **answer), ()))["sentences"]
    assert says in first
    assert first.endswith(says) or says.endswith(("at the", "end", "instances"))


def test_a_search_whose_figure_is_not_used_raises_no_doubt(tmp_path: Path) -> None:
    folder = searched(tmp_path / "c")
    said = measured(need(mem=17.0, users=None, rate=400.0, capacity=50.0), folder, ())
    assert (said.capacity, said.doubt, said.least) == (50.0, "", None)


def test_what_an_instance_takes_below_the_nearest_probe_is_in_proportion(tmp_path: Path) -> None:
    """Half of the load that was probed has half of its requests in flight."""
    capacity_in(tmp_path / "c", probes=[probed(12.0)])
    flying = points()[3]["run"]["concurrency_mean"]["value"]
    found = measured(Need(name="m", users=100.0), tmp_path / "c", ())
    assert found.least is not None
    assert (found.concurrency, found.least.concurrency) == (flying, math.floor(flying * 11 / 12))


def test_one_is_singular() -> None:
    """Two of 10 GB would be on one GPU of 24 GB by division."""
    document = sized(need(mem=10.0, users=1.0, concurrency=1.0, share=1), need(name="n", mem=10.0, users=1.0,
                     concurrency=1.0, share=1), machine=Machine("L4", 24, per_server=1))  # fmt: skip
    said = size_words.screen(document)
    for line in ("so 1 GPU, but", "1 user / 1 at a time", "1 GPU at the least"):
        assert line in " ".join(said.split())
    one = {**LLAMA, "users": 1.0, "concurrency": 1.0}
    said += size_words.screen(sized(need(**one), machine=Machine("H100-80", 80, per_server=1, assumed=True)))
    flat = " ".join(said.split())
    assert " 1 sequence x" in flat
    assert "- 1 GPU in a server is assumed" in flat
    for plural in ("GPUs", "users", "servers", "instances", "sequences"):
        assert f" 1 {plural}" not in flat


def test_folders_that_say_nothing(tmp_path: Path) -> None:
    late = points("ttft.p95<1ms", bound=1.0)
    two = [one | {"group": group} for group in ("100:100", "200:50") for one in points(RULE)]
    for folder, rules, says in (
        (tmp_path / "nothing", (), "neither a sweep nor a capacity search is there"),
        (sweep_in(tmp_path / "mute", points()), (), "the sweep has no promises; give --slo"),
        (
            sweep_in(tmp_path / "late", late),
            (),
            r"no load keeps the promises, at concurrency 1 ttft.p95 12.12 ms; more",
        ),
        (sweep_in(tmp_path / "two", two), (), r"it has 2 curves \(100:100, 200:50\); sweep one of them"),
        (sweep_in(tmp_path / "typo", points()), ("tftf.p95<1s",), "unknown metric 'tftf'"),
        (capacity_in(tmp_path / "c"), ("ttft.p95<1s",), "is a capacity search, which has its promises"),
        (
            capacity_in(tmp_path / "h", answer=None),
            (),
            "even one request at a time misses it; more instances do not help",
        ),
    ):
        with pytest.raises(GenbenchError, match=says):
            measured(Need(name="m"), folder, rules)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"mem": None}, "m has no memory; give mem"),
        ({"mem": 1.0, "users": None}, "m has no load; give users"),
        ({"mem": 1.0, "concurrency": None}, "m has users, but no concurrency of an instance"),
        ({"mem": 1.0, "users": None, "rate": 3.0}, r"m has a rate, but no capacity \(req/s\) of an instance"),
        ({"params": 8.0, "layers": 32}, "the cache needs kv-heads, head-dim, tokens as well, or give mem"),
        ({"concurrency": None, "users": None, "rate": 1.0, "capacity": 1.0, **LLAMA}, "the cache grows with"),
        ({"mem": 200.0, "gpus": 1}, "m needs 200 GB, and 1 x 80 GB are usable; give it gpus=4"),
        ({"mem": 2000.0}, "m needs 32 GPUs in one server, and a server has 8; take larger GPUs"),
        ({"mem": 2000.0, "gpus": 8}, "m needs 250 GB on each of 8 GPUs, and 80 GB are usable there"),
    ],
)  # fmt: skip
def test_what_cannot_be_sized(said: dict[str, Any], says: str) -> None:
    with pytest.raises(GenbenchError, match=says):
        sized(need(**said))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("5B", "write it like 5B:users=64,concurrency=4,mem=12.41"),
        (":users=3", "write it like"),
        ("x:", "write it like"),
        ("x:usrs=3", "usrs: there is no such key; use users, rate"),
        ("x:users=0", "users 0: must be a number above zero"),
        ("x:users=-3", "users -3: must be a number above zero"),
        ("x:mem=much", "mem much: must be a number above zero"),
        ("x:gpus=1.5", "gpus 1.5: must be a whole number from 1 on"),
        ("x:params=8,dtype=bf17", "dtype bf17: must be one of fp32"),
    ],
)
def test_needs_that_cannot_be_read(text: str, says: str) -> None:
    with pytest.raises(GenbenchError, match=says):
        parse(text)


def test_months_have_730_hours() -> None:
    assert sizing.MONTH_H == 365 * 24 / 12
