"""Carries out the trials of samplers: seeds and chunks, threads or any executor, a progress bar, a checkpoint.

Randomness. Each job has a root `numpy.random.SeedSequence`. Its trials come in chunks, whose size is the sampler's, a
function of the problem's shape only; chunk c draws from the root's child ``spawn_key + (c,)``, trial by trial, with
streams of its own for each role (target, source k, …). So the results are the same bits for any number of workers and
any executor, in whatever order chunks finish, and whether or not the run was interrupted; a longer run starts with the
shorter one; and the caller's seeds are left as they were.

Work. A task is a module-level function of plain data: a sampler, a seed and a number of trials. A bounded number of
tasks is under way at any time, and of bytes where they are pickled; results go to their place as they arrive, and those
that arrived together are saved together. BLAS runs on one thread meanwhile, wherever the task is.

Failure. Whatever stops a run, an error or Ctrl-C: no further chunk is started, the runner's own threads finish theirs,
and what is finished is saved. Ctrl-C once more does not wait for the threads. An error of a sampler comes out as it is.
An executor that fails, because a worker died, say, ends in a `RuntimeError` that tells what is saved.
"""

import os
import pickle
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, Protocol

import numpy as np
from tqdm import tqdm

from rmt_alpha._blas import one_blas_thread
from rmt_alpha._random import child
from rmt_alpha._validation import FloatArray, check_memory, integer
from rmt_alpha.simulation.checkpoint import (
    LARGEST_CHUNK,
    Binding,
    Checkpoint,
    PathLike,
    Row,
    checkpoint_path,
    damaged,
    opened,
    pack,
    unpack,
)

STREAM_VERSION = 1
"""Raised whenever the same seed would give other numbers than before; checkpoints of another version are refused."""

_WINDOW = 1024
"""Tasks under way in an executor at most, or two for each of its workers."""

_IN_FLIGHT = 2**28
"""Bytes of pickled tasks under way in an executor at most, or four tasks: some pickle what is submitted at once."""


class Sampler(Protocol):
    """Carries out trials: a frozen dataclass of plain data, which can be pickled."""

    @property
    def chunk(self) -> int:
        """Trials per chunk, a function of the problem's shape only."""
        ...

    @property
    def specification(self) -> dict[str, Any]:
        """The problem and the method in terms of JSON: what a checkpoint is bound to."""
        ...

    @property
    def record(self) -> dict[str, tuple[int, ...]]:
        """Arrays of one trial: their names and shapes."""
        ...

    @property
    def memory(self) -> float:
        """Bytes that a chunk in work needs, beside its records."""
        ...

    def sample(self, root: np.random.SeedSequence, trials: int) -> dict[str, FloatArray]:
        """Carry out the first trials of the chunk with this root; fewer trials are the beginning of more.

        Parameters
        ----------
        root : SeedSequence
            The chunk's root.
        trials : int
            Number of trials.

        Returns
        -------
        dict of ndarray
            The arrays of `record`, with a leading trials axis.
        """
        ...


@dataclass(frozen=True, eq=False)
class Job:
    """A sampler with its seed.

    Parameters
    ----------
    sampler : Sampler
        What to repeat.
    root : SeedSequence
        Root of all its randomness.
    """

    sampler: Sampler
    root: np.random.SeedSequence


