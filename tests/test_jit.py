"""The Numba configuration: the cache follows the sources, and kernels give the same numbers without the compiler."""

import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest

import rmt_alpha as ra
from rmt_alpha import _jit
from rmt_alpha.theory.isotropic import effective_ridge, fixed_source_optimal_alpha, source_numbers

PACKAGE = pathlib.Path(_jit.__file__).parent


def run_python(code, **environment):
    """Run code in a fresh interpreter that finds this checkout first."""
    environment = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=PACKAGE.parent, env=environment, capture_output=True, text=True, check=False
    )


# The cache.


@pytest.fixture
def copied_package(tmp_path, monkeypatch):
    """A copy of the package's sources that `_jit` takes for its own."""
    copy = tmp_path / "rmt_alpha"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(_jit, "__file__", str(copy / "_jit.py"))
    return copy


def test_source_hash_changes_with_every_byte_of_every_source(copied_package):
    before = _jit._source_hash()
    for path in sorted(copied_package.rglob("*.py")):
        content = path.read_bytes()
        path.write_bytes(content + b"\n")
        assert _jit._source_hash() != before, path
        path.write_bytes(content)
        assert _jit._source_hash() == before
    kernel = copied_package / "theory" / "closed_form.py"
    kernel.write_bytes(kernel.read_bytes().replace(b"2.0", b"3.0", 1))
    assert _jit._source_hash() != before


def test_source_hash_changes_when_a_module_comes_or_moves(copied_package):
    before = _jit._source_hash()
    (copied_package / "theory" / "new.py").touch()
    added = _jit._source_hash()
    (copied_package / "theory" / "new.py").rename(copied_package / "new.py")
    assert len({before, added, _jit._source_hash()}) == 3


def test_source_hash_sees_nothing_but_sources(copied_package):
    before = _jit._source_hash()
    (copied_package / "notes.txt").write_text("not a source")
    assert _jit._source_hash() == before
    (copied_package / "laws.py").touch()  # a new date
    assert _jit._source_hash() == before


def test_cache_folder_is_named_after_the_sources(copied_package, tmp_path, monkeypatch):
    monkeypatch.setattr(_jit.config, "CACHE_DIR", str(tmp_path / "cache"))
    first = _jit._cache_path.__wrapped__()
    assert os.path.isdir(first)
    assert first == str(tmp_path / "cache" / f"rmt_alpha-{_jit._source_hash()}-{_jit._compiler_hash()}")
    (copied_package / "laws.py").write_text("changed")
    assert _jit._cache_path.__wrapped__() != first


def test_cache_folder_is_that_of_one_compiler_and_one_processor(tmp_path, monkeypatch):
    code = "from rmt_alpha import _jit; print(_jit._cache_path())"
    run = run_python(code, NUMBA_CACHE_DIR=str(tmp_path), NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    assert run.returncode == 0, run.stderr
    monkeypatch.setattr(_jit.config, "CACHE_DIR", str(tmp_path))
    here = _jit._cache_path.__wrapped__()
    monkeypatch.setattr(_jit.numba, "__version__", "0")
    assert len({run.stdout.strip(), here, _jit._cache_path.__wrapped__()}) == 3


def test_cache_that_cannot_be_made_or_written_is_none(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(_jit.config, "CACHE_DIR", str(tmp_path / "file" / "below"))
    assert _jit._cache_path.__wrapped__() is None
    monkeypatch.setattr(_jit.config, "CACHE_DIR", str(tmp_path))
    assert _jit._cache_path.__wrapped__() is not None
    monkeypatch.setattr(os, "access", lambda _path, mode: mode != os.W_OK)
    assert _jit._cache_path.__wrapped__() is None


def weigh(x, y):
    return x / y + 2.0 * y


def assert_works(kernel):
    assert kernel(3.0, 2.0) == 5.5
    np.testing.assert_array_equal(
        kernel(np.array([[1.0], [2.0]]), np.array([0.0, 4.0])), [[np.inf, 8.25], [np.inf, 8.5]]
    )


def test_kernels_work_without_a_cache(monkeypatch):
    monkeypatch.setattr(_jit, "_cache_path", lambda: None)
    assert_works(_jit.ufunc(weigh))


def test_kernels_work_without_the_compiler(monkeypatch):
    monkeypatch.setattr(_jit.config, "DISABLE_JIT", 1)
    assert_works(_jit.ufunc(weigh))


def test_cache_of_the_caller_is_left_alone(tmp_path, monkeypatch):
    for callers in ("", str(tmp_path / "callers")):
        monkeypatch.setattr(_jit.config, "CACHE_DIR", callers)
        kernel = _jit.ufunc(weigh)
        after_decorating = _jit.config.CACHE_DIR
        assert_works(kernel)
        assert (after_decorating, _jit.config.CACHE_DIR) == (callers, callers)


def test_cache_of_the_caller_is_left_alone_after_a_failure(monkeypatch):
    monkeypatch.setattr(_jit.config, "CACHE_DIR", "callers")
    monkeypatch.setattr(_jit, "_cache_path", lambda: "ours")
    seen = []

    def compile_in_vain():
        with _jit._cache_folder() as cached:
            seen.append((cached, _jit.config.CACHE_DIR))
            raise RuntimeError("cannot compile")

    with pytest.raises(RuntimeError, match="cannot compile"):
        compile_in_vain()
    assert seen == [(True, "ours")]
    assert _jit.config.CACHE_DIR == "callers"


def test_threads_may_call_a_new_kernel_at_once(monkeypatch):
    monkeypatch.setattr(_jit, "_cache_path", lambda: None)
    kernel = _jit.ufunc(weigh)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda x: kernel(x, 2.0), range(32)))
    assert results == [x / 2 + 4 for x in range(32)]


