"""`genbench cost` on the command line: its answer, its files, its refusals, and the hardware that a run carries."""

import json
from pathlib import Path

import pytest

from tests.runs import Runner
from tests.studies.paid_for import EXAMPLE, RULE, points, run_in, sweep_in

GIVEN = ("--price", "1.212", "--throughput", "161.3")


def test_from_options(run: Runner) -> None:
    ran = run("cost", *GIVEN)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(
        "$2.0872 per million output tokens, 103.3 minutes for them, 479,109 tokens for a dollar\n"
    )


def test_as_json(run: Runner) -> None:
    row = json.loads(run("cost", *GIVEN, "--gpus", "2", "--json").out)["rows"][0]
    keys = ("usd_per_1m_output", "minutes_per_1m", "tokens_per_usd", "usd_per_gpu_hour")
    assert [round(row[key], 3) for key in keys] == [2.087, 103.327, 479108.911, 0.606]


def test_numbers_as_they_are_printed(run: Runner) -> None:
    plain = json.loads(run("cost", "--price", "1.5", "--throughput", "1800", "--json").out)["rows"]
    assert json.loads(run("cost", "--price", "$1.5", "--throughput", "1,800", "--json").out)["rows"] == plain
    row = json.loads(run("cost", "--row", "x:throughput=1,800,price=1.5", "--json").out)["rows"][0]
    assert row["usd_per_1m_output"] == plain[0]["usd_per_1m_output"]


