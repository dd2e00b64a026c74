"""`genbench size` on the command line: its answer and its refusals."""

import json
from pathlib import Path

import pytest

from tests.runs import Runner
from tests.studies.paid_for import RULE, points, sweep_in

DELL = ("--need", "5B:users=64,concurrency=4,mem=12.41", "--need", "20B:users=128,concurrency=16,mem=44.76")
ONE = ("--users", "3", "--concurrency", "1", "--mem", "5")


def test_the_published_example(run: Runner) -> None:
    ran = run("size", *DELL, "--gpu-mem", "80", "--gpus-per-server", "4")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("8 GPUs (80 GB) in 2 servers for 24 instances: 16 x 5B + 8 x 20B\n")
    document = json.loads(run("size", *DELL, "--gpu-mem", "80", "--gpus-per-server", "4", "--json").out)
    keys = ("instances", "gpus_naive", "gpus_packed", "servers")
    assert [document[key] for key in keys] == [{"5B": 16, "20B": 8}, 7, 8, 2]
    assert round(document["total_gb"], 2) == 556.64


@pytest.mark.parametrize("headroom", ["20", "20%"])
def test_headroom(run: Runner, headroom: str) -> None:
    words = (*DELL, "--instance", "R760xa", "--headroom", headroom, "--json")
    document = json.loads(run("size", *words).out)
    assert (document["gpus_naive"], document["gpus_packed"], document["servers"]) == (9, 10, 3)


def test_numbers_with_their_own_unit(run: Runner) -> None:
    words = ("--concurrency", "16", "--gpu-memory", "80GB", "--json")
    plain = json.loads(run("size", "--users", "1000", "--params", "8", *words).out)
    for users, params in (("1,000", "8B"), ("1000", "8 b")):
        found = json.loads(run("size", "--users", users, "--params", params, *words).out)
        assert found["needs"] == plain["needs"]
    named = json.loads(run("size", "--need", "model:users=1,000,params=8B,concurrency=16", *words[2:]).out)
    assert named["needs"] == plain["needs"]
    heavy = json.loads(run("size", "--users", "3", "--concurrency", "1", "--mem", "17GB", *words[2:]).out)
    assert heavy["needs"][0]["memory_gb"] == 17


def test_no_headroom_is_a_headroom(run: Runner) -> None:
    for said in ((), ("--headroom", "0"), ("--headroom", "0%")):
        assert json.loads(run("size", *ONE, "--gpu", "L4", *said, "--json").out)["machine"]["headroom"] == 0


def test_an_instance_is_a_server_with_a_price(run: Runner) -> None:
    ran = run("size", "--users", "200", "--concurrency", "16", "--mem", "17", "--instance", "g6.12xlarge")
    assert ran.out.startswith("13 GPUs (L4) in 4 servers for 13 instances: 13 x model; $13,437 a month\n")  # 4 x 4.6016
    assert "GPUs per server binds: 3 of the 16 GPUs in 4 servers would be idle" in ran.out


def test_a_sweep_says_what_an_instance_takes_and_runs_on(run: Runner, tmp_path: Path) -> None:
    folder = sweep_in(tmp_path / "s", points(RULE), {"instance": "G5.2xlarge"})
    ran = run("size", "--users", "100", "--mem", "17", "--from-sweep", str(folder))
    assert ran.out.startswith(
        "7 GPUs (A10G) in 7 servers for 7 instances: 7 x model; $6,193 a month\n"
    )  # 7 x 1.212 x 730
    assert "concurrency 16 keeps ttft.p95<200ms" in " ".join(ran.out.split())
    other = run("size", "--users", "100", "--mem", "17", "--from-sweep", str(folder), "--gpu", "L4")
    assert "model was measured on A10G: what an instance takes on L4 is another number" in other.out
    named = run(
        "size", "--need", "a:users=100,mem=17", *DELL, "--from-sweep", f"a={folder}", "--gpu", "H100-80", "--json"
    )
    assert json.loads(named.out)["instances"] == {"a": 7, "5B": 16, "20B": 8}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "size needs a GPU; give --gpu (like L4 or H100-80), --gpu-memory (GB) or --instance"),
        (("--gpu", "L4"), "model has no memory; give mem"),
        ((*ONE, "--gpu", "L5"), "--gpu L5: no GPU of that name is known; the nearest are L4"),
        ((*ONE, "--instance", "g6.13xlarge"), "no instance of that name is known; the nearest are g6.12xlarge"),
        ((*ONE, "--gpu-memory", "0"), "--gpu-memory 0: must be a number above zero"),
        ((*ONE, "--gpu", "L4", "--gpus-per-server", "0"), "--gpus-per-server 0: must be a whole number from 1 on"),
        (
            (*ONE, "--gpu", "L4", "--headroom", "0.2"),
            "--headroom 0.2: is that 20% or 0.2%?",
        ),
        ((*ONE, "--gpu", "L4", "--headroom", "100%"), "--headroom 100%: must be a share"),
        ((*ONE, "--gpu", "A100"), "--gpu A100: it comes with several memory sizes; use A100-40 (40 GB) or A100-80"),
        (("--users", "3", "--params", "8M"), "--params 8M: must be a number above zero, in billions of parameters"),
        (("--users", "3", "--mem", "17GiB"), "--mem 17GiB: must be a number above zero, in GB, like 17 or 17GB"),
        ((*ONE, "--gpu", "L4", "--price", "-2"), "--price -2: must be a number above zero"),
        ((*ONE, "--gpu", "L4", "--hours", "0"), "--hours 0: must be a number above zero"),
        ((*ONE, "--gpu", "L4", "--overhead", "-1"), "--overhead -1: must be a number from 0 on"),
        ((*ONE, "--gpu", "L4", "--slo", "ttft.p95<1s"), "--slo ttft.p95<1s is held against a sweep"),
        (("--users", "0", "--gpu", "L4"), "--users 0: must be a number above zero"),
        (("--concurrency", "-1", "--gpu", "L4"), "--concurrency -1: must be a number above zero"),
        (
            ("--users", "4", "--concurrency", "2", "--params", "700", "--gpu", "L4"),
            "and a server has 8; take larger GPUs",
        ),
        ((*DELL, "--users", "3"), "--users and --need both say a load; put it into the --need"),
        ((*DELL, *DELL), "--need 5B is given twice; give each model a name of its own"),
        ((*DELL, "--from-sweep", "x"), "--from-sweep x: of which model? write it like 5B=x"),
        ((*DELL, "--from-sweep", "6B=x"), "--from-sweep 6B=x: there is no --need 6B; use 5B or 20B"),
        ((*ONE, "--from-sweep", "/nowhere"), "--from-sweep /nowhere: neither a sweep nor a capacity search is there"),
    ],
)
def test_a_users_mistakes(run: Runner, words: tuple[str, ...], says: str) -> None:
    ran = run("size", *words)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert says in ran.err