@pytest.mark.slow
def test_processes_that_compile_together_leave_a_sound_cache(tmp_path):
    """Two processes with different histories meet before the same kernel, and a third one finds what they left.

    Numba numbers functions in the order of their compilation, and a cached wrapper knows its kernel by that number:
    files of different processes must not be mixed, or the next call jumps into nowhere.
    """
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    start = "import rmt_alpha as ra; ra.margin_law"  # which loads Numba before they meet
    meet = "print('ready', flush=True); input()"
    others = "ra.MarginLaw([1, 1], [[1, 0], [0, 1]]).accuracy(1); ra.optimal_alpha(0.5, 20, 30, 1)"
    last = "print(ra.margin_law(0.5, 20, 30, 0.1).mean[0])"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=PACKAGE.parent,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for code in (f"{start}; {meet}; {last}", f"{start}; {others}; {meet}; {last}")
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    together = [process.communicate(timeout=120)[0] for process in processes]
    later = run_python(f"{start}; {last}", **environment)
    assert [process.returncode for process in (*processes, later)] == [0] * 3
    assert {*map(float, together), float(later.stdout)} == {ra.margin_law(0.5, 20, 30, 0.1).mean[0]}


# Routines: a function of many signatures.


compiled_only = pytest.mark.skipif(bool(_jit.config.DISABLE_JIT), reason="nothing is compiled")


def total(numbers):
    result = 0.0
    for number in numbers:
        result += number
    return result


def totals(folder, sizes, before=""):
    """Return code that prints the totals of tuples of these sizes, by a routine whose cache is the folder."""
    return f"""if True:
        import warnings
        warnings.simplefilter("error")
        from rmt_alpha import _jit
        from tests.test_jit import total
        _jit._cache_path = lambda: {str(folder)!r}
        {before}
        routine = _jit.routine(total)
        print([routine((1.0,) * size) for size in {sizes}])"""


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in pathlib.Path(folder).rglob("*") if path.is_file()}


def assert_cached(folder, sizes):
    """A new process finds all of these sizes in the cache."""
    before = contents(folder)
    later = run_python(totals(folder, sizes))
    assert later.returncode == 0, later.stderr
    assert json.loads(later.stdout) == sizes
    assert contents(folder) == before


