"""Checkpoints: the finished chunks of one run, in one SQLite file that survives whatever stops the run.

A checkpoint is bound to its problems, their seeds and what makes random numbers of these, not to the number of trials:
a run may be continued, cut or extended. The file (rollback journal, no companion files save while it is written) holds

    meta      one row: streams, seeds and specifications (JSON), and the SHA-256 of the three
    chunks    job, chunk, trials; data: the arrays, in the order of the sampler's record, each as little-endian float64
              with the trials in front; and the SHA-256 of the four

with this package's mark as application id and the format as user version.

What is found at the path is never trusted. SQLite's own view of the header, read without a lock and without recovery,
must show a checkpoint before the file is opened for writing; then one process at a time holds it, from the first check
to the last chunk. All pages and all sums are verified before anything is written, so that a file that is refused stays
as it was, byte for byte. (Recovery of a commit that was cut off is SQLite's, and comes before those checks.)
"""

import hashlib
import json
import operator
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rmt_alpha._validation import FloatArray

PathLike = str | os.PathLike[str]

FORMAT = 1
"""Raised when older versions of this package could not read the file."""

LARGEST_CHUNK = 2**29
"""Bytes of one chunk's arrays, safely below SQLite's limit."""

_APPLICATION = int.from_bytes(b"rmta", "big")

_TABLES = """
CREATE TABLE meta (streams TEXT, seeds TEXT, specification TEXT, sha256 TEXT);
CREATE TABLE chunks (
    job INTEGER, chunk INTEGER, trials INTEGER, data BLOB, sha256 TEXT, PRIMARY KEY (job, chunk)
);
"""


class Binding(NamedTuple):
    """What a checkpoint belongs to.

    Parameters
    ----------
    streams : dict
        Versions, by name, of all that makes random numbers of a seed: it gives the same numbers only where all agree.
    seeds : sequence of SeedSequence
        One for each job.
    specifications : sequence of dict
        One JSON-able description for each job.
    """

    streams: dict[str, str]
    seeds: Sequence[np.random.SeedSequence]
    specifications: Sequence[dict[str, Any]]

    def row(self) -> tuple[str, str, str]:
        """Return the three values as they are stored."""
        seeds = [_seed_to_plain(seed) for seed in self.seeds]
        return _json(self.streams), _json(seeds), _json(list(self.specifications))


class Row(NamedTuple):
    """A finished chunk.

    Parameters
    ----------
    job, chunk : int
        Place of the job among the jobs, and of the chunk in the job.
    trials : int
        How many trials it holds.
    data : bytes
        The arrays, see `pack` and `unpack`.
    """

    job: int
    chunk: int
    trials: int
    data: bytes

    def sha256(self) -> str:
        """Return the sum that tells whether the row is as it was written."""
        return _sha256(repr((self.job, self.chunk, self.trials)).encode(), self.data)


class Checkpoint:
    """A checkpoint that is open, for this process alone; made by `opened`.

    Parameters
    ----------
    path : Path
        The file.
    connection : sqlite3.Connection
        Holds the lock of the file.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    def rows(self) -> Iterator[Row]:
        """Read the finished chunks one by one.

        Yields
        ------
        Row
            Whose sum has been checked.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        with _speaking_of(self.path):
            query = "SELECT job, chunk, trials, data, sha256 FROM chunks"
            for job, chunk, trials, data, sha256 in self._connection.execute(query):
                if not isinstance(data, bytes) or Row(job, chunk, trials, data).sha256() != sha256:
                    raise damaged(self.path, f"the sum of chunk {chunk} of job {job} is wrong")
                yield Row(job, chunk, trials, data)

    def save(self, rows: Iterable[Row]) -> None:
        """Write finished chunks in one transaction: all are kept, or none.

        Parameters
        ----------
        rows : iterable of Row
            Rows of a chunk that is there already replace it.

        Raises
        ------
        OSError
            If they cannot be written: the disk is full, say.
        """
        with _speaking_of(self.path), self._connection as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO chunks VALUES (?, ?, ?, ?, ?)", ((*row, row.sha256()) for row in rows)
            )


def checkpoint_path(checkpoint: object) -> Path:
    """Return the path of a checkpoint.

    Parameters
    ----------
    checkpoint : str or os.PathLike
        As a user gives it.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    ValueError
        If it is something else, or no file can have this name.
    """
    if not isinstance(checkpoint, str | os.PathLike) or not isinstance(os.fspath(checkpoint), str):
        raise ValueError(f"checkpoint must be a path, got {checkpoint!r}")
    path = os.fspath(checkpoint)
    if "\0" in path:
        raise ValueError(f"checkpoint must be a path without null characters, got {path!r}")
    if path == ":memory:":
        raise ValueError("checkpoint must be a file: ':memory:', SQLite's name for none, would keep nothing")
    return Path(path)


