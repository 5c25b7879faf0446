"""The runner: the same bits whoever does the work and however often it is stopped, and clear words where it fails."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import distributed
import numpy as np
import pytest
import threadpoolctl

from rmt_alpha import _blas
from rmt_alpha._blas import one_blas_thread
from rmt_alpha._random import child
from rmt_alpha._validation import _memory_limit
from rmt_alpha.simulation import runner
from rmt_alpha.simulation.checkpoint import opened
from rmt_alpha.simulation.runner import Job, run
from tests.simulation.samplers import Faulty, Heavy, Numbers, Threads, two_blas_threads

NUMBERS = Numbers()
ROOT = np.random.SeedSequence(7)
TRIALS = 26  # seven chunks, the last one short
REPOSITORY = Path(__file__).parents[2]


def expected(sampler=NUMBERS, trials=TRIALS, root=ROOT):
    starts = range(0, trials, sampler.chunk)
    parts = [sampler.sample(child(root, c), min(sampler.chunk, trials - start)) for c, start in enumerate(starts)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def run_one(sampler=NUMBERS, trials=TRIALS, **options):
    return run([Job(sampler, ROOT)], trials, **options)[0]


class Shuffled(Executor):
    """Finishes what has been submitted in random order."""

    def __init__(self, seed=0):
        self.rng, self.tasks, self.submitted, self.most = np.random.default_rng(seed), [], 0, 0
        self.lock, self.stop = threading.Lock(), threading.Event()
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def submit(self, function, /, *args):
        future = Future()
        with self.lock:
            self.tasks.append((future, function, args))
            self.submitted += 1
            self.most = max(self.most, len(self.tasks))
        return future

    def work(self):
        while not self.stop.wait(0.003):
            with self.lock:
                taken, self.tasks = self.tasks, []
            for i in self.rng.permutation(len(taken)):
                future, function, args = taken[i]
                if future.set_running_or_notify_cancel():
                    future.set_result(function(*args))

    def shutdown(self, wait=True, *, cancel_futures=False):  # noqa: ARG002
        self.stop.set()
        self.thread.join()


class Immediate(Executor):
    """Does the work when it is submitted; one submission may raise an error instead, or bring a future that does."""

    def __init__(self, at=-1, raises=None, brings=None):
        self.at, self.raises, self.brings, self.submitted = at, raises, brings, 0

    def submit(self, function, /, *args):
        future = Future()
        if self.submitted == self.at and self.raises is not None:
            raise self.raises
        if self.submitted == self.at and self.brings is not None:
            future.set_exception(self.brings)
        else:
            future.set_result(function(*args))
        self.submitted += 1
        return future


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context, initializer=two_blas_threads) as pool:
        yield pool


def binding(sampler=NUMBERS):
    return runner._binding([Job(sampler, ROOT)])


def chunks_in(path, sampler=NUMBERS):
    with opened(path, binding(sampler)) as checkpoint:
        return sorted((row.chunk, row.trials) for row in checkpoint.rows())


# One result, whoever does the work.


@pytest.mark.parametrize("workers", [1, 2, 3, None, 50])
def test_any_number_of_threads_gives_the_same_bits(workers):
    assert same(run_one(workers=workers), expected())


def test_processes_give_the_same_bits_and_stay_open(processes):
    assert same(run_one(executor=processes), expected())
    assert same(run_one(executor=processes), expected())


def test_any_order_gives_the_same_bits():
    for seed in range(5):
        with Shuffled(seed) as executor:
            assert same(run_one(executor=executor), expected())


@pytest.mark.slow
def test_dask_gives_the_same_bits(tmp_path):
    path = tmp_path / "run.sqlite"
    options = {"n_workers": 2, "threads_per_worker": 2, "processes": True, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        executor = client.get_executor(pure=False)
        with pytest.raises(ValueError, match=r"get_executor"):
            run_one(executor=client)
        assert same(run_one(executor=executor), expected())
        assert run_one(Threads(), executor=executor)["threads"].max() == 1
        marker = tmp_path / "marker"
        marker.touch()
        faulty = Faulty(marker=str(marker))
        with pytest.raises(ValueError, match="gamma must be larger"):
            run_one(faulty, executor=executor, checkpoint=path)
        marker.unlink()
        assert same(run_one(faulty, executor=executor, checkpoint=path), expected())


@pytest.mark.slow
def test_a_dask_worker_that_dies_loses_its_own_chunks_only(tmp_path):
    path, marker = tmp_path / "run.sqlite", tmp_path / "marker"
    marker.touch()
    sampler = Faulty(marker=str(marker), how="exit")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with (
        distributed.LocalCluster(**options, silence_logs=50) as cluster,
        distributed.Client(cluster) as client,
        pytest.raises(RuntimeError, match=r"KilledWorker.* of 7 chunks are finished: they are kept in"),
    ):
        run_one(sampler, executor=client.get_executor(pure=False), checkpoint=path)
    assert len(chunks_in(path)) < 7
    marker.unlink()
    assert same(run_one(sampler, checkpoint=path), expected())


def test_a_longer_run_starts_with_the_shorter():
    long = run_one(trials=41)
    for trials in (1, 4, 5, 26):
        assert same(run_one(trials=trials), {name: array[:trials] for name, array in long.items()})


def test_jobs_have_their_own_shapes_chunks_and_seeds():
    jobs = [Job(Numbers(width, chunk), child(ROOT, width)) for width, chunk in [(1, 3), (5, 30), (2, 1)]]
    for got, job in zip(run(jobs, 10, workers=2), jobs, strict=True):
        assert same(got, expected(job.sampler, 10, job.root))
    assert run([], 10) == []
    assert ROOT.n_children_spawned == 0


def test_only_so_many_chunks_are_under_way():
    with Shuffled() as executor:
        run_one(Numbers(chunk=1), trials=3000, executor=executor)
        assert executor.submitted == 3000
        assert executor.most <= 1024


class Pickles(Executor):
    """Pickles what is submitted at once, and works when nobody is waiting; counts the bytes that are under way."""

    def __init__(self):
        self.bytes = self.most = 0

    def submit(self, function, /, *args):
        future, data = Future(), pickle.dumps((function, args))
        self.bytes += len(data)
        self.most = max(self.most, self.bytes)
        threading.Timer(0.05, self.work, (future, data)).start()
        return future

    def work(self, future, data):
        function, args = pickle.loads(data)
        self.bytes -= len(data)
        future.set_result(function(*args))


def test_only_so_many_bytes_are_under_way(monkeypatch):
    monkeypatch.setattr(runner, "_IN_FLIGHT", 10**6)
    executor = Pickles()
    heavy = Heavy(chunk=1, ballast=bytes(10**5))
    assert same(run_one(heavy, trials=40, executor=executor), expected(Numbers(chunk=1), 40))
    assert 5e5 < executor.most < 1.1e6


def test_the_window_keeps_all_workers_busy():
    assert runner._window(0, 1) == runner._window(1000, 1) == 1024
    assert runner._window(2**25, 1) == 8
    assert runner._window(2**30, 1) == 4
    assert runner._window(2**30, 10) == 20
    assert runner._window(10, 1000) == 2000


# BLAS.


def blas_threads():
    return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}


def test_blas_has_one_thread_wherever_the_work_is_done(processes):
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        for options in ({"workers": 3}, {"executor": processes}):
            assert run_one(Threads(), **options)["threads"].max() == 1
        with ThreadPoolExecutor(3) as threads:
            assert run_one(Threads(), executor=threads)["threads"].max() == 1
        assert blas_threads() == {2}


def test_blocks_that_overlap_lift_the_limit_with_the_last():
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        first, second = one_blas_thread(), one_blas_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert blas_threads() == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == {2}


def test_libraries_are_looked_for_again_once_more_is_loaded(monkeypatch):
    found = []

    class Counting(threadpoolctl.ThreadpoolController):
        def __init__(self):
            found.append(len(sys.modules))
            super().__init__()

    monkeypatch.setattr(_blas, "ThreadpoolController", Counting)
    monkeypatch.setattr(_blas, "_found", None)
    for _ in range(3):
        with one_blas_thread():
            pass
    assert len(found) == 1
    monkeypatch.setitem(sys.modules, "brings_a_blas", sys)
    with one_blas_thread():
        pass
    assert len(found) == 2


# Interruption.


@pytest.mark.parametrize("at", range(7))
def test_an_interrupted_run_is_finished_by_the_same_call(at, tmp_path):
    path = tmp_path / "run.sqlite"
    with pytest.raises(KeyboardInterrupt):
        run_one(executor=Immediate(at, raises=KeyboardInterrupt()), checkpoint=path)
    assert [chunk for chunk, _ in chunks_in(path)] == list(range(at))
    again = Immediate()
    assert same(run_one(executor=again, checkpoint=path), expected())
    assert again.submitted == 7 - at
    finished = Immediate()
    assert same(run_one(executor=finished, checkpoint=path), expected())
    assert finished.submitted == 0


@pytest.mark.parametrize("at", range(7))
def test_ctrl_c_between_chunks_of_threads_keeps_what_is_finished(at, tmp_path, monkeypatch):
    path, started = tmp_path / "run.sqlite", []

    class Remembers(Numbers):
        def sample(self, root, trials):
            started.append(root.spawn_key[-1])
            return super().sample(root, trials)

    class Bar(runner._Bar):
        updates = 0

        def update(self, n=1):
            Bar.updates += 1
            if Bar.updates == at + 1:
                raise KeyboardInterrupt
            return super().update(n)

    monkeypatch.setattr(runner, "_Bar", Bar)
    with pytest.raises(KeyboardInterrupt):
        run_one(Remembers(seconds=0.02), workers=2, checkpoint=path, progress=True)
    assert len(started) >= at + 1
    assert [chunk for chunk, _ in chunks_in(path)] == sorted(started)  # what was running was awaited
    monkeypatch.undo()
    assert same(run_one(workers=2, checkpoint=path), expected())


def test_an_interrupted_run_ends_its_threads():
    before = threading.active_count()
    with pytest.raises(ValueError, match="gamma"):
        run_one(Faulty(marker=__file__), trials=4000, workers=2)
    assert threading.active_count() == before


@pytest.mark.parametrize("trials", [1, 3, 4, 11, 12, 13, 24, 25, 27, 28, 60])
def test_a_run_can_be_continued_with_other_trials(trials, tmp_path):
    path = tmp_path / "run.sqlite"
    run_one(checkpoint=path)
    executor = Immediate()
    assert same(run_one(trials=trials, executor=executor, checkpoint=path), expected(trials=trials))
    # the last chunk holds 2 of 4 trials
    assert executor.submitted == (0 if trials <= 26 else -(-trials // 4) - 6)
    assert same(run_one(checkpoint=path), expected())
    assert len(chunks_in(path)) == max(7, -(-trials // 4))


def test_chunks_that_were_cut_stay_whole_in_the_checkpoint(tmp_path):
    path = tmp_path / "run.sqlite"
    run_one(trials=28, checkpoint=path)
    before = path.read_bytes()
    run_one(trials=5, checkpoint=path)
    assert path.read_bytes() == before


SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell takes from what it runs in the background
import numpy as np
from rmt_alpha.simulation.runner import Job, run
from tests.simulation.samplers import Numbers
if __name__ == "__main__":
    path, seconds = sys.argv[1], float(sys.argv[2])
    jobs = [Job(Numbers(chunk=1, seconds=seconds), np.random.SeedSequence(7))]
    print("started", flush=True)
    (records,) = run(jobs, 400, workers=2, checkpoint=path)
    print(len(records["mean"]), flush=True)
"""