def run(
    jobs: Iterable[Job],
    trials: int,
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    progress: bool = False,
    checkpoint: PathLike | None = None,
) -> list[dict[str, FloatArray]]:
    """Carry out trials of every job.

    Parameters
    ----------
    jobs : iterable of Job
        What to carry out.
    trials : int
        Number of trials of each.
    executor : concurrent.futures.Executor, optional
        Where the work is done. By default in threads of this process. The executor is used, and left open.
    workers : int, optional
        Number of threads, by default the CPUs that this process may use; left out with an executor, which has its own.
    progress : bool, default False
        Show a bar on standard error, in trials.
    checkpoint : path, optional
        File that keeps finished chunks. If it is there the run continues what it holds.

    Returns
    -------
    list of dict of ndarray
        For each job the arrays of its sampler's record, with a leading trials axis.

    Raises
    ------
    ValueError
        If an argument is outside its range, the work would not fit in memory, the checkpoint is damaged, in use or
        belongs to another run, or a sampler says so.
    OSError
        If the checkpoint cannot be read or written.
    RuntimeError
        If the executor fails: a worker died, say.

    Examples
    --------
    >>> from rmt_alpha.problem import Experiment
    >>> from rmt_alpha.simulation.dense import isotropic
    >>> sampler = isotropic(Experiment(0.8, n=20, p=40, gamma=0.1))
    >>> (records,) = run([Job(sampler, np.random.SeedSequence(0))], trials=10, workers=2)
    >>> records["mean"].shape
    (10, 2)
    """
    jobs, trials = list(jobs), integer("trials", trials)
    if trials > 2**53:  # beyond float64, in which memory is counted
        raise ValueError(f"trials must be at most 2^53, got about 2^{trials.bit_length()}")
    if not isinstance(progress, bool | np.bool_):
        raise ValueError(f"progress must be True or False, got {progress!r}")
    if executor is not None and not isinstance(executor, Executor):
        raise ValueError(
            f"executor must be a concurrent.futures.Executor, got {type(executor).__name__} "
            f"(a Dask client has one: client.get_executor(pure=False))"
        )
    if executor is not None and workers is not None:
        raise ValueError(f"workers must be left out with an executor, which has its own, got {workers!r}")
    if executor is not None:
        workers = _workers(executor)
    else:
        workers = _cpus() if workers is None else integer("workers", workers)
    size = 0 if executor is None else max((_pickled(job.sampler) for job in jobs), default=0)
    chunks = sum(-(-trials // job.sampler.chunk) for job in jobs)
    window = min(2 * workers if executor is None else _window(size, workers), chunks)
    workers = min(workers, chunks)
    path = None if checkpoint is None else checkpoint_path(checkpoint)
    _require_memory(jobs, trials, workers, (window + workers) * size, saved=path is not None)

    with ExitStack() as stack:
        stack.enter_context(one_blas_thread())
        saved = None if path is None else stack.enter_context(opened(path, _binding(jobs)))
        ledger = _Ledger(jobs, trials, saved)
        if progress:
            bar = _Bar(total=len(jobs) * trials, initial=ledger.trials_done(), desc="trials", unit="trial")
            ledger.bar = stack.enter_context(bar)
        if executor is not None:
            _work(ledger, executor, window)
        elif not ledger.complete():
            with _Threads(workers) as threads:
                _work(ledger, threads, window)
        return ledger.records


class _Bar(tqdm):  # type: ignore[misc]
    """A bar without a thread that watches it: one that waits for the bar's lock would keep Ctrl-C from ending."""

    monitor_interval = 0


class _Threads(Executor):
    """Threads whose end nobody has to wait for: Python itself would wait for those of `ThreadPoolExecutor`."""

    def __init__(self, workers: int) -> None:
        self._tasks: SimpleQueue[Any] = SimpleQueue()
        self._threads = [Thread(target=self._run, name=f"rmt_alpha_{i}", daemon=True) for i in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Any, /, *args: Any) -> Future[Any]:  # type: ignore[override]
        future: Future[Any] = Future()
        self._tasks.put((future, function, args))
        return future

    def _run(self) -> None:
        for future, function, args in iter(self._tasks.get, None):
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*args))
                except BaseException as error:
                    future.set_exception(error)

    def end(self, *, join: bool) -> None:
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads if join else ():
            thread.join()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.end(join=kind is None)  # else they have ended in `_settle`, unless Ctrl-C came again


class _Chunk(NamedTuple):
    """Trials that are carried out together."""

    job: int
    number: int
    trials: int


class _Failure(NamedTuple):
    """An error of a sampler. A task returns it, so that what a task raises is the executor's own failure."""

    error: Exception
    text: str

    def throw(self) -> None:
        if self.error.__traceback__ is None:  # lost between processes
            self.error.add_note(self.text)
        raise self.error


class _Lost(Exception):  # noqa: N818 - a signal inside this module
    """The executor did not bring a result; its own error is the cause."""


def _sample(sampler: Sampler, root: np.random.SeedSequence, trials: int) -> dict[str, FloatArray] | _Failure:
    """Carry out a chunk: the task that executors see."""
    try:
        with one_blas_thread():
            return sampler.sample(root, trials)
    except Exception as error:
        return _Failure(error, traceback.format_exc())


