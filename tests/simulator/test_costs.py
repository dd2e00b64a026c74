"""Presets and the options that go with them."""

from pathlib import Path
from typing import Any

import pytest

from genbench.errors import ConfigError
from genbench.simulator import costs
from genbench.simulator.__main__ import parser
from genbench.simulator.costs import Costs, preset, resolve
from genbench.simulator.options import MAX_MODEL_LEN, SimulatorOptions


@pytest.mark.parametrize("name", costs.names())
def test_a_preset_says_what_it_is_and_takes_an_ordinary_request(name: str) -> None:
    assert len(costs.first_line(name)) > 20
    assert preset(name).fits(2000, 500)
    assert name in parser().format_help()


def test_the_presets_are_there() -> None:
    assert {"small", "8b-h100", "70b-4xh100", "serial"} <= set(costs.names())
    assert preset("serial").max_batch == 1
    assert preset("8b-h100").step_base_s < preset("small").step_base_s < preset("70b-4xh100").step_base_s


@pytest.mark.parametrize(
    ("given", "scheduler"),
    [
        ({}, False),
        ({"ttft_s": 0.1}, False),
        ({"brain": "script"}, False),
        ({"max_model_len": 500}, False),
        ({"brain": "scheduler"}, True),
        ({"preset": "serial"}, True),
        ({"max_batch": 4}, True),
        ({"chunked_prefill": False}, True),
    ],
)
def test_which_brain(given: dict[str, Any], scheduler: bool) -> None:
    options, found = resolve(SimulatorOptions(**given))
    assert (found is not None) is scheduler
    assert options.max_model_len == (found.max_model_len if found else given.get("max_model_len", MAX_MODEL_LEN))


def test_options_stand_over_the_preset() -> None:
    _, found = resolve(SimulatorOptions(preset="serial", max_batch=3, kv_tokens=5000, step_base_s=0.0))
    assert found
    assert (found.max_batch, found.kv_tokens, found.step_base_s) == (3, 5000, 0.0)
    assert found.prefill_tps == preset("serial").prefill_tps
    assert found.max_model_len == 5000  # what fits, as nobody asked for more
    _, found = resolve(SimulatorOptions(preset="small", chunked_prefill=False))
    assert found
    assert found.max_model_len == found.max_step_tokens


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"preset": "?"}, r"--preset \?: no such preset or file; use one of 70b-4xh100, 8b-h100, serial, small or"),
        ({"preset": "small", "brain": "script"}, "--preset is the scheduler's, but --brain is script"),
        ({"brain": "script", "max_batch": 2}, "--max-batch is the scheduler's"),
        ({"preset": "small", "ttft_s": 0.1}, "--ttft is the script brain's, but --preset asks"),
        ({"brain": "scheduler", "jitter": 0.1}, "--jitter is the script brain's, but --brain scheduler asks"),
        ({"max_batch": 4096}, "--max-step-tokens 2048 is less than --max-batch 4096"),
        ({"kv_tokens": 500, "max_model_len": 600}, "--max-model-len 600 is more than --kv-tokens 500"),
        ({"chunked_prefill": False, "max_model_len": 4000}, "--max-model-len 4000 is more than --max-step-tokens 2048"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        resolve(SimulatorOptions(**given))


GOOD = {
    "prefill-tps": "9e3",
    "step-base": "5ms",
    "step-per-sequence": "0.01",
    "step-per-kv-token": "1ms",
    "max-batch": 8,
    "kv-tokens": 4000,
    "max-step-tokens": 512,
}


def written(folder: Path, lines: dict[str, object]) -> str:
    path = folder / "mine.yaml"
    path.write_text("\n".join(f"{key}: {value}" for key, value in lines.items()))
    return str(path)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    assert preset(written(tmp_path, GOOD)) == Costs(
        prefill_tps=9000.0,
        step_base_s=0.005,
        step_per_sequence_s=0.01,
        step_per_kv_token_s=0.001,
        max_batch=8,
        kv_tokens=4000,
        max_step_tokens=512,
        max_model_len=4000,
    )


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (GOOD | {"step-bose": "1ms"}, "unknown option 'step-bose'; use prefill-tps, step-base,"),
        (GOOD | {"step-base": "soon"}, "step-base is 'soon'; use a time like 8ms"),
        (GOOD | {"max-batch": 2.5}, "max-batch is '2.5'; use a whole number"),
        (GOOD | {"prefill-tps": 0}, "--prefill-tps is 0.0; give more than 0"),
        (GOOD | {"prefill-tps": "inf"}, "give a finite number"),
        (GOOD | {"prefill-tps": "fast"}, "prefill-tps is 'fast'; use a number"),
        (GOOD | {"chunked-prefill": "perhaps"}, "chunked-prefill is 'perhaps'; use true or false"),
        ({"max-batch": 8}, "lacks --prefill-tps, --step-base, --step-per-sequence"),
        ({}, "must be 'option: value' lines"),
        ({"a: [": 1}, "is not YAML"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, lines: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        preset(written(tmp_path, lines))
    assert "\n" not in str(caught.value)
    assert "mine.yaml" in str(caught.value)
