"""What the studies share: results that outlive an interruption, tables, versions, copies for the docs."""

import importlib.metadata
import json
import platform
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm


class Keep:
    """Results by their settings, in a file of JSON lines: what is there is not computed again.

    Parameters
    ----------
    path : str, Path or None
        The file; None keeps nothing.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = None if path is None else Path(path)
        self.known: dict[str, Any] = {}
        if self.path is not None and self.path.exists():
            text = self.path.read_text(encoding="utf-8")
            whole = text[: text.rfind("\n") + 1]
            if whole != text:  # the last line was interrupted
                self.path.write_text(whole, encoding="utf-8")
            for line in whole.splitlines():
                record = json.loads(line)
                self.known[_key(record["settings"])] = record["result"]

    def map(
        self, work: Callable[..., Any], tasks: Iterable[dict[str, Any]], desc: str | None = None, workers: int = 1
    ) -> list[Any]:
        """Return ``work(**task)`` of every task, writing down each new result as it comes.

        With several workers, `work` is a function of a module and tasks are plain data.
        """
        tasks = list(tasks)
        keys = [_key({"work": work.__name__, **task}) for task in tasks]
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


def write(folder: str | Path, stem: str, text: str, plot: Callable[[Path], None]) -> None:
    """Write the tables and the picture of a study where the docs include them from."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}.md").write_text(text, encoding="utf-8")
    plot(folder / f"{stem}.png")
    print(f"Written: {folder / stem}.md, .png")