def start(path, seconds):
    command = [sys.executable, "-c", SCRIPT, str(path), str(seconds)]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout.readline() == "started\n"
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_real_ctrl_c_leaves_a_usable_checkpoint(tmp_path):
    path = tmp_path / "run.sqlite"
    process = start(path, 0.02)
    while not path.exists():
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in err
    sampler = Numbers(chunk=1)
    assert 0 < len(chunks_in(path, sampler)) < 400
    assert same(run_one(sampler, trials=400, checkpoint=path), expected(sampler, 400))


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_second_ctrl_c_ends_the_process_in_the_middle_of_a_chunk(tmp_path):
    path = tmp_path / "run.sqlite"
    process = start(path, 60.0)
    while not path.exists():
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):  # waits for the chunks under way
        process.wait(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert "ignored" not in err
    assert chunks_in(path, Numbers(chunk=1)) == []


def test_a_second_ctrl_c_leaves_the_threads_to_themselves(tmp_path):
    path, release, started = tmp_path / "run.sqlite", threading.Event(), []

    class Waits(Numbers):
        def sample(self, root, trials):
            started.append(root.spawn_key[-1])
            release.wait(30)
            return super().sample(root, trials)

    def interrupt(*_):
        while len(started) < 2:
            time.sleep(0.001)
        raise KeyboardInterrupt

    before = set(threading.enumerate())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "_together", interrupt)
        patch.setattr(runner, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_one(Waits(), workers=2, checkpoint=path)
    threads = set(threading.enumerate()) - before
    assert len(threads) == 2
    release.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert sorted(started) == [0, 1]  # the others were taken back
    assert chunks_in(path) == []
    assert same(run_one(workers=2, checkpoint=path), expected())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_run_that_is_killed_ten_times_gives_the_same_bits(tmp_path):
    path, rng, kills, counts = tmp_path / "run.sqlite", np.random.default_rng(3), 0, []
    sampler = Numbers(chunk=1)
    while kills < 10:
        process = start(path, 0.02)
        time.sleep(rng.uniform(0.0, 0.3))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL  # it was not finished yet
        kills += 1
        counts.append(len(chunks_in(path, sampler)) if path.exists() else 0)
    assert counts == sorted(counts)  # nothing that was finished was lost
    assert 0 < counts[-1] < 400
    assert same(run_one(sampler, trials=400, checkpoint=path), expected(sampler, 400))
    assert [file.name for file in tmp_path.iterdir() if not file.name.startswith(".")] == ["run.sqlite"]


# Failure.


def test_a_worker_that_dies_loses_its_own_chunks_only(tmp_path):
    path, marker = tmp_path / "run.sqlite", tmp_path / "marker"
    marker.touch()
    sampler = Faulty(marker=str(marker), how="exit")
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(2, mp_context=context) as pool,
        pytest.raises(RuntimeError, match=r"a worker may have died \(BrokenProcessPool.* of 7 chunks") as error,
    ):
        run_one(sampler, executor=pool, checkpoint=path)
    kept = chunks_in(path)
    assert f"; {len(kept)} of 7 chunks are finished" in str(error.value)
    assert f"kept in {path}, and the same call finishes the run" in str(error.value)
    assert 3 <= len(kept) < 7  # the other worker went on while this one waited
    marker.unlink()
    assert same(run_one(sampler, checkpoint=path), expected())