def pack(arrays: dict[str, FloatArray], record: dict[str, tuple[int, ...]]) -> bytes:
    """Return arrays as bytes.

    Parameters
    ----------
    arrays : dict of ndarray
        Trials in front, then the shape that `record` gives.
    record : dict
        Names and shapes of a trial's arrays.

    Returns
    -------
    bytes
        Of all arrays, one after the other.
    """
    return b"".join(np.ascontiguousarray(arrays[name], dtype="<f8").tobytes() for name in record)


def unpack(data: bytes, record: dict[str, tuple[int, ...]], trials: int) -> dict[str, FloatArray] | None:
    """Return the arrays of `pack`.

    Parameters
    ----------
    data : bytes
        What `pack` returned.
    record : dict
        Names and shapes of a trial's arrays.
    trials : int
        Number of trials.

    Returns
    -------
    dict of ndarray or None
        None if the number of bytes is another one.
    """
    numbers = np.frombuffer(data, dtype="<f8") if len(data) % 8 == 0 else np.empty(0)
    sizes = [trials * int(np.prod(shape, dtype=int)) for shape in record.values()]
    if len(numbers) != sum(sizes):
        return None
    parts = np.split(numbers, np.cumsum(sizes)[:-1])
    return {name: part.reshape(trials, *shape) for (name, shape), part in zip(record.items(), parts, strict=True)}


@contextmanager
def opened(path: Path, binding: Binding) -> Iterator[Checkpoint]:
    """Open the checkpoint of a run, or create it where nothing is.

    Parameters
    ----------
    path : Path
        The file.
    binding : Binding
        What the run is.

    Yields
    ------
    Checkpoint
        With every page checked, and nothing new in it yet.

    Raises
    ------
    ValueError
        If the file is no checkpoint, damaged, in use by another run, in a newer format, or belongs to another problem,
        seed or version of the random streams.
    OSError
        If it cannot be read or written.
    """
    if not path.exists():
        _create(path, binding)
    _require_checkpoint(path)
    with closing(_connect(path, "rw", timeout=0.5)) as connection:
        with _speaking_of(path):
            connection.execute("BEGIN EXCLUSIVE")
            # the lock is to outlive this transaction; asked for before it, the mode would let processes that start
            # together keep their shared locks while each waits for the others to leave, until all give up
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            faults = connection.execute("PRAGMA integrity_check(1)").fetchall()
            if faults != [("ok",)]:
                raise damaged(path, faults[0][0])
            _compare(path, _read_meta(path, connection), binding.row())
            connection.execute("UPDATE meta SET sha256 = sha256")  # no work for a file that cannot be written
            connection.commit()
            connection.execute("PRAGMA journal_mode = DELETE")
        yield Checkpoint(path, connection)


def stored_seeds(path: Path) -> list[np.random.SeedSequence] | None:
    """Return the seeds of a checkpoint's jobs.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    list of SeedSequence or None
        None if there is no file.

    Raises
    ------
    ValueError, OSError
        As in `opened`.
    """
    if not path.exists():
        return None
    _require_checkpoint(path)
    with closing(_connect(path, "rw", timeout=0.5)) as connection, _speaking_of(path):
        _, seeds, _ = _read_meta(path, connection)
    return [_seed_from_plain(seed) for seed in json.loads(seeds)]


def damaged(path: Path, how: str) -> ValueError:
    """Make the error for a checkpoint that is not as it was written.

    Parameters
    ----------
    path : Path
        The file.
    how : str
        What is wrong with it.

    Returns
    -------
    ValueError
        To be raised.
    """
    return ValueError(f"checkpoint {path} is damaged ({how}): it was left as it is; move it away to start anew")


def _create(path: Path, binding: Binding) -> None:
    """Let the file appear complete: a process that is killed here leaves nothing under its name."""
    with closing(sqlite3.connect(":memory:")) as memory:
        memory.executescript(_TABLES)
        memory.execute(f"PRAGMA application_id = {_APPLICATION}")
        memory.execute(f"PRAGMA user_version = {FORMAT}")
        row = binding.row()
        memory.execute("INSERT INTO meta VALUES (?, ?, ?, ?)", (*row, _sha256(repr(row).encode())))
        memory.commit()
        content = memory.serialize()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        # the journal of a file that is gone would be played back into the new one
        Path(f"{path}-journal").unlink(missing_ok=True)
        try:
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _move(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"the checkpoint cannot be created: {error.strerror}", str(path)) from None


