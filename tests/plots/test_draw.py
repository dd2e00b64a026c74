"""What all figures go through: tables of several runs, notes, files."""

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genbench import registry
from genbench.metrics.summary import Run
from genbench.plots import _draw, _parts
from genbench.plots._figure import Mark, Nothing, Table, thinned, together
from genbench.plots._look import DARK, LIGHT
from tests.plots.made_runs import run_of, usual

EMPTY = run_of([])


def giving(**tables: Table | Nothing) -> Any:
    """A figure's `data` that gives these tables, one after the other."""
    queue = list(tables.values())

    def data(run: Run) -> Table:
        found = queue.pop(0)
        if isinstance(found, Nothing):
            raise found
        return found

    return [(name, EMPTY) for name in tables], data


def numbers(*values: float) -> dict[str, "np.ndarray[Any, np.dtype[Any]]"]:
    return {"value": np.array(values, dtype=np.float64)}


def test_one_run_is_its_own_table() -> None:
    table = Table(numbers(1, 2), "a note")
    series, data = giving(only=table)
    assert together(series, data) is table


def test_several_runs_are_one_table_with_a_name_in_each_row() -> None:
    table = together(*giving(a=Table(numbers(1, 2)), b=Table(numbers(3))))
    assert table.columns["series"].tolist() == ["a", "a", "b"]
    assert table.columns["value"].tolist() == [1, 2, 3]


def test_a_column_that_a_run_does_not_have_is_empty_for_it() -> None:
    tokens = Table({**numbers(1), "tokens": np.array([5]), "kind": np.array(["x"])})
    rows = together(*giving(a=tokens, b=Table(numbers(2)))).rows()
    assert rows == [
        {"value": 1, "tokens": 5, "kind": "x", "series": "a"},
        {"value": 2, "tokens": None, "kind": "", "series": "b"},
    ]


def test_notes_say_once_what_all_runs_say_and_by_name_what_one_says() -> None:
    a, b = Table(numbers(1), "7 requests; thinned; band: x"), Table(numbers(1), "8 requests; band: x")
    assert together(*giving(a=a, b=b)).note == "a: 7 requests; thinned | b: 8 requests | band: x"
    assert together(*giving(a=a, b=a)).note == "7 requests; thinned; band: x"
    assert together(*giving(a=Table(numbers(1)), b=Nothing("it failed"))).note == "b is not shown: it failed"


def test_phases_belong_to_a_run_and_promises_to_all() -> None:
    marks = (Mark("phase", 0, 1, "warm-up"), Mark("promise", 5, 5, "ttft.p50<5ms", 50.0))
    table = together(*giving(a=Table(numbers(1), marks=marks), b=Table(numbers(1), marks=marks)))
    assert [(mark.kind, mark.series) for mark in table.marks] == [("phase", "a"), ("promise", ""), ("phase", "b")]


def test_two_runs_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two runs have the same name: a, a"):
        together([("a", EMPTY), ("a", EMPTY)], lambda run: Table(numbers(1)))


def test_thinning_keeps_the_ends() -> None:
    assert thinned(5, 10).tolist() == [0, 1, 2, 3, 4]
    assert thinned(9, 3).tolist() == [0, 4, 8]
    kept = thinned(123_457, 2_000)
    assert (kept.size, kept[0], kept[-1]) == (2_000, 0, 123_456)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([10.0, 100.0], (0.0, 103.0, False)),  # from zero, 3 % above
        ([1.0, 101.0], (1.0, 101.0, True)),  # two powers of ten: logarithmic
        ([0.0, 500.0], (0.0, 515.0, False)),  # zero has no logarithm
        ([50.0, 50.0], (48.75, 51.25, False)),  # 5 % of 50 around what does not vary
        ([50.0, 51.0], (49.225, 51.775, False)),  # 5 % of 51 = 2.55
        ([0.0, 0.0], (0.0, 0.5, False)),
        ([-2.0, 8.0], (-2.3, 8.3, False)),  # 3 % of 10
        ([60.0, 100.0, np.nan], (58.8, 101.2, False)),  # far from zero: 3 % of 40
    ],
)
def test_an_axis_begins_at_zero_unless_that_would_waste_it(
    values: list[float], expected: tuple[float, float, bool]
) -> None:
    assert _parts.span(np.array(values)) == pytest.approx(expected)


def test_a_note_is_broken_between_its_clauses() -> None:
    assert _draw.lines("one; two; three", 9) == ["one; two", "three"]
    assert _draw.lines("one two three; four", 9) == ["one two", "three", "four"]
    assert _draw.lines("a: one; two | b: one | all", 14) == ["a: one; two", "b: one", "all"]
    assert _draw.lines("a: one; two | b: one", 20) == ["a: one; two | b: one"]
    assert _draw.lines("") == []


def test_files_of_a_run_are_what_its_figures_draw(tmp_path: Path) -> None:
    found = _draw.tables([("", usual())], ["lengths"])
    found["ttft_box"] = Nothing("no answer was streamed")
    written = _draw.draw(found, tmp_path / "plots", kinds=("svg",), look=DARK)
    assert sorted(path.name for path in written) == [
        "lengths.csv",
        "lengths.svg",
    ]
    table = found["lengths"]
    assert isinstance(table, Table)
    with (tmp_path / "plots" / "lengths.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["what"] for row in rows] == table.columns["what"].tolist()
    assert sum(int(row["requests"]) for row in rows if row["what"] == "output") == 57  # 64 less 4 of warm-up and 3 cut
    picture = (tmp_path / "plots" / "lengths.svg").read_text()
    assert DARK.main in picture
    assert "share of requests (%)" in picture


def test_without_altair_there_are_the_numbers_and_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    written = _draw.draw(_draw.tables([("", usual())], ["lengths"]), tmp_path)
    assert [path.name for path in written] == ["lengths.csv"]
    assert _draw.missing().startswith("no pictures: altair")


def test_numbers_need_no_altair() -> None:
    code = (
        "import sys; from tests.plots.made_runs import usual; from genbench.plots import _draw;"
        "_draw.tables([('', usual())], _draw.names()); sys.exit('altair' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_figure_says_what_it_shows_and_how_to_read_it() -> None:
    assert set(_draw.names()) == set(_draw.ORDER)
    titles = [_draw.figure(name).TITLE for name in _draw.names()]
    assert len(set(titles)) == len(titles)
    for name in _draw.names():
        line = registry.first_line("plots", name)
        assert 40 < len(line) < 120
        assert line.endswith(".")


def test_a_users_own_figure_is_a_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import numpy as np\nfrom genbench.plots._figure import Table\nTITLE = 'Mine'\n"
        "def data(run): return Table({'n': np.array([len(run.table)])})\n"
    )
    table = _draw.tables([("", usual())], [str(file)])[str(file)]
    assert isinstance(table, Table)
    assert table.columns["n"].tolist() == [64]


def test_the_looks_tell_their_series_apart_and_from_the_ground() -> None:
    for look in (LIGHT, DARK):
        assert len(set(look.series)) == len(look.series)
        assert look.ground not in look.series