def test_without_a_checkpoint_a_dead_executor_is_a_loss():
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="0 of 7 chunks are finished: without a checkpoint they are lost"):
        run_one(executor=executor)


@pytest.mark.parametrize("at", [0, 3, 6])
def test_whatever_an_executor_brings_is_its_own_failure(at, tmp_path):
    class KilledWorker(Exception):  # noqa: N818 - as Dask has it
        pass

    executors = Immediate(at, raises=KilledWorker("task")), Immediate(at, brings=KilledWorker("task"))
    for i, executor in enumerate(executors):
        path = tmp_path / f"{i}.sqlite"
        with pytest.raises(RuntimeError, match=r"KilledWorker: task"):
            run_one(executor=executor, checkpoint=path)
        assert len(chunks_in(path)) == (6 if i else at)  # what was submitted later is kept as well
        assert same(run_one(checkpoint=path), expected())


@pytest.mark.parametrize("where", ["threads", "processes"])
def test_an_error_of_a_sampler_comes_out_as_it_is(where, processes, tmp_path):
    path, marker = tmp_path / "run.sqlite", tmp_path / "marker"
    marker.touch()
    sampler = Faulty(marker=str(marker))
    options = {"workers": 2} if where == "threads" else {"executor": processes}
    with pytest.raises(ValueError, match=r"^gamma must be larger for these samples") as error:
        run_one(sampler, **options, checkpoint=path)
    notes = "".join(getattr(error.value, "__notes__", []))
    assert ("samplers.py" in notes) == (where == "processes")  # where it was raised is not lost
    assert len(chunks_in(path)) >= 3
    marker.unlink()
    assert same(run_one(sampler, **options, checkpoint=path), expected())


