"""Options: what is accepted, what follows from what, what a wrong one says."""

from pathlib import Path

import pytest

from genbench import config
from genbench.errors import ConfigError
from genbench.options import RunConfig
from genbench.resolve import demo, resolve


def resolved(**named: object) -> RunConfig:
    return resolve(config.load(named, ()))[0]


def ends(**named: object) -> str:
    return resolve(config.load(named, ()))[1]


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30.0), ("500ms", 0.5), ("2m", 120.0), ("1.5h", 5400.0), (" 10 s ", 10.0), (3, 3.0)]
)
def test_times(text: object, seconds: float) -> None:
    assert resolved(duration_s=text).load.duration_s == seconds


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("concurrency", "-1", "--concurrency -1: must be at least 1"),
        ("concurrency", "1.5", "--concurrency 1.5: must be a whole number"),
        ("concurrency", "1,2,4", "--concurrency 1,2,4 is a sweep"),
        ("request_rate", "0", "--request-rate 0: must be above 0 req/s"),
        ("request_rate", "nan", "--request-rate nan: must be above 0"),
        ("duration_s", "inf", "--duration inf: must be a time"),
        ("duration_s", "5x", "--duration 5x: must be a time like"),
        ("duration_s", "0", "--duration 0: must be above 0"),
        ("top_p", "1.5", "--top-p 1.5: must be at most 1"),
        ("temperature", "inf", "--temperature inf: must be finite"),
        ("service_kind", "triton", "--service-kind triton: must be openai"),
        ("insecure_tls", "maybe", "--insecure-tls maybe: only true or false"),
    ],
)
def test_wrong_values_name_option_value_and_bound(name: str, value: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        config.load({name: value}, ())
    assert str(error.value).startswith(says)


def test_defaults() -> None:
    run = resolved(url="http://x")
    assert (run.load.concurrency, run.load.request_count, run.load.duration_s, run.load.warmup) == (1, 100, 60.0, 1)
    assert (run.workload.isl, run.workload.osl, run.workload.isl_stddev, run.seed) == ("550", "128", 0, 0)
    assert (run.limits.connect_timeout_s, run.limits.idle_timeout_s, run.load.grace_s) == (10, 300, 30)
    assert run.target.stream is True
    assert run.workload.ignore_eos is None  # decided by the preflight
    assert ends(url="http://x") == "100 requests or 60 s, whichever comes first"


@pytest.mark.parametrize(
    ("named", "count", "duration", "warmup"),
    [
        ({"concurrency": "20"}, 200, 60.0, 20),
        ({"concurrency": "64"}, 640, 60.0, 32),
        ({"request_count": "7"}, 7, None, 1),  # a count lifts the time
        ({"duration_s": "7"}, None, 7.0, 1),  # and the other way round
        ({"duration_s": "7", "request_count": "9"}, 9, 7.0, 1),
        ({"request_rate": "5"}, 100, 60.0, 10),
        ({"request_rate": "inf", "request_count": "9"}, 9, None, 0),
        ({"request_rate": "5", "warmup": "0"}, 100, 60.0, 0),
    ],
)
def test_what_follows_from_what(named: dict[str, str], count: int | None, duration: float | None, warmup: int) -> None:
    load = resolved(**named).load
    assert (load.request_count, load.duration_s, load.warmup) == (count, duration, warmup)


def test_a_rate_has_no_cap_unless_asked() -> None:
    assert resolved(request_rate="5").load.concurrency is None
    assert resolved(request_rate="5", concurrency="3").load.concurrency == 3


def test_a_server_is_meant_when_one_is_hinted_at() -> None:
    assert resolved().target.url == ()
    for name, value in {"model": "m", "tokenizer": "t", "api_key": "k", "service_kind": "openai"}.items():
        assert resolved(**{name: value}).target.url == ("http://localhost:8000",)


def test_the_demo() -> None:
    shown = demo(config.load({}, ())).config
    assert (shown.load.concurrency, shown.workload.osl) == (8, "64")
    assert demo(config.load({"osl": "5"}, ())).config.workload.osl == "5"
    for named in ({"url": "http://x"}, {"model": "m"}, {"concurrency": "2"}, {"duration_s": "2"}):
        given = config.load(named, ())
        assert demo(given) == given


def test_the_key_comes_from_the_environment_but_not_for_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    assert resolved().target.api_key is None
    assert resolved(url="http://x").target.api_key == "sk-1"
    assert resolved(url="http://x", api_key="sk-2").target.api_key == "sk-2"


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ({"input_file": "x", "isl": "5"}, "--isl is the length of synthetic prompts"),
        ({"batch_size": "2"}, "--batch-size 2 is for embeddings"),
        ({"ignore_eos": True, "osl": "none"}, "--ignore-eos needs an output length"),
        ({"request_rate": "inf", "duration_s": "5"}, "--request-rate inf sends everything at once"),
    ],
)
def test_combinations_that_cannot_be(named: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        resolved(**named)
    assert str(error.value).startswith(says)


def test_a_file_has_its_own_lengths() -> None:
    assert resolved(input_file="x").workload.osl is None
    assert resolved(input_file="x", osl="9").workload.osl == "9"
    assert resolved(input_file="x").workload.ignore_eos is False
    assert resolved(osl="none").workload.ignore_eos is False


def test_a_profile_and_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "# mine\nconcurrency: 4\nduration: 30s\nosl: none\nstream: false\nheader:\n  - 'a: b'\n  - 'c: d'\n"
    )
    given = config.load({"concurrency": "6"}, (str(path),))
    run = given.config
    assert (run.load.concurrency, run.load.duration_s, run.workload.osl, run.target.stream) == (6, 30.0, None, False)
    assert run.target.header == ("a: b", "c: d")
    assert given.named == {"concurrency", "duration_s", "osl", "stream", "header"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nope: 1", "unknown option 'nope'"),
        ("[1, 2]", "must be 'option: value' lines"),
        ("a: [", "is not YAML"),
        ("isl: -1", "--isl -1: must be at least 1"),
    ],
)
def test_a_wrong_profile(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says.replace("[", r"\[")):
        resolve(config.load({}, (str(path),)))


