"""What the preflight learns of a server, against the embedded engine."""

import pytest

from genbench import config, registry
from genbench.engine.preflight import Found, preflight
from genbench.engine.prober import Prober
from genbench.errors import ConfigError, TargetError
from genbench.resolve import resolve
from genbench.transport.address import parse_url, request_headers
from tests.simulator.process import Simulator

FAST = ('simulate={"ttft_ms": 1, "itl_ms": 1}',)


def probe(server: Simulator, count: object = None, **named: object) -> Found:
    resolved, _ = resolve(config.load({"url": server.url, "extra": FAST} | named))
    endpoint = registry.load("endpoints", resolved.target.endpoint_type)
    url = parse_url(resolved.target.url[0], endpoint.PATH)
    prober = Prober(url, request_headers(url, None, {}), None, 5.0, patient=False)
    return preflight(resolved, prober, endpoint.PATH, endpoint, count)  # type: ignore[arg-type]


def test_it_asks_the_model_and_measures_template_and_words(simulator: Simulator) -> None:
    found = probe(simulator)
    assert found.facts.model == "simulated-model"
    assert found.template_tokens == 6  # 3 per message and 3 per request
    assert found.facts.tokens_per_word == pytest.approx(1.0)
    assert found.facts.ignore_eos
    assert found.facts.latency_s > 0
    assert found.sockaddr == ("127.0.0.1", simulator.port)


def test_completions_have_no_template(simulator: Simulator) -> None:
    assert probe(simulator, endpoint_type="completions").template_tokens == 0


def test_with_a_tokenizer_nothing_is_calibrated(simulator: Simulator) -> None:
    found = probe(simulator, lambda text: len(text.split()))
    assert (found.facts.tokens_per_word, found.template_tokens) == (None, 6)


def test_a_limit_among_the_extra_fields_does_not_lengthen_it(simulator: Simulator) -> None:
    found = probe(simulator, extra=(*FAST, "max_tokens=500"))
    assert found.template_tokens == 6
    assert not any("no usage" in note for note in found.notes)


def test_usage_in_characters_is_seen(simulator: Simulator) -> None:
    found = probe(simulator, extra=('simulate={"ttft_ms": 1, "itl_ms": 1, "fault": "usage_chars"}',))
    assert found.facts.tokens_per_word == 1.0  # prompts are not shortened by it
    assert any("character" in note for note in found.notes)


def test_a_model_that_is_not_on_the_list_is_refused_with_the_servers_words(simulator: Simulator) -> None:
    with pytest.raises(ConfigError, match="does not serve 'other'"):
        probe(simulator, model="other")


def test_eos_is_left_alone_for_a_file_and_when_asked(simulator: Simulator) -> None:
    assert not probe(simulator, ignore_eos=False).facts.ignore_eos
    assert not probe(simulator, osl="none").facts.ignore_eos


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        ("status:500", TargetError, "fails on a small request"),
        ("status:403", ConfigError, "refuses the key"),
        ("status:400", ConfigError, "refuses a small request"),
        ("close_before_byte", TargetError, "gives no HTTP answer"),
        ("garbage", TargetError, "gives no HTTP answer"),
    ],
)
def test_what_stops_a_run(simulator: Simulator, fault: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        probe(simulator, model="simulated-model", extra=(f'simulate={{"fault": "{fault}"}}',))