def test_a_gpu_that_comes_in_one_size_needs_none_in_its_name(run: Runner, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("gpus: {RTX-32: {memory: 32}}\n")
    found = json.loads(run("cost", *GIVEN, "--gpu", "rtx", "--hardware", str(mine), "--json").out)
    assert found["rows"][0]["gpu"] == "RTX-32"


def test_the_published_table_with_its_slip(run: Runner) -> None:
    rows = [
        ("7b", "g5.2xlarge", "1.21", "161.30"), ("7b-4", "g5.12xlarge", "5.67", "336.96"),
        ("13b-4", "g5.12xlarge", "5.67", "203.24"), ("13b-8", "g5.48xlarge", "8.14", "224.55"),
        ("70b-8", "g5.48xlarge", "8.14", "62.65"), ("70b-p4d", "p4d.24xlarge", "32.77", "155.18"),
    ]  # fmt: skip
    words = [word for name, instance, price, tps in rows
             for word in ("--row", f"{name}:instance={instance},price={price},throughput={tps}")]  # fmt: skip
    ran = run("cost", *words)
    assert ran.code == 0
    said = " ".join(ran.out.split())
    assert (
        "check: 13b-8, 70b-8: $8.14 per hour is not the list price of g5.48xlarge (8 x A10G), $16.288; that is the"
        in said
    )
    for line in ("7b 1 1.2100 161.3 2.0838 103.33 479,901 1.2100 161.3 1.0000",
                 "70b-8 8 8.1400 62.65 36.09 266.03 27,708 1.0175 7.831 0.0577",
                 "70b-p4d 8 32.77 155.2 58.66 107.40 17,048 4.0963 19.40 0.0355"):  # fmt: skip
        assert line in said
    assert max(map(len, ran.out.splitlines())) <= 100


def test_a_sweep_gets_its_files(run: Runner, tmp_path: Path) -> None:
    folder = sweep_in(tmp_path / "s", points(RULE), {"price_per_hour": 3.6})
    ran = run("cost", str(folder))
    assert ran.code == 0
    assert ran.out.startswith(
        "cheapest that keeps every promise: s at concurrency 16, $0.7250 per million output tokens"
    )
    assert ran.out.endswith(f"files: {folder}/\n")
    assert len(json.loads((folder / "cost.json").read_text())["rows"]) == 7
    assert (folder / "plots" / "cost_by_latency.png").exists()


def test_without_plots_and_elsewhere(run: Runner, tmp_path: Path) -> None:
    folder = sweep_in(tmp_path / "s", points(RULE))
    ran = run("cost", f"s={folder}", "--price", "s=2", "--out", str(tmp_path / "out"), "--no-plots", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out) == json.loads((tmp_path / "out" / "cost.json").read_text())
    assert sorted(path.name for path in folder.iterdir()) == ["sweep.json"]
    assert not (tmp_path / "out" / "plots").exists()


def test_a_run_writes_nothing(run: Runner, tmp_path: Path) -> None:
    folder = run_in(tmp_path / "r", {"price_per_hour": 2.0, "gpu_count": 1})
    before = sorted(path.name for path in folder.iterdir())
    assert run("cost", str(folder), "--ratio", "3").code == 0
    assert sorted(path.name for path in folder.iterdir()) == before


def test_hardware_of_ones_own(run: Runner, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("gpus: {RTX: {memory: 32}}\ninstances: {desk: {gpu: RTX, gpus: 2, price: 0.5}}\n")
    row = json.loads(run("cost", "--throughput", "100", "--instance", "desk", "--hardware", str(mine), "--json").out)
    assert (row["rows"][0]["price_per_hour"], row["rows"][0]["gpu"], row["rows"][0]["gpus"]) == (0.5, "RTX", 2)
    assert run("cost", "--throughput", "100", "--instance", "g5.2xlarge", "--hardware", str(mine)).code == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gpus: [", "is not YAML"),
        ("1", "must have `gpus:` and `instances:`"),
        ("cars: {}", "must have `gpus:` and `instances:`"),
        ("gpus: {RTX: 3}", "gpus must be 'NAME: {...}' lines"),
        ("gpus: {RTX: {speed: 3}}", "RTX has speed, and a line of gpus has bandwidth, date"),
        ("gpus: {RTX: {bandwidth: 3}}", "RTX has no memory; give it in GB"),
        ("gpus: {RTX: {memory: -1}}", "memory of RTX is -1; it must be a number above zero"),
        ("instances: {desk: {gpu: RTX, gpus: 1}}", "desk has the GPU RTX, which is not among the gpus"),
        ("instances: {desk: {gpu: L4, gpus: 0}}", "gpus of desk is 0; it must be a whole number from 1 on"),
        ("instances: {desk: {gpu: L4, gpus: 1, price: 0}}", "price of desk is 0; it must be a number above zero"),
    ],
)
def test_a_hardware_file_that_is_wrong(run: Runner, tmp_path: Path, text: str, says: str) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(text)
    ran = run("cost", *GIVEN, "--hardware", str(mine))
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert says in ran.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "cost needs a throughput: give --throughput (token/s) with --price, or a RUN"),
        (("--price", "1"), "cost needs a throughput"),
        (("--throughput", "5"), "the throughput has no price; give --price (dollars per hour) or --instance"),
        (("--price", "0", "--throughput", "5"), "--price 0: must be a number above zero"),
        (("--price", "-1", "--throughput", "5"), "--price -1: must be a number above zero"),
        (("--price", "cheap", "--throughput", "5"), "--price cheap: must be a number above zero"),
        (("--price", "a=1", "--price", "a=2", str(EXAMPLE)), "--price a=2: given twice for a; give it once"),
        (("--price", "inf", "--throughput", "5"), "--price inf: must be a number above zero"),
        (("--price", "1", "--throughput", "0"), "--throughput 0: must be a number above zero"),
        (("--price", "1.2/h", "--throughput", "5"), "--price 1.2/h: must be a number above zero, in dollars per hour"),
        (
            ("--price", "1", "--throughput", "1,8"),
            "--throughput 1,8: must be a number above zero, in tokens per second",
        ),
        (
            (*GIVEN, "--instance", "g5.3xlarge"),
            "--instance g5.3xlarge: no instance of that name is known; the nearest are g5.xlarge",
        ),
        ((*GIVEN, "--instance", "nosuch"), "--instance nosuch: no instance of that name is known"),
        ((*GIVEN, "--gpu", "H100"), "it comes with several memory sizes; use H100-80 (80 GB) or H100-NVL (94 GB)"),
        (("--price", "1", "--throughput", "5", str(EXAMPLE)), "--throughput is for a price alone"),
        ((*GIVEN, "--gpus", "0"), "--gpus 0: must be a whole number from 1 on"),
        ((*GIVEN, "--ratio", "0"), "--ratio 0: must be a number above zero"),
        ((*GIVEN, "--gpu", "H1000"), "--gpu H1000: no GPU of that name is known; the nearest are H100-80"),
        (
            ("--throughput", "5", "--instance", "g5.3xlarge"),
            "no instance of that name is known; the nearest are g5.xlarge",
        ),
        (
            (*GIVEN, "--hardware", "/nowhere.yaml"),
            "--hardware /nowhere.yaml: no such file or directory; check the path",
        ),
        (("--row", "7b"), "--row 7b: write it like 7b:price=1.21,throughput=161.3"),
        (("--row", "7b:prize=3"), "--row 7b:prize=3: there is no prize; it takes price, throughput"),
        (("--row", "7b:price=3,throughput=0"), "--row 7b: throughput 0: must be a number above zero"),
        (("--row", "7b:price=3,throughput=1,gpus=x"), "--row 7b: gpus x: must be a whole number from 1 on"),
        (("/nowhere",), "/nowhere is no folder of a run, a sweep or a capacity search"),
        ((str(EXAMPLE),), "SIMULATED-demo has no price; give --price"),
    ],
)
def test_a_users_mistakes(run: Runner, words: tuple[str, ...], says: str) -> None:
    ran = run("cost", *words)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert says in ran.err