def test_every_shipped_profile_loads() -> None:
    assert len(config.profile_names()) >= 7
    for name in config.profile_names():
        resolve(config.load({}, (name,)))
        assert config.profile_text(name).startswith("# ")


def test_no_such_profile_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match="vllm"):
        config.load({}, ("nope",))


def test_secrets_do_not_show() -> None:
    named = {
        "url": ("http://user:pw1@x/v1?api-version=3&api-key=pw2&sig=pw3",),
        "prometheus": ("http://x/?pwd=pw6&passwd=pw7&credential=pw8&X-Amz-Credential=pw9&match=a",),
        "api_key": "pw4",
        "header": ("X-Token: pw5",),
        "request_count": "3",
    }
    shown = config.public(config.load(named, ()).config)
    assert shown["target"]["url"] == ["http://***@x/v1?api-version=3&api-key=***&sig=***"]
    masked = "http://x/?pwd=***&passwd=***&credential=***&X-Amz-Credential=***&match=a"
    assert shown["telemetry"]["prometheus"] == [masked]
    assert shown["target"]["header"] == ["X-Token: ***"]
    assert shown["load"]["request_count"] == 3
    command = " ".join(config.quoted(config.command_line(named, ("vllm",))))
    assert not any(f"pw{k}" in str(shown) + command for k in range(1, 10))
    assert command.startswith("genbench profile --config vllm --url 'http://***@x")
    assert " --request-count 3 --prometheus " in command


def test_the_command_line_says_what_was_named() -> None:
    named = {"stream": False, "retry": True, "slo": ("ttft.p95<5ms", "a<b"), "salt": "two words"}
    words = config.command_line(named, ())
    assert words == ["genbench", "profile", "--no-stream", "--salt", "two words", "--retry",
                     "--slo", "ttft.p95<5ms", "--slo", "a<b"]  # fmt: skip
    assert "'two words'" in config.quoted(words)


def test_infinity_is_json() -> None:
    assert config.public(resolved(request_rate="inf", request_count="1"))["load"]["request_rate"] == "inf"


def test_profiles_add_up_and_the_later_one_wins(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("isl: 10\nosl: 20\n")
    second.write_text("osl: 30\n")
    workload = config.load({}, (str(first), str(second))).config.workload
    assert (workload.isl, workload.osl) == ("10", "30")
