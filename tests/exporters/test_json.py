import orjson

from genbench.exporters import json
from genbench.metrics.summary import summarise
from genbench.records import table_from
from tests.exporters.golden import run
from tests.metrics.made import stream


def test_layout() -> None:
    """The keys that docs/metrics.md promises, and a whole number of ms as it was measured."""
    found = orjson.loads(json.text(run().summary))
    assert found["schema"] == 1
    ttft = found["metrics"]["ttft"]
    assert ttft["unit"] == "ms"
    assert ttft["count"] == 48
    assert ttft["min"] == 40
    assert ttft["ci95"]["p99"][1] is None  # 48 values have no upper bound for p99
    assert ttft["ci_method"]["p50"] == "order statistics"
    assert "p99" in ttft["few"]
    assert found["run"]["requested_rate"] == {"unit": "req/s", "value": 20.0}
    assert found["outcomes"]["ok"] == 48
    assert found["outcome_examples"]["connect_error"] == "connection refused by 127.0.0.1:8000"
    assert [rule["passed"] for rule in found["slo"]] == [True, True, False]
    assert found["slo"][0]["unit"] == "ms"
    assert found["sources"]["osl"] == "usage"
    assert found["verdict"] == "SUSPECT"
    (first, *_) = found["findings"]
    assert set(first) == {"level", "check", "value", "bound", "unit", "text", "advice"}
    assert (first["level"], first["check"], first["bound"]) == ("SUSPECT", "error_rate", 1)
    assert found["simulated"] is True


def test_an_empty_run_is_json_too() -> None:
    found = orjson.loads(json.text(summarise(table_from([]), {})))
    assert found["metrics"] == {}
    assert found["outcomes"] == {"ok": 0}


def test_one_value_has_no_std() -> None:
    found = json.as_dict(summarise(table_from([stream(0, 1, [2])]), {}))
    assert "std" not in found["metrics"]["ttft"]