def test_a_sampler_that_cannot_be_pickled_is_told_from_one_that_fails(processes):
    class Local(Numbers):
        pass

    with pytest.raises(RuntimeError, match="ickle"):
        run_one(Local(), executor=processes)


# Arguments.


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"workers": 0}, "workers must be an integer of at least 1"),
        ({"workers": 1.5}, "workers must be an integer"),
        ({"workers": "two"}, "workers must be an integer"),
        ({"executor": 3}, "executor must be a concurrent.futures.Executor, got int"),
        ({"executor": Executor}, "executor must be"),
        ({"executor": Immediate(), "workers": 2}, "workers must be left out with an executor"),
        ({"trials": 0}, "trials must be"),
        ({"trials": 2.5}, "trials must be"),
        ({"trials": 2**54}, r"trials must be at most 2\^53, got about 2\^55"),
        ({"trials": 10**400}, r"trials must be at most 2\^53, got about 2\^1329"),
        ({"trials": 10**5000}, r"trials must be at most 2\^53"),
        ({"progress": "no"}, "progress must be True or False, got 'no'"),
        ({"progress": 1}, "progress must be True or False, got 1"),
        ({"progress": None}, "progress must be True or False, got None"),
        ({"checkpoint": "a\0b"}, "checkpoint must be a path without null characters"),
        ({"checkpoint": ":memory:"}, "checkpoint must be a file"),
        ({"checkpoint": 3}, "checkpoint must be a path, got 3"),
        ({"checkpoint": b"run.sqlite"}, "checkpoint must be a path"),
    ],
)
def test_bad_input_is_refused_by_name(options, text):
    with pytest.raises(ValueError, match=text):
        run_one(**options)