def _move(temporary: Path, path: Path) -> None:
    """Give the file its name, unless another process was faster: then that file counts, and is opened next."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:  # no hard links on this file system
        os.replace(temporary, path)


def _require_checkpoint(path: Path) -> None:
    """Refuse what SQLite does not know, or what its header says is not ours; no lock, no recovery, nothing written."""
    if not path.is_file():
        raise ValueError(f"checkpoint must be a file, {path} is something else")
    with _speaking_of(path), closing(_connect(path, "ro&immutable=1", timeout=0.0)) as connection:
        # SQLite reads the header, for reading and closing the file ourselves would drop this process's locks on it
        ((application,),) = connection.execute("PRAGMA application_id")
        ((version,),) = connection.execute("PRAGMA user_version")
    if application != _APPLICATION:
        raise ValueError(f"{path} is not a checkpoint of this package: it was left as it is")
    if version != FORMAT:
        raise ValueError(f"checkpoint {path} has format {version}, this version of the package reads format {FORMAT}")


def _connect(path: Path, mode: str, timeout: float) -> sqlite3.Connection:
    with _speaking_of(path):
        return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=timeout)


def _read_meta(path: Path, connection: sqlite3.Connection) -> tuple[str, str, str]:
    rows = connection.execute("SELECT streams, seeds, specification, sha256 FROM meta").fetchall()
    if len(rows) != 1 or _sha256(repr(rows[0][:3]).encode()) != rows[0][3]:
        raise damaged(path, "the sum of its description is wrong")
    return rows[0][:3]  # type: ignore[no-any-return]


@contextmanager
def _speaking_of(path: Path) -> Iterator[None]:
    """Say what SQLite's errors mean for a checkpoint."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorname", "")
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise ValueError(f"checkpoint {path} is in use by another run") from None
        if code.startswith("SQLITE_NOTADB"):
            raise ValueError(f"{path} is not a checkpoint, or is a damaged one: it was left as it is") from None
        if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_FULL", "SQLITE_IOERR")):
            raise OSError(f"checkpoint {path} cannot be read or written: {error}") from error
        raise damaged(path, str(error)) from error


def _compare(path: Path, theirs: tuple[str, str, str], ours: tuple[str, str, str]) -> None:
    """Refuse a checkpoint of another run, and say what differs first."""
    if theirs[0] != ours[0]:
        where, old, new = _difference(json.loads(theirs[0]), json.loads(ours[0]))
        raise ValueError(
            f"checkpoint {path} was made with {where} {old}, this run draws with {where} {new}: "
            f"there the same seed may give other numbers"
        )
    for name, there, here in (("problem", theirs[2], ours[2]), ("seed", theirs[1], ours[1])):
        if there != here:
            where, old, new = _difference(json.loads(there), json.loads(here))
            raise ValueError(f"checkpoint {path} belongs to another {name}: {where} is {old} there and {new} here")


def _difference(there: Any, here: Any, where: str = "") -> tuple[str, str, str]:
    """Return the place of the first difference of two JSON values, and both values."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted({*there, *here}):
            if key not in there or key not in here or there[key] != here[key]:
                return _difference(there.get(key), here.get(key), f"{where}.{key}" if where else key)
    if isinstance(there, list) and isinstance(here, list):
        if len(there) != len(here):
            return f"the number of {where or 'jobs'}", str(len(there)), str(len(here))
        for i, (old, new) in enumerate(zip(there, here, strict=True)):
            if old != new:
                # one job is the usual number: its place says nothing
                return _difference(old, new, where if not where and len(here) == 1 else f"{where or 'jobs'}[{i}]")
    return where, _short(there), _short(here)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _sha256(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _seed_to_plain(seed: np.random.SeedSequence) -> dict[str, Any]:
    return {
        "entropy": _integers(seed.entropy),
        "spawn_key": _integers(seed.spawn_key),
        "pool_size": seed.pool_size,
    }


def _seed_from_plain(plain: dict[str, Any]) -> np.random.SeedSequence:
    return np.random.SeedSequence(plain["entropy"], spawn_key=plain["spawn_key"], pool_size=plain["pool_size"])


def _integers(entropy: Any) -> Any:
    """Return what NumPy takes as entropy, in types that JSON knows."""
    if isinstance(entropy, str):
        return entropy
    try:
        return operator.index(entropy)
    except TypeError:
        return [_integers(each) for each in entropy]
