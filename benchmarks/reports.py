"""What the studies share: results that outlive an interruption, tables, where it was measured, copies for the docs."""

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info
from tqdm import tqdm

import rmt_alpha

START = '{"settings": '
"""Of every line in the file of a `Keep`."""


class Keep:
    """Results by their settings, in a file of JSON lines: what is there is not computed again.

    Parameters
    ----------
    path : str, Path or None
        The file; None keeps nothing.
    of : dict, optional
        What else results depend on, such as the machine: those with another `of` are not taken for them.

    Raises
    ------
    ValueError
        If there is another file at that place, which is then left as it is.
    """

    def __init__(self, path: str | Path | None, of: dict[str, Any] | None = None) -> None:
        self.path = None if path is None else Path(path)
        self.of = {} if of is None else {"of": of}
        self.known: dict[str, Any] = {}
        if self.path is not None and self.path.exists():
            whole, cut = _lines(self.path)
            self.known = {_key(record["settings"]): record["result"] for record in whole}
            if cut:  # the last line was interrupted
                content = self.path.read_bytes()
                self.path.write_bytes(content[: content.rfind(b"\n") + 1])

    def map(
        self, work: Callable[..., Any], tasks: Iterable[dict[str, Any]], desc: str | None = None, workers: int = 1
    ) -> list[Any]:
        """Return ``work(**task)`` of every task, writing down each new result as it comes.

        With several workers, `work` is a function of a module and tasks are plain data.
        """
        tasks = list(tasks)
        keys = [_key({"work": work.__name__, **task, **self.of}) for task in tasks]
        missing = {key: task for key, task in zip(keys, tasks, strict=True) if key not in self.known}
        results = _results(work, list(missing.values()), workers)
        bar = tqdm(results, desc, len(missing), disable=None, leave=False)
        for key, result in zip(missing, bar, strict=True):
            line = json.dumps({"settings": json.loads(key), "result": result}, ensure_ascii=False)
            self.known[key] = json.loads(line)["result"]
            if self.path is not None:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
        return [self.known[key] for key in keys]


def _lines(path: Path) -> tuple[list[dict[str, Any]], bool]:
    """Return the records of a file, and whether it ends within one."""
    foreign = f"{path} must be a file of finished results"
    if path.is_dir():
        raise ValueError(f"{foreign}, it is a folder")
    *lines, last = path.read_bytes().split(b"\n")
    start = START.encode()
    if not last.startswith(start[: len(last)]):
        raise ValueError(f"{foreign}, line {len(lines) + 1} is none")
    found = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError:  # of JSON or of UTF-8
            record = None
        if not (isinstance(record, dict) and record.keys() == {"settings", "result"}):
            raise ValueError(f"{foreign}, line {number} is none")
        found.append(record)
    return found, bool(last)


def _key(settings: dict[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True, ensure_ascii=False, default=str)


def _results(work: Callable[..., Any], tasks: list[dict[str, Any]], workers: int) -> Iterator[Any]:
    if workers == 1:
        yield from (work(**task) for task in tasks)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(partial(_called, work), tasks)


def _called(work: Callable[..., Any], task: dict[str, Any]) -> Any:
    return work(**task)


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown, which can be read as it is too."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    rule = "| " + " | ".join("-" * w for w in widths) + " |"
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def version_numbers(*more: str) -> dict[str, str]:
    """Return the versions that numbers may depend on, by name."""
    names = ("rmt_alpha", "numpy", *more)
    return {"Python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}


def versions(*more: str) -> str:
    """Return the same in words."""
    return ", ".join(f"{name} {number}" for name, number in version_numbers(*more).items())


def machine() -> dict[str, Any]:
    """Return processor, number of cores, operating system and BLAS, with its threads here and now."""
    blas = [info for info in threadpool_info() if info["user_api"] == "blas"]
    names = sorted({f"{info['internal_api']} {info['version']}" for info in blas})
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "os": f"{platform.system()} {platform.machine()}",
        "blas": ", ".join(names),
        "blas_threads": max((info["num_threads"] for info in blas), default=None),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def sources() -> str:
    """Return a hash of the sources: of the package, and of the benchmarks."""
    digest = hashlib.sha256()
    for folder in (Path(rmt_alpha.__file__).parent, Path(__file__).parent):
        for path in sorted(folder.rglob("*.py")):
            digest.update(str(path.relative_to(folder)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def write(folder: str | Path, stem: str, text: str, plot: Callable[[Path], None]) -> None:
    """Write the tables and the picture of a study where the docs include them from."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}.md").write_text(text, encoding="utf-8")
    plot(folder / f"{stem}.png")
    print(f"Written: {folder / stem}.md, .png")