def test_what_would_not_fit_in_memory_is_refused_before_it_is_tried(tmp_path, monkeypatch):
    path = tmp_path / "run.sqlite"
    with pytest.raises(ValueError, match=r"the records of trials=10000000000000 .* would need .* GiB of memory"):
        run_one(trials=10**13, checkpoint=path)
    many = [Job(Numbers(width=1000), ROOT)] * 10**4
    with pytest.raises(ValueError, match=r"trials=100000 of 10000 problem"):
        run(many, 10**5)
    large = Numbers(memory=2.0**30)
    run_one(large, trials=1, workers=10**6)  # one chunk needs one worker
    with pytest.raises(ValueError, match=r"workers=2000 at a problem of width=2, beside the records of trials=8000"):
        run_one(large, trials=8000, workers=10**6, checkpoint=path)
    with pytest.raises(ValueError, match="workers=1 at"):
        run_one(Numbers(memory=2.0**60), executor=Immediate())
    third = Numbers(memory=_memory_limit() / 3.0)
    for pool in (ThreadPoolExecutor, ProcessPoolExecutor):
        with pool(5) as executor:
            run_one(third, trials=8, executor=executor)  # two chunks
            with pytest.raises(ValueError, match="workers=5 at a problem of width=2"):
                run_one(third, executor=executor, checkpoint=path)
    monkeypatch.setattr(runner, "_pickled", lambda _: 2**60)
    with pytest.raises(ValueError, match="workers=1 at"):
        run_one(executor=Immediate())
    monkeypatch.undo()
    with pytest.raises(ValueError, match="checkpoint must be left out: it holds chunks of up to 512 MiB"):
        run_one(Numbers(width=10**7), checkpoint=path)
    assert not path.exists()


# Progress.


def test_progress_is_on_standard_error_only_and_starts_where_the_checkpoint_does(tmp_path, capsys):
    path = tmp_path / "run.sqlite"
    run_one(trials=9, checkpoint=path)
    assert capsys.readouterr() == ("", "")
    bars = []

    class Bar(runner._Bar):
        def __init__(self, **options):
            bars.append(options)
            super().__init__(**options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "_Bar", Bar)
        run_one(checkpoint=path, progress=True)
        run_one(checkpoint=path, progress=True)
        run_one(trials=5, checkpoint=path, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "trials: 100%" in err
    assert "26/26" in err
    # the third chunk held one trial of four, and was done again
    assert [(bar["initial"], bar["total"]) for bar in bars] == [(8, 26), (26, 26), (5, 5)]


def test_cpus_are_those_that_this_process_may_use(monkeypatch):
    if hasattr(os, "sched_getaffinity"):
        assert runner._cpus() == len(os.sched_getaffinity(0))
        monkeypatch.delattr(os, "sched_getaffinity")
    assert runner._cpus() == os.cpu_count()