def test_out_is_a_file(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is a file; name a folder" in run("cost", *GIVEN, "--out", str(tmp_path / "file")).err


# -- what a run carries ------------------------------------------------------------------------------------------------

ABOUT = (
    "--metadata", "team=search", "--metadata", "api_token=hunter22", "--metadata", "repo=https://me:hunter22@git/x",
    "--instance", "g5.12xlarge", "--gpu", "A10G", "--gpu-count", "4", "--gpu-memory", "24", "--tensor-parallel", "4",
    "--price-per-hour", "5.672",
)  # fmt: skip


def test_metadata_and_hardware_go_with_a_run_and_secrets_do_not(run: Runner) -> None:
    ran = run("profile", *ABOUT, "-n", "3", "-c", "3", "--osl", "3", "-q")
    assert ran.code == 0, ran.err
    assert ran.header["metadata"] == {"team": "search", "api_token": "***", "repo": "https://***@git/x"}
    hardware = {"instance": "g5.12xlarge", "gpu": "A10G", "gpu_count": 4, "gpu_memory_gb": 24.0, "tensor_parallel": 4,
                "price_per_hour": 5.672}  # fmt: skip
    assert ran.header["hardware"] == hardware
    assert ran.summary["hardware"] == hardware
    assert ran.summary["metadata"]["team"] == "search"
    for shown in (ran.out, (ran.folder / "summary.md").read_text()):
        assert "hardware: g5.12xlarge, 4 x A10G, 24 GB each, tensor parallel 4, $5.672 per hour\n" in shown
        assert "metadata: team=search, api_token=***, repo=https://***@git/x\n" in shown
    assert "--metadata team=search" in ran.header["command"]
    assert "--price-per-hour 5.672" in ran.header["command"]
    assert run("report", str(ran.folder), "--export", "vllm").code == 0
    exported = json.loads((ran.folder / "vllm" / "vllm.json").read_text())
    assert (exported["team"], exported["max_concurrency"]) == ("search", 3)
    for path in ran.folder.rglob("*"):
        assert path.is_dir() or b"hunter22" not in path.read_bytes(), path
    costed = run("cost", str(ran.folder), "--json")
    assert json.loads(costed.out)["rows"][0]["price_per_hour"] == 5.672


def test_a_block_in_a_profile(run: Runner, tmp_path: Path) -> None:
    profile = tmp_path / "mine.yaml"
    profile.write_text("metadata:\n  team: search\n  build: 412\ngpu: L4\ngpu-count: 2\nprice-per-hour: 1.6\n")
    ran = run("profile", "--config", str(profile), "-n", "2", "-c", "2", "--osl", "2", "-q", "--json")
    assert ran.code == 0, ran.err
    assert ran.header["metadata"] == {"team": "search", "build": "412"}
    assert ran.header["hardware"] == {"gpu": "L4", "gpu_count": 2, "price_per_hour": 1.6}
    assert json.loads(ran.out) == ran.summary


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--metadata", "search"), "--metadata search: write it like team=search"),
        (("--metadata", "=search"), "--metadata =search: write it like team=search"),
        (("--metadata", "a=1", "--metadata", "a=2"), "--metadata a is given twice; give each name once"),
        (("--gpu-count", "0"), "--gpu-count 0: must be at least 1"),
        (("--price-per-hour", "-2"), "--price-per-hour -2: must be above 0"),
        (("--gpu-memory", "much"), "--gpu-memory much: must be a number"),
    ],
)
def test_metadata_that_is_none(run: Runner, words: tuple[str, ...], says: str) -> None:
    ran = run("profile", *words)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert says in ran.err
