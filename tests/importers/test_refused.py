"""What is not read ends in one sentence: unknown, of a newer version, cut, broken inside."""

import json
from pathlib import Path
from typing import Any

import pytest

from genbench.errors import ConfigError, DatasetError
from genbench.studies.importing import bring_in
from tests.importers.peers import FOLDER, changed
from tests.runs import Runner


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(tmp_path, capsys)


def refused(path: Path, to: Path) -> str:
    with pytest.raises(DatasetError) as error:
        bring_in(path, artifact_dir=to / "artifacts")
    assert not (to / "artifacts").exists()
    said = str(error.value)
    assert "\n" not in said
    return said


@pytest.mark.parametrize("text", ['{"a": 1}', "[1, 2]", '{"benchmarks": 3}\n{"b": 2}\n', "latency,1\n2,3\n", "null"])
def test_unknown(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    said = refused(path, tmp_path)
    assert "is no result known here; looked for" in said
    for tool in ("AIPerf", "GenAI-Perf", "GuideLLM", "llm-load-test", "SGLang", "vllm bench serve"):
        assert tool in said


def test_missing_empty_binary(tmp_path: Path) -> None:
    assert "cannot read" in refused(tmp_path / "none.json", tmp_path)
    assert "is a folder" in refused(tmp_path, tmp_path)
    path = tmp_path / "x.json"
    path.write_text(" \n")
    assert "is empty" in refused(path, tmp_path)
    path.write_bytes(b"\xff\xfe{")
    assert "is not text (byte 0)" in refused(path, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "guidellm.json",
        "vllm.json",
        "llm-load-test.json",
        "genai-perf/profile_export.json",
        "aiperf/profile_export.jsonl",
    ],
)
@pytest.mark.parametrize("share", [0.3, 0.97])
def test_cut(name: str, share: float, tmp_path: Path) -> None:
    text = (FOLDER / name).read_text().rstrip()
    path = tmp_path / Path(name).name
    path.write_text(text[: int(len(text) * share)])
    said = refused(path, tmp_path)
    assert "is cut or broken" in said
    assert "line" in said
    assert "column" in said


@pytest.mark.parametrize("version", [1, 3, "2", None])
def test_another_version_of_guidellm(version: Any, tmp_path: Path) -> None:
    path = changed("guidellm.json", tmp_path, lambda d: d["metadata"].update(version=version))
    said = "no version" if version is None else f"version {version}"
    assert said in refused(path, tmp_path)


@pytest.mark.parametrize("version", ["1.5", "2.0", "0.9", "new"])
def test_another_schema_of_aiperf(version: str, tmp_path: Path) -> None:
    path = changed("aiperf/profile_export_aiperf.json", tmp_path, lambda d: d.update(schema_version=version))
    assert f"AIPerf's schema {version}; read here are 1.0 to 1.4" in refused(path, tmp_path)
    lines = tmp_path / "profile_export.jsonl"
    lines.write_text((FOLDER / "aiperf" / "profile_export.jsonl").read_text())
    document = json.loads(path.read_text())
    assert document["request_count"]["avg"] == 2
    assert version in refused(lines, tmp_path)  # its set-up would be taken from there


@pytest.mark.parametrize(
    ("name", "path", "value", "place"),
    [
        ("vllm.json", ["itls"], [[0.1]], "request 0"),
        ("vllm.json", ["itls", 1], 3, "request 1"),
        ("vllm.json", ["itls", 1, 0], None, "request 1"),
        ("vllm.json", ["start_times"], [1.0], "line 1"),
        ("vllm.json", ["ttfts"], None, "line 1"),
        ("guidellm.json", ["benchmarks", 0, "config"], None, "benchmark 0"),
        ("guidellm.json", ["benchmarks", 0, "requests"], [], "benchmark 0"),
        ("guidellm.json", ["benchmarks", 0, "requests", "successful", 1], 7, "request 1 of 3"),
        ("llm-load-test.json", ["results", 2, "start_time"], None, "result 2 of 3"),
        ("genai-perf/profile_export.json", ["experiments", 0, "requests", 1, "timestamp"], None, "request 1 of 2"),
        ("genai-perf/profile_export.json", ["experiments", 0, "requests", 0, "response_timestamps"], [1], "request 0"),
    ],
)
def test_broken_inside(name: str, path: list[str | int], value: Any, place: str, tmp_path: Path) -> None:
    def spoil(document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    said = refused(changed(name, tmp_path, spoil), tmp_path)
    assert place in said
    assert "as" in said
    assert "writes it" in said


def test_a_line_that_is_no_request(tmp_path: Path) -> None:
    lines = (FOLDER / "aiperf" / "profile_export.jsonl").read_text().splitlines()
    path = tmp_path / "profile_export.jsonl"
    path.write_text("\n".join([lines[0], '{"metadata": {}, "metrics": {}}', lines[2]]))
    assert "line 2" in refused(path, tmp_path)
    path.write_text("\n".join([lines[0], "{broken", lines[2]]))
    assert "line 2, column 2" in refused(path, tmp_path)


def test_choices_that_do_not_fit(tmp_path: Path) -> None:
    file = FOLDER / "vllm-appended.json"
    with pytest.raises(ConfigError, match="has 2 results"):
        bring_in(file, artifact_dir=tmp_path, nth=3)
    with pytest.raises(ConfigError, match="is for one result"):
        bring_in(file, artifact_dir=tmp_path, name="mine")
    with pytest.raises(ConfigError, match="is a path"):
        bring_in(file, artifact_dir=tmp_path, name="a/b", nth=1)
    bring_in(file, artifact_dir=tmp_path, name="mine", nth=1)
    with pytest.raises(ConfigError, match="is there already"):
        bring_in(file, artifact_dir=tmp_path, name="mine", nth=2)


def test_the_command(run: Runner, tmp_path: Path) -> None:
    for name in ("guidellm.json", "aiperf/profile_export_aiperf.json", "vllm-appended.json"):
        ran = run("import", str(FOLDER / name), "--artifact-dir", str(tmp_path / "made"))
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.isascii()
        assert max(len(line) for line in ran.out.splitlines() if not line.startswith("files: ")) <= 100
        assert ran.out.count("files: ") == (2 if "appended" in name else 1)
    folders = sorted((tmp_path / "made").iterdir())
    (figures,) = (one for one in folders if one.name.startswith("aiperf"))
    (requests,) = (one for one in folders if one.name.startswith("guidellm"))
    ran = run("report", str(figures))
    assert ran.code == 2
    assert "has no records" in ran.err
    ran = run("report", str(requests), "--no-plots")
    assert ran.code == 0
    assert "Time per output token" in ran.out
    assert "Inter-token latency" not in ran.out
    ran = run("report", str(requests), "--dialect", "guidellm")
    assert ran.code == 0


def test_the_command_refuses_in_a_sentence(run: Runner, tmp_path: Path) -> None:
    ran = run("import", str(tmp_path / "none.json"))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("genbench: cannot read")
    assert ran.err.count("\n") == 1
