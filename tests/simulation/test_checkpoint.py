"""Checkpoints: bound to one run, whole or refused, and never harmed by a refusal."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from rmt_alpha.simulation import checkpoint as room
from rmt_alpha.simulation import runner
from rmt_alpha.simulation.checkpoint import Binding, Row, opened, pack, stored_seeds, unpack
from rmt_alpha.simulation.runner import Job, run
from tests.simulation.samplers import Numbers

ROOT = np.random.SeedSequence(7)
SAMPLER = Numbers(width=150)  # a chunk fills several pages


def job(sampler=SAMPLER, root=ROOT):
    return [Job(sampler, root)]


BINDING = runner._binding(job())


@pytest.fixture
def path(tmp_path):
    """The checkpoint of a run of ten chunks."""
    path = tmp_path / "run.sqlite"
    run(job(), 40, checkpoint=path)
    return path


def contents(folder):
    return {file.name: file.read_bytes() if file.is_file() else None for file in folder.iterdir()}


def refuse(path, text, error=ValueError, binding=BINDING):
    """The file is refused, and left as it was, with nothing beside it; so it is when only its seed is wanted."""
    before = contents(path.parent)
    with pytest.raises(error, match=text), opened(path, binding) as checkpoint:
        list(checkpoint.rows())
    assert contents(path.parent) == before


# What a file is.


def says_what_it_is(path, trials):
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (int.from_bytes(b"rmta", "big"),)
        assert connection.execute("PRAGMA user_version").fetchone() == (room.FORMAT,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        ((streams,),) = connection.execute("SELECT streams FROM meta")
        assert json.loads(streams) == BINDING.streams
        assert connection.execute("SELECT count(*), sum(trials) FROM chunks").fetchone() == (trials // 4, trials)
    connection.close()
    assert os.listdir(path.parent) == ["run.sqlite"]


def test_the_file_says_what_it_is(path):
    says_what_it_is(path, 40)


def test_arrays_survive_packing():
    record = {"mean": (2,), "cov": (2, 3), "count": ()}
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal((5, *shape)) for name, shape in record.items()}
    arrays["cov"] = np.asfortranarray(arrays["cov"])
    arrays["mean"][0] = np.nan, -np.inf
    data = pack(arrays, record)
    assert len(data) == 5 * 9 * 8
    unpacked = unpack(data, record, 5)
    assert all(np.array_equal(unpacked[name], arrays[name], equal_nan=True) for name in record)
    assert unpack(data, record, 4) is None
    assert unpack(data[:-1], record, 5) is None


@pytest.mark.parametrize(
    "seed",
    [
        np.random.SeedSequence(0),
        np.random.SeedSequence(2**127 + 1, spawn_key=(3, 2**31)),
        np.random.SeedSequence([1, 2**40, 3]),
        np.random.SeedSequence(np.array([5, 6], dtype=np.uint32), pool_size=8),
        np.random.SeedSequence(np.int64(5)).spawn(2)[1],
        np.random.SeedSequence(["0x1234", 3]),
        np.random.SeedSequence(),
    ],
)
def test_seeds_are_kept(seed, tmp_path):
    path = tmp_path / "run.sqlite"
    assert stored_seeds(path) is None
    run(job(root=seed), 4, checkpoint=path)
    (kept,) = stored_seeds(path)
    assert np.array_equal(kept.generate_state(8), seed.generate_state(8))
    with opened(path, runner._binding(job(root=kept))) as checkpoint:
        assert len(list(checkpoint.rows())) == 1


# Another run's.


def test_another_problem_is_refused_by_its_first_difference(path):
    refuse(path, r"run.sqlite belongs to another problem: width is 150 there and 151 here", binding=_of(Numbers(151)))
    specification = BINDING.specifications[0] | {"nested": {"exact": 0.1 + 0.2}}
    binding = BINDING._replace(specifications=[specification])
    refuse(path, r"nested\.exact is 0\.1 there and 0\.30000000000000004 here", binding=binding)
    missing = BINDING._replace(specifications=[{"width": 150, "more": "x" * 100}])
    refuse(path, r'method is "numbers" there and null here|more is null there and "x+\.\.\.', binding=missing)


def test_other_jobs_are_refused(path):
    two = runner._binding(job() + job())
    refuse(path, "the number of jobs is 1 there and 2 here", binding=two)
    other = path.with_name("two.sqlite")
    run(job() + job(), 4, checkpoint=other)
    refuse(other, r"jobs\[1\]\.width is 150 there and 2 here", binding=runner._binding(job() + job(Numbers())))


def _of(sampler):
    return runner._binding(job(sampler))


def test_another_seed_is_refused(path):
    other = BINDING._replace(seeds=[np.random.SeedSequence(8)])
    refuse(path, "belongs to another seed: entropy is 7 there and 8 here", binding=other)
    other = BINDING._replace(seeds=[np.random.SeedSequence(7, spawn_key=(1,))])
    refuse(path, r"the number of spawn_key is 0 there and 1 here", binding=other)


def test_other_random_streams_are_refused(path):
    assert BINDING.streams.keys() == {"stream version", "numpy", "numba"}
    for name, ours in BINDING.streams.items():
        other = BINDING._replace(streams=BINDING.streams | {name: "99.9"})
        text = rf'was made with {name} "{ours}", this run draws with {name} "99\.9": there the same seed may give other'
        refuse(path, text, binding=other)


def test_a_release_that_only_mends_numpy_goes_on(path, monkeypatch):
    major, minor, _ = np.__version__.split(".", 2)
    assert BINDING.streams["numpy"] == f"{major}.{minor}"
    for mended, goes_on in [(f"{major}.{minor}.99", True), (f"{major}.{int(minor) + 1}.0rc1", False)]:
        monkeypatch.setattr(runner, "version", lambda name, mended=mended: mended if name == "numpy" else version(name))
        assert (runner._streams() == BINDING.streams) == goes_on
    with pytest.raises(ValueError, match=rf'run.sqlite was made with numpy "{major}.{minor}"'):
        run(job(), 48, checkpoint=path)


def test_another_format_is_refused(path):
    for other in (room.FORMAT - 1, room.FORMAT + 1):
        change(path, f"PRAGMA user_version = {other}")
        refuse(path, f"has format {other}, this version of the package reads format {room.FORMAT}")
        with pytest.raises(ValueError, match=f"has format {other}"):
            stored_seeds(path)


# Not a checkpoint, or no longer one.


def change(path, statement, *values):
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement, *values)
    connection.close()


@pytest.mark.parametrize("content", [b"", b"\n", b"[run]\ntrials = 3\n" * 1000, b"SQLite format 3\0", bytes(8192)])
def test_what_is_no_database_is_refused(content, tmp_path):
    path = tmp_path / "run.sqlite"
    path.write_bytes(content)
    refuse(path, "is not a checkpoint")
    with pytest.raises(ValueError, match="is not a checkpoint"):
        stored_seeds(path)


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_the_database_of_something_else_is_refused(mode, tmp_path):
    path = tmp_path / "places.sqlite"
    change(path, f"PRAGMA journal_mode = {mode}")
    change(path, "CREATE TABLE chunks (url TEXT)")
    change(path, "INSERT INTO chunks VALUES ('https://example.org')")
    refuse(path, "is not a checkpoint of this package: it was left as it is")


def test_the_hot_journal_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "places.sqlite"
    change(path, "CREATE TABLE places (url BLOB)")
    kill_while_writing(path, "INSERT INTO places VALUES (zeroblob(100000))")
    assert (tmp_path / "places.sqlite-journal").stat().st_size > 0
    refuse(path, "is not a checkpoint of this package")


def test_a_folder_is_refused(tmp_path):
    refuse(tmp_path, "must be a file")


@pytest.mark.parametrize("place", ["missing/run.sqlite", "file/run.sqlite"])
def test_a_place_that_cannot_be_written_is_refused(place, tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(OSError, match=r"the checkpoint cannot be created.*run\.sqlite"),
        opened(tmp_path / place, BINDING),
    ):
        pass
    assert sorted(contents(tmp_path)) == ["file"]


def test_a_file_that_cannot_be_written_is_refused(path, monkeypatch):
    connect = room._connect  # permissions do not bind root, an access mode does
    monkeypatch.setattr(room, "_connect", lambda path, _, timeout: connect(path, "ro", timeout))
    with pytest.raises(OSError, match="cannot be read or written"), opened(path, BINDING):
        pass


def test_a_truncated_file_is_refused_wherever_it_was_cut(path):
    whole = path.read_bytes()
    lengths = {*range(0, 200, 7), *range(512, len(whole), 1021), *range(4096, len(whole), 4096), len(whole) - 1}
    for length in lengths:
        path.write_bytes(whole[:length])
        refuse(path, "is damaged|is not a checkpoint")
    path.write_bytes(whole)
    refuse(path, "another seed", binding=BINDING._replace(seeds=[np.random.SeedSequence(8)]))  # as ever


def test_flipped_bytes_are_refused_on_every_page(path):
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    pages = range(len(whole) // 4096)
    assert len(pages) > 20
    refused = 0
    expected = run(job(), 40)[0]
    for page in pages:
        # one page in the middle of which nothing is stored is not missed: see below
        for width in (1, 100):
            start = 4096 * page + int(rng.integers(200, 4096 - width))
            flipped = bytearray(whole)
            flipped[start : start + width] = (np.frombuffer(whole, np.uint8)[start : start + width] ^ 0xFF).tobytes()
            path.write_bytes(flipped)
            try:
                with opened(path, BINDING) as checkpoint:
                    list(checkpoint.rows())
            except ValueError as error:
                assert "is damaged" in str(error)  # noqa: PT017 - either this, or
                refused += 1
                assert path.read_bytes() == flipped
            else:  # free space
                assert not np.any(np.frombuffer(whole, np.uint8)[start : start + width])
                (got,) = run(job(), 40, checkpoint=path)
                assert all(np.array_equal(got[name], expected[name]) for name in expected)
    assert refused > 1.5 * len(pages)
    assert os.listdir(path.parent) == ["run.sqlite"]


def test_a_damaged_index_is_refused(path):
    connection = sqlite3.connect(path)
    ((page,),) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE type = 'index'")
    connection.close()
    content = bytearray(path.read_bytes())
    content[4096 * page - 1] ^= 1  # a key, at the end of its page: all rows are whole, but would be found elsewhere
    path.write_bytes(content)
    refuse(path, "is damaged")


@pytest.mark.slow
def test_every_bit_of_the_header_is_harmless_or_refused(path):
    whole = path.read_bytes()
    expected = run(job(), 40)[0]
    for place in range(100):
        for bit in (0x01, 0x02, 0x80):
            flipped = bytearray(whole)
            flipped[place] ^= bit
            path.write_bytes(flipped)
            try:
                (got,) = run(job(), 40, checkpoint=path)
            except (ValueError, OSError) as error:  # a flag of the header makes a file read-only for SQLite
                assert "run.sqlite" in str(error)  # noqa: PT017
                assert path.read_bytes() == flipped
            else:
                assert all(np.array_equal(got[name], expected[name]) for name in expected)
            assert os.listdir(path.parent) == ["run.sqlite"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE chunks SET trials = 3 WHERE chunk = 2",
        "UPDATE chunks SET chunk = 99 WHERE chunk = 2",
        "UPDATE chunks SET data = zeroblob(length(data)) WHERE chunk = 2",
        "UPDATE chunks SET data = substr(data, 9) WHERE chunk = 2",
        "UPDATE chunks SET data = NULL WHERE chunk = 2",
        "UPDATE chunks SET data = 'text' WHERE chunk = 2",
        "UPDATE chunks SET sha256 = NULL WHERE chunk = 2",
        "UPDATE chunks SET job = 'none' WHERE chunk = 2",
        "UPDATE meta SET specification = '{'",
        "UPDATE meta SET seeds = NULL",
        "UPDATE meta SET sha256 = ''",
        "DELETE FROM meta",
        "INSERT INTO meta SELECT * FROM meta",
        "DROP TABLE meta",
        "DROP TABLE chunks",
        "ALTER TABLE chunks DROP COLUMN sha256",
        "UPDATE chunks SET sha256 = CAST(X'FFFE' AS TEXT)",
    ],
)
def test_what_was_changed_behind_our_back_is_refused(path, statement):
    change(path, statement)
    refuse(path, "is damaged")


@pytest.mark.parametrize(
    "row", [Row(0, 3, 5, bytes(0)), Row(1, 0, 4, bytes(0)), Row(0, -1, 4, bytes(0)), Row(0, 2, 0, b"")]
)
def test_a_chunk_without_a_place_in_the_run_is_refused(path, row):
    data = bytes(8 * 450 * row.trials)
    row = row._replace(data=data)
    change(path, "INSERT OR REPLACE INTO chunks VALUES (?, ?, ?, ?, ?)", (*row, row.sha256()))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"is damaged \(chunk -?\d of job \d has no place in this run\)"):
        run(job(), 40, checkpoint=path)
    assert path.read_bytes() == before


# One run at a time.


def test_a_file_in_use_is_refused(path):
    with opened(path, BINDING):
        refuse_at_once(path)
    with opened(path, BINDING) as checkpoint:
        checkpoint.save([Row(0, 10, 1, bytes(3600))])
        refuse_at_once(path)  # after a transaction as well
    run(job(), 40, checkpoint=path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    refuse(path, "is in use by another run")
    connection.close()
    run(job(), 40, checkpoint=path)


def refuse_at_once(path):
    for function in (lambda: opened(path, BINDING).__enter__(), lambda: stored_seeds(path)):
        with pytest.raises(ValueError, match=r"run\.sqlite is in use by another run"):
            function()
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=0.1);"
        "print(c.execute('SELECT count(*) FROM chunks').fetchone())"
    )
    result = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert "database is locked" in result.stderr  # for every process


def test_two_runs_that_start_together_do_not_mix(tmp_path):
    path = tmp_path / "run.sqlite"
    outcomes = []

    def start(entropy):
        sampler = Numbers(seconds=0.01)
        try:
            outcomes.append(run([Job(sampler, np.random.SeedSequence(entropy))], 40, workers=1, checkpoint=path))
        except ValueError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=start, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    errors = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert len(errors) == 3
    assert all("in use by another run" in error or "belongs to another seed" in error for error in errors)
    (seed,) = stored_seeds(path)
    assert [name for name in os.listdir(tmp_path) if name != "run.sqlite"] == []
    (winner,) = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    again = run([Job(Numbers(seconds=0.01), seed)], 40, checkpoint=path)
    assert np.array_equal(again[0]["mean"], winner[0]["mean"])


@pytest.mark.parametrize("_", range(4))  # keeping the shared locks fails two times in three
def test_of_several_that_wait_one_gets_the_file(path, _):
    with opened(path, BINDING):
        pass
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")  # lets them read, and wait for the right to write
    waiting, outcomes, done = threading.Barrier(5), [], threading.Event()

    def start():
        waiting.wait()
        try:
            with opened(path, BINDING):
                outcomes.append("open")
                done.wait()
        except ValueError as error:
            outcomes.append(str(error))
        if len(outcomes) == len(threads):
            done.set()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    waiting.wait()
    time.sleep(0.1)
    connection.close()
    for thread in threads:
        thread.join()
    assert outcomes.count("open") == 1
    assert sum("in use by another run" in outcome for outcome in outcomes) == 3


# Creation, transactions, recovery.


def test_a_file_appears_complete_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "run.sqlite"

    def fails(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(room, "_move", fails)
    with pytest.raises(KeyboardInterrupt), opened(path, BINDING):
        pass
    assert os.listdir(tmp_path) == []


def test_a_file_system_without_hard_links_will_do(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError("not supported")

    monkeypatch.setattr(os, "link", no_links)
    run(job(), 4, checkpoint=tmp_path / "run.sqlite")
    assert os.listdir(tmp_path) == ["run.sqlite"]


def test_of_two_that_create_the_file_the_first_counts(tmp_path):
    path = tmp_path / "run.sqlite"
    room._create(path, BINDING)
    first = path.read_bytes()
    room._create(path, Binding({}, [np.random.SeedSequence(1)], [{}]))
    assert path.read_bytes() == first
    assert os.listdir(tmp_path) == ["run.sqlite"]


def test_the_journal_of_a_file_that_is_gone_is_not_played_back(path):
    kill_while_writing(path, "DELETE FROM chunks")
    path.unlink()
    assert os.listdir(path.parent) == ["run.sqlite-journal"]
    other = Numbers(width=160)
    (records,) = run(job(other), 40, checkpoint=path)
    (again,) = run(job(other), 40, checkpoint=path)
    assert np.array_equal(records["cov"], again["cov"])
    assert os.listdir(path.parent) == ["run.sqlite"]


def kill_while_writing(path, statement):
    """Leave a hot journal: pages of an unfinished transaction are in the file already."""
    code = (
        "import os, signal, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('PRAGMA cache_size = 1'); c.execute('BEGIN'); c.execute(sys.argv[2]);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    before = path.read_bytes()
    result = subprocess.run([sys.executable, "-c", code, str(path), statement])
    assert result.returncode == -signal.SIGKILL
    assert path.read_bytes() != before


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_commit_that_was_cut_off_is_taken_back(path):
    before = path.read_bytes()
    kill_while_writing(path, "UPDATE chunks SET data = zeroblob(length(data))")
    (records,) = run(job(), 40, checkpoint=path)
    assert np.array_equal(records["mean"], run(job(), 40)[0]["mean"])
    assert path.read_bytes() == before
    kill_while_writing(path, "UPDATE chunks SET data = zeroblob(length(data))")
    assert stored_seeds(path)[0].entropy == 7


def test_chunks_are_saved_together_or_not_at_all(path):
    def rows():
        yield Row(0, 20, 1, bytes(8))
        raise KeyboardInterrupt

    with opened(path, BINDING) as checkpoint:
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(rows())
        assert len(list(checkpoint.rows())) == 10
        checkpoint.save([Row(0, 20, 1, bytes(8)), Row(0, 20, 1, bytes(16))])
        assert len(list(checkpoint.rows())) == 11
    assert os.listdir(path.parent) == ["run.sqlite"]


def test_a_full_disk_is_an_os_error(path):
    with opened(path, BINDING) as checkpoint:
        checkpoint._connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(OSError, match="cannot be read or written: database or disk is full"):
            checkpoint.save([Row(0, 20, 1, bytes(10**6))])
    run(job(), 40, checkpoint=path)


def test_the_journal_mode_of_a_file_is_taken_back(path):
    change(path, "PRAGMA journal_mode = wal")
    (records,) = run(job(), 48, checkpoint=path)
    assert np.array_equal(records["mean"], run(job(), 48)[0]["mean"])
    assert os.listdir(path.parent) == ["run.sqlite"]
    says_what_it_is(path, 48)


def test_names_may_hold_any_character(tmp_path):
    path = tmp_path / "a b?c#d%20&mode=ro é.sqlite"
    run(job(), 4, checkpoint=path)
    run(job(), 8, checkpoint=str(path))
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("name", ["a\0b", ":memory:"])
def test_names_that_no_file_can_have_are_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for checkpoint in (name, Path(name)):
        with pytest.raises(ValueError, match=r"^checkpoint must be a (path without null|file: ':memory:')"):
            run(job(), 4, checkpoint=checkpoint)
    assert os.listdir(tmp_path) == []