class _Ledger:
    """What of a run is finished: the records, and in step with them the checkpoint and the bar."""

    def __init__(self, jobs: list[Job], trials: int, checkpoint: Checkpoint | None) -> None:
        self.jobs = jobs
        self.bar: Any = None
        self.records = [
            {name: np.empty((trials, *shape)) for name, shape in job.sampler.record.items()} for job in jobs
        ]
        self._trials = trials
        self._sizes = [job.sampler.chunk for job in jobs]
        self._done = [np.zeros(-(-trials // size), dtype=bool) for size in self._sizes]
        self._unsaved: list[tuple[_Chunk, dict[str, FloatArray]]] = []
        self._checkpoint = checkpoint
        if checkpoint is not None:
            self._restore(checkpoint)

    def _chunk(self, job: int, number: int) -> _Chunk:
        size = self._sizes[job]
        return _Chunk(job, number, min(size, self._trials - number * size))

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Take chunks from the checkpoint: cut what holds more trials than wanted, leave out what holds fewer."""
        for row in checkpoint.rows():
            arrays = None
            if 0 <= row.job < len(self.jobs) and row.chunk >= 0 and 0 < row.trials <= self._sizes[row.job]:
                arrays = unpack(row.data, self.jobs[row.job].sampler.record, row.trials)
            if arrays is None:
                raise damaged(checkpoint.path, f"chunk {row.chunk} of job {row.job} has no place in this run")
            if row.chunk < len(self._done[row.job]):
                chunk = self._chunk(row.job, row.chunk)
                if row.trials >= chunk.trials:
                    self._place(chunk, {name: array[: chunk.trials] for name, array in arrays.items()})

    def _place(self, chunk: _Chunk, arrays: dict[str, FloatArray]) -> None:
        start = chunk.number * self._sizes[chunk.job]
        for name, array in self.records[chunk.job].items():
            array[start : start + chunk.trials] = arrays[name]
        self._done[chunk.job][chunk.number] = True

    def todo(self) -> Iterator[_Chunk]:
        """Yield the chunks that are not finished, job after job."""
        for job, done in enumerate(self._done):
            for number in np.flatnonzero(~done):
                yield self._chunk(job, int(number))

    def enter(self, chunk: _Chunk, arrays: dict[str, FloatArray]) -> None:
        """Put the results of a chunk in their place."""
        if not self._done[chunk.job][chunk.number]:
            self._place(chunk, arrays)
            if self._checkpoint is not None:
                self._unsaved.append((chunk, arrays))
            if self.bar is not None:
                self.bar.update(chunk.trials)

    def save(self) -> None:
        """Save what has been entered since the last time."""
        if self._checkpoint is not None and self._unsaved:
            self._checkpoint.save(
                Row(*chunk, pack(arrays, self.jobs[chunk.job].sampler.record)) for chunk, arrays in self._unsaved
            )
            self._unsaved.clear()

    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return all(done.all() for done in self._done)

    def trials_done(self) -> int:
        """Count the finished trials of all jobs."""
        return sum(
            int(np.minimum(size, self._trials - size * np.flatnonzero(done)).sum())
            for done, size in zip(self._done, self._sizes, strict=True)
        )

    def obituary(self, cause: BaseException | None) -> str:
        """Say what an executor's failure leaves."""
        finished, total = sum(int(done.sum()) for done in self._done), sum(len(done) for done in self._done)
        kept = (
            "without a checkpoint they are lost"
            if self._checkpoint is None
            else f"they are kept in {self._checkpoint.path}, and the same call finishes the run"
        )
        return (
            f"the executor failed, a worker may have died ({type(cause).__name__}: {cause}); "
            f"{finished} of {total} chunks are finished: {kept}"
        )


def _work(ledger: _Ledger, executor: Executor, window: int) -> None:
    """Carry out what the ledger has to do, at most `window` chunks at a time."""
    arrived: SimpleQueue[Future[Any]] = SimpleQueue()
    pending: dict[Future[Any], _Chunk] = {}
    todo = ledger.todo()
    try:
        while True:
            for chunk in islice(todo, window - len(pending)):
                future = _submit(executor, ledger.jobs[chunk.job], chunk)
                pending[future] = chunk
                future.add_done_callback(arrived.put)
            if not pending:
                return
            for future in _together(arrived):
                ledger.enter(pending[future], _result(future))
                del pending[future]
            ledger.save()
    except BaseException as error:
        _settle(ledger, executor, pending)
        if isinstance(error, _Lost):
            raise RuntimeError(ledger.obituary(error.__cause__)) from error.__cause__
        raise


def _submit(executor: Executor, job: Job, chunk: _Chunk) -> Future[Any]:
    try:
        return executor.submit(_sample, job.sampler, child(job.root, chunk.number), chunk.trials)
    except Exception as error:
        raise _Lost from error


def _result(future: Future[Any]) -> dict[str, FloatArray]:
    try:
        result = future.result()
    except Exception as error:
        raise _Lost from error
    if isinstance(result, _Failure):
        result.throw()
    return result  # type: ignore[no-any-return]


def _together(arrived: "SimpleQueue[Future[Any]]") -> Iterator[Future[Any]]:
    """Wait for one, then yield all that are there."""
    yield arrived.get()
    try:
        while True:
            yield arrived.get_nowait()
    except Empty:
        return


def _settle(ledger: _Ledger, executor: Executor, pending: dict[Future[Any], _Chunk]) -> None:
    """Start nothing more, let our own threads finish, and save what is finished."""
    ledger.save()  # before waiting, which a second Ctrl-C may end
    running = [future for future in pending if not future.cancel()]
    if isinstance(executor, _Threads):
        wait(running)
        executor.end(join=True)
    for future in running:
        if future.done() and future.exception() is None:
            result = future.result()
            if not isinstance(result, _Failure):
                ledger.enter(pending[future], result)
    ledger.save()


def _binding(jobs: list[Job]) -> Binding:
    """Say what a run is; the sampler's chunks belong to it, since they decide where a stored chunk's trials go."""
    specifications = [job.sampler.specification | {"trials_per_chunk": job.sampler.chunk} for job in jobs]
    return Binding(_streams(), [job.root for job in jobs], specifications)


def _streams() -> dict[str, str]:
    """Say what the random numbers of a seed depend on.

    NumPy may change a Generator's numbers in any feature release (NEP 19), and Numba compiles a Generator's methods of
    its own. Releases that only mend either leave its numbers alone: so X.Y is kept, and a run survives them.
    """
    made_of = {name: ".".join(version(name).split(".")[:2]) for name in ("numpy", "numba")}
    return {"stream version": str(STREAM_VERSION), **made_of}


def _cpus() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _workers(executor: Executor) -> int:
    """Return how many workers of an executor share the memory of this machine, as far as that can be told; else 1."""
    here = isinstance(executor, ProcessPoolExecutor | ThreadPoolExecutor)
    return int(getattr(executor, "_max_workers", 1)) if here else 1


def _pickled(sampler: Sampler) -> int:
    """Return the bytes that a sampler takes on its way to a worker."""
    try:
        return len(pickle.dumps(sampler))
    except Exception:  # threads take it as it is; any other executor will say what it cannot pickle
        return 0


def _window(size: int, workers: int) -> int:
    """Return how many tasks of so many bytes may be under way in an executor: enough to keep its workers busy."""
    return max(min(_IN_FLIGHT // max(size, 1), _WINDOW), 4, 2 * workers)


def _require_memory(jobs: list[Job], trials: int, workers: int, pickles: int, *, saved: bool) -> None:
    """Refuse what would not fit: the records of all trials, and what is in work or on its way at the same time."""
    sizes = [8.0 * sum(float(np.prod(shape, dtype=float)) for shape in job.sampler.record.values()) for job in jobs]
    records = trials * sum(sizes)
    check_memory(f"the records of trials={trials} of {len(jobs)} problem(s)", records)
    if jobs:
        largest = max((job.sampler for job in jobs), key=lambda sampler: sampler.memory)
        numbers = ", ".join(f"{k}={v}" for k, v in largest.specification.items() if isinstance(v, int | float))
        check_memory(
            f"workers={workers} at a problem of {numbers}, beside the records of trials={trials},",
            records + workers * largest.memory + pickles,
        )
    for job, size in zip(jobs, sizes, strict=True):
        if saved and min(trials, job.sampler.chunk) * size > LARGEST_CHUNK:
            raise ValueError(
                f"checkpoint must be left out: it holds chunks of up to {LARGEST_CHUNK / 2**20:g} MiB, those of "
                f"this run have {job.sampler.chunk * size / 2**20:.3g}"
            )
