"""Files with figures only: kept by our key where the definition is ours, by the tool's name where it is not."""

import json
from pathlib import Path
from typing import Any

import pytest

from genbench.errors import RecordError
from genbench.studies import importing
from tests.importers.peers import FOLDER, brought, changed

FILES = {
    "aiperf/profile_export_aiperf.json": None,
    "genai-perf/profile_export_genai_perf.csv": None,
    "genai-perf/profile_export_genai_perf.json": None,
    "sglang.jsonl": 1,
    "vllm-appended.json": 1,
}


def figures(name: str, to: Path) -> dict[str, Any]:
    folder = brought(FOLDER / name, to, FILES[name]).folder
    found: dict[str, Any] = json.loads((folder / "imported.json").read_text())
    return found


@pytest.mark.parametrize("name", FILES)
def test_no_records_and_a_sentence(name: str, tmp_path: Path) -> None:
    folder = brought(FOLDER / name, tmp_path, FILES[name]).folder
    assert sorted(path.name for path in folder.iterdir()) == ["imported.json", "run.json"]
    with pytest.raises(RecordError, match=r"has no records: .* holds figures only, they are in imported\.json"):
        importing.read(folder)


@pytest.mark.parametrize(
    ("name", "key", "mean"),
    [
        ("aiperf/profile_export_aiperf.json", "aiperf.time_to_first_token", 65),
        ("genai-perf/profile_export_genai_perf.csv", "genai-perf.time_to_first_token", 65),
        ("genai-perf/profile_export_genai_perf.json", "genai-perf.time_to_first_token", 65),
        ("sglang.jsonl", "sglang.e2e_latency", 106),
        ("vllm-appended.json", "vllm.ttft", 65),
    ],
)
def test_distributions(name: str, key: str, mean: float, tmp_path: Path) -> None:
    found = figures(name, tmp_path)
    assert found["dialect"] == key.partition(".")[0]
    assert found["metrics"][key]["unit"] == "ms"
    assert found["metrics"][key]["mean"] == pytest.approx(mean)


def test_thousands_in_the_csv(tmp_path: Path) -> None:
    """Its latency is 105,000 ms on average, written with a comma; a row of N/A is absent."""
    found = figures("genai-perf/profile_export_genai_perf.csv", tmp_path)
    assert found["metrics"]["genai-perf.request_latency"]["mean"] == 105_000
    assert "genai-perf.output_sequence_length" not in found["metrics"]
    assert found["run"]["genai-perf.request_count"] == {"unit": "count", "value": 2}


def test_what_is_ours_has_our_key(tmp_path: Path) -> None:
    found = figures("aiperf/profile_export_aiperf.json", tmp_path)
    assert found["metrics"]["icl"]["mean"] == pytest.approx(16)
    assert found["metrics"]["osl"]["unit"] == "token"
    assert "std" not in found["metrics"]["icl"]  # of the population there
    assert found["run"]["aiperf.error_request_count"] == {"unit": "requests", "value": 1}


def test_null_and_nan_are_absent(tmp_path: Path) -> None:
    found = figures("aiperf/profile_export_aiperf.json", tmp_path)
    assert set(found["metrics"]["aiperf.adj_request_latency"]) == {"unit", "p50", "count"}
    second = brought(FOLDER / "vllm-appended.json", tmp_path, 2)
    assert "vllm.duration" not in second.result.run
    assert second.result.run["vllm.request_throughput"]["value"] == 9.5
    assert second.result.load == {"request_rate": 4.0, "arrival": "poisson"}


def test_the_load_of_each_tool(tmp_path: Path) -> None:
    path = changed("aiperf/profile_export_aiperf.json", tmp_path, lambda d: d.update(was_cancelled=True))
    one = brought(path, tmp_path)
    assert one.result.load == {"concurrency": 2, "request_count": 3}
    assert one.result.workload == {"isl": 12, "osl": 4}
    assert one.result.notes == ("AIPerf's run was cancelled", "1 error: in no figure but those named so")
    header = json.loads((one.folder / "run.json").read_text())
    assert header["config"]["seed"] == 7
    assert one.folder.name == "aiperf-tiny-model-imported-20260921T141320Z"
