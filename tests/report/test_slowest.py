from genbench.report import slowest
from genbench.types import EventKind, Outcome
from tests.metrics.made import ns, stream
from tests.report import made
from tests.report.dom import parse


def test_the_slowest_come_first_whatever_became_of_them() -> None:
    # ok: 10 ms to the last token; failed: 90 ms to its end; ok: 30 ms
    records = [
        stream(0, 0, [5, 10]),
        stream(1, 0, [5], end=90, outcome=Outcome.TIMEOUT_IDLE, error="no byte for 85 ms"),
        stream(2, 0, [5, 30]),
    ]
    tree = parse(slowest.slowest(made.run(records), ""))
    cells = [[cell.text for cell in row.all("td")] for row in tree.all("tr", class_="request")]
    assert [row.one("th").text for row in tree.all("tr", class_="request")] == ["#1", "#2", "#0"]
    assert [row[:2] for row in cells] == [["90.00", "5.000"], ["30.00", "5.000"], ["10.00", "5.000"]]
    assert [row[4] for row in cells] == ["timeout_idle", "ok", "ok"]
    assert "no byte for 85 ms" in tree.text


def test_at_most_twenty_each_with_a_story_of_its_own() -> None:
    tree = parse(slowest.slowest(made.run(made.streamed(50)), "run1-"))
    buttons = tree.all("button", class_="opens")
    assert len(buttons) == slowest.MOST
    for button in buttons:
        assert button.attributes["aria-expanded"] == "false"
        story = tree.one("tr", id=button.attributes["aria-controls"])
        assert story.attributes["id"].startswith("run1-")
        assert "hidden" in story.attributes
        assert story.all("table", class_="events")


def test_the_story_of_a_request_to_the_millisecond() -> None:
    record = stream(0, 100, [150, 170], kinds=[EventKind.REASONING, EventKind.CONTENT])
    record.headers_ns = ns(120)
    record.event_ns[0] = ns(120.5)
    record.end_ns = ns(171)
    found = slowest.moments(made.run([record]).table, 0)
    assert [(one.kind, one.at_ms, one.gap_ms) for one in found] == [
        ("sent", 0, 0),
        ("response head", 20, 20),
        ("role", 20.5, 0.5),
        ("reasoning", 50, 29.5),
        ("content", 70, 20),
        ("finish", 70, 0),
        ("end", 71, 1),
    ]


def test_a_long_answer_is_thinned_and_keeps_its_longest_gap() -> None:
    times = [50.0 + 10 * k + (400 if k >= 500 else 0) for k in range(1000)]
    tree = parse(slowest.slowest(made.run([stream(0, 0, times)]), ""))
    events = tree.one("table", class_="events").one("tbody").all("tr")
    assert len(events) < slowest.EVENTS + 40
    gaps = [cell.text for row in events for cell in row.all("td", class_="n")[1:2]]
    assert "410.000" in gaps
    assert any("more, gaps 10.000 to 10.000 ms" in row.text for row in events)
    skipped = sum(int(row.text.split()[1].replace(",", "")) for row in events if row.text.startswith("…"))
    assert skipped + sum(not row.text.startswith("…") for row in events) == 1000 + 5  # sent, head, role, finish, end


def test_nothing_was_sent() -> None:
    assert "None: no request of the measured phase was sent" in parse(slowest.slowest(made.run([]), "")).text


def test_outcomes_have_shares_and_examples() -> None:
    tree = parse(slowest.outcomes(made.full(), ""))
    rows = {row.one("th").text: [cell.text for cell in row.all("td")] for row in tree.one("tbody").all("tr")}
    assert rows == {
        "ok": ["120", "98.4 %", ""],
        "http_error": ["1", "0.82 %", "HTTP 429: slow down (Retry-After 2)"],
        "of these HTTP 429": ["1", "0.82 %", "HTTP 429: slow down (Retry-After 2)"],
        "truncated": ["1", "0.82 %", "the stream ended without finish_reason or [DONE]"],
    }


def test_servers_where_there_are_several() -> None:
    header = made.header()
    header["config"]["target"]["url"] = ["http://one", "http://two"]
    records = made.streamed(40)
    for record in records:
        record.target = record.index % 2
    tree = parse(str(slowest.servers(made.run(records, header), "")))
    rows = [[cell.text for cell in row.all("td")][:2] for row in tree.one("tbody").all("tr")]
    assert [row.one("th").text for row in tree.one("tbody").all("tr")] == ["http://one", "http://two"]
    assert rows == [["20", "100 %"], ["20", "100 %"]]
    assert slowest.servers(made.full(), "") is None
