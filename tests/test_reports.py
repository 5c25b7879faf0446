"""What the studies share: an interrupted one goes on where it stopped."""

import importlib
import pathlib

import pytest


@pytest.fixture(scope="module")
def reports():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(pathlib.Path(__file__).parents[1] / "benchmarks"))
        yield importlib.import_module("reports")


class Work:
    """Squares, counting calls and stopping after so many."""

    __name__ = "square"

    def __init__(self, allowed=100):
        self.calls, self.allowed = [], allowed

    def __call__(self, x, unit="m"):
        if len(self.calls) == self.allowed:
            raise KeyboardInterrupt
        self.calls.append(x)
        return {"square": x * x, "unit": unit}


def test_what_was_finished_is_not_done_again(reports, tmp_path):
    file, tasks = tmp_path / "kept.jsonl", [{"x": x} for x in range(5)]
    with pytest.raises(KeyboardInterrupt):
        reports.Keep(file).map(Work(allowed=3), tasks)
    again = Work()
    results = reports.Keep(file).map(again, tasks)
    assert [result["square"] for result in results] == [0, 1, 4, 9, 16]
    assert again.calls == [3, 4]


def test_a_line_cut_short_is_done_again(reports, tmp_path):
    file = tmp_path / "kept.jsonl"
    reports.Keep(file).map(Work(), [{"x": 2}, {"x": 3}])
    file.write_text(file.read_text()[:-5])
    again = Work()
    assert reports.Keep(file).map(again, [{"x": 2}, {"x": 3}])[1] == {"square": 9, "unit": "m"}
    assert again.calls == [3]
    last = Work()
    reports.Keep(file).map(last, [{"x": 2}, {"x": 3}])
    assert last.calls == []


def test_other_settings_and_other_work_are_not_mixed(reports, tmp_path):
    keep, cube = reports.Keep(tmp_path / "kept.jsonl"), Work()
    keep.map(Work(), [{"x": 2}])
    assert keep.map(Work(), [{"x": 2, "unit": "km"}]) == [{"square": 4, "unit": "km"}]
    cube.__name__ = "cube"
    keep.map(cube, [{"x": 2}])
    assert cube.calls == [2]


def test_results_of_another_machine_are_not_taken(reports, tmp_path):
    for machine in ("here", "there"):
        work = Work()
        for _ in range(2):
            reports.Keep(tmp_path / "kept.jsonl", {"machine": machine}).map(work, [{"x": 2}])
        assert work.calls == [2]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"a = 1\n", 1),
        (b"no end of line", 1),
        (b'{"settings": {}, "result": 1}\n{"settings": {}}\n', 2),
        (b'{"settings": {}, "result": 1}\nother', 2),
        (b"[]\n", 1),
        (b"\xff\xfe\n", 1),
    ],
)
def test_another_file_is_refused_and_left_as_it_is(content, line, reports, tmp_path):
    file = tmp_path / "other"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=rf"other must be a file of finished results, line {line} is none"):
        reports.Keep(file)
    assert file.read_bytes() == content


def test_a_folder_is_refused(reports, tmp_path):
    with pytest.raises(ValueError, match="it is a folder"):
        reports.Keep(tmp_path)


def test_the_hash_of_the_sources_is_that_of_this_package_and_these_benchmarks(reports, tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text("1")
    monkeypatch.setattr(reports, "__file__", str(tmp_path / "reports.py"))
    monkeypatch.setattr(reports.rmt_alpha, "__file__", str(tmp_path / "__init__.py"))
    first = reports.sources()
    assert reports.sources() == first
    (tmp_path / "a.py").write_text("2")
    assert reports.sources() != first


def test_without_a_file_nothing_is_kept(reports):
    work = Work()
    assert reports.Keep(None).map(work, [{"x": 2}, {"x": 2}]) == [{"square": 4, "unit": "m"}] * 2
    assert work.calls == [2]


def test_a_table_has_its_columns_aligned(reports):
    assert reports.table(["", "long"], [["name", "1"]]) == "|      | long |\n| ---- | ---- |\n| name | 1    |\n"