@pytest.mark.parametrize("folder", [None, "cache"])
def test_routines_take_any_signature(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(_jit, "_cache_path", lambda: folder and str(tmp_path / folder))
    routine = _jit.routine(total)
    for _ in range(2):
        assert routine((1.0, 2.0)) == 3.0
        assert routine(np.array([1.0, 2.0, 3.0])) == 6.0
        assert routine((1, 2, 3)) == 6.0
        assert routine(np.arange(6.0)[::2]) == 6.0


def test_routines_work_without_the_compiler(monkeypatch):
    monkeypatch.setattr(_jit.config, "DISABLE_JIT", 1)
    assert _jit.routine(total) is total


@pytest.mark.parametrize("folder", [None, "cache"])
def test_threads_may_call_a_new_routine_at_once_with_different_signatures(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(_jit, "_cache_path", lambda: folder and str(tmp_path / folder))
    routine, threads = _jit.routine(total), 8
    barrier = threading.Barrier(threads)

    def call(size):
        barrier.wait()
        return routine((1.0,) * size)

    with ThreadPoolExecutor(threads) as pool:
        assert list(pool.map(call, range(1, threads + 1))) == list(range(1, threads + 1))


@compiled_only
def test_signatures_that_are_cached_at_once_are_kept_apart(tmp_path, monkeypatch):
    """Two caches in the worst order: both read what there is, then write index B, index A, code A, code B."""
    files = numba.core.caching.IndexDataCacheFile
    save_index, save_data = files._save_index, files._save_data
    monkeypatch.setattr(_jit, "_cache_path", lambda: str(tmp_path))
    a, b = _jit.routine(total), _jit.routine(total)
    late = []

    def save_index_of_a(self, overloads):
        with monkeypatch.context() as patch:
            patch.setattr(files, "_save_index", save_index)
            patch.setattr(files, "_save_data", lambda *arguments: late.append(arguments))
            assert b((1.0,) * 3) == 3.0
        save_index(self, overloads)

    with monkeypatch.context() as patch:
        patch.setattr(files, "_save_index", save_index_of_a)
        assert a((1.0,) * 2) == 2.0
    assert len(late) == 1
    save_data(*late[0])
    assert_cached(tmp_path, [2, 3])


@compiled_only
@pytest.mark.slow
def test_processes_that_compile_different_signatures_together_leave_a_sound_cache(tmp_path):
    sizes = [[2, 4, 6, 8], [3, 5, 6, 7]]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", totals(tmp_path, own, before="print('ready', flush=True); input()")],
            cwd=PACKAGE.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for own in sizes
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [json.loads(process.communicate(timeout=120)[0]) for process in processes] == sizes
    assert_cached(tmp_path, list(range(2, 9)))


# Shapes.


@pytest.mark.parametrize("size", [0, 1, 1000, 2**15 - 1, 2**15, 2**16 + 3])
def test_long_sweeps_are_their_entries(size):
    kernel = _jit.ufunc(weigh)
    x = np.linspace(-3.0, 7.0, size)
    np.testing.assert_array_equal(kernel(x, 1.7), x / 1.7 + 3.4)
    np.testing.assert_array_equal(kernel(1.7, x + 11.0), 1.7 / (x + 11.0) + 2.0 * (x + 11.0))
    np.testing.assert_array_equal(kernel(x[:, None], np.array([1.0, 2.0])), np.stack([x + 2.0, x / 2.0 + 4.0], axis=1))
    np.testing.assert_array_equal(kernel(x[::-1], 1.7), (x / 1.7 + 3.4)[::-1])


def test_long_sweeps_keep_the_order_of_axes():
    kernel = _jit.ufunc(weigh)
    x = np.arange(3.0 * 20001).reshape(20001, 3)
    for array in (x, x.T, np.asfortranarray(x), x[::2], np.broadcast_to(x[:, :1], x.shape)):
        np.testing.assert_array_equal(kernel(array, 2.0), array / 2.0 + 4.0)


# Without the compiler.


def answers():
    """Numbers from every public function, corners included, as one flat list."""
    rng = np.random.default_rng(3)
    size = 40
    target = {
        "beta": rng.uniform(-1, 1, size),
        "n": 10 ** rng.uniform(0, 4, size),
        "p": 10 ** rng.uniform(0, 4, size),
        "gamma": 10 ** rng.uniform(-4, 4, size),
        "mu": rng.uniform(0.1, 3, size),
        "mu_perp": rng.uniform(0.1, 3, size),
        "label_noise": rng.uniform(0, 0.4, size),
    }
    source = {"n_source": 10 ** rng.uniform(0, 4, size), "gamma_source": 10 ** rng.uniform(-4, 4, size)}
    corners = {
        "beta": np.array([0.5, 0.5, 0.5, 0.0, 1.0, 0.3, 0.0]),
        "n": 100.0,
        "p": np.array([50.0, 100.0, 200.0, 80.0, 90.0, 70.0, 60.0]),
        "gamma": np.array([0.0, 0.0, 0.0, 0.1, 0.1, 0.1, 0.2]),
        "mu": np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0]),
        "mu_perp": np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]),
    }
    alphas = np.array([-np.inf, -2.0, 0.0, 0.5, 1.0, 3.0, np.inf])[:, None]
    results = []
    for problem in (target, target | source | {"label_noise_source": 0.1}, corners):
        law = ra.margin_law(**problem)
        results += [law.mean, law.cov, law.optimal_alpha(), law.best_accuracy(), law.risk_optimal_alpha()]
        results += [ra.optimal_alpha(**problem), ra.worst_alpha(**problem)]
        results += [ra.accuracy(alphas, **problem), ra.risk(alphas[1:-1], **problem), law.error(alphas)]
    results += [effective_ridge(target["n"], target["p"], target["gamma"])]
    results += source_numbers(target["beta"], target["p"], **source)
    results += [fixed_source_optimal_alpha(0.5, target["mu"], 1.2, 50, target["p"], 0.1)]
    two = ra.MarginLaw([0.5, 0.4, 0.3], [[1.0, 0.1, 0.0], [0.1, 0.5, 0.2], [0.0, 0.2, 0.9]])
    results += [
        two.accuracy([0.3, 0.4]),
        two.error([0.3, 0.4]),
        two.risk([0.3, 0.4]),
        ra.optimal_alpha(0.5, 20, 30, 0.1),
    ]
    return [float(x) for result in results for x in np.ravel(result)]


def test_plain_python_gives_the_numbers_of_the_compiler():
    code = """if True:
        import json, warnings
        warnings.simplefilter("error")
        from rmt_alpha import _jit
        from tests.test_jit import answers
        assert _jit.config.DISABLE_JIT
        print(json.dumps(answers()))"""
    run = run_python(code, NUMBA_DISABLE_JIT="1")
    assert run.returncode == 0, run.stderr
    plain, compiled = json.loads(run.stdout), answers()
    assert sum(map(math.isnan, compiled)) > 10  # the corners are there
    # Python's hypot and libm's differ in the last bit, which the tail of Φ magnifies
    np.testing.assert_allclose(plain, compiled, rtol=4e-15, atol=0.0)
