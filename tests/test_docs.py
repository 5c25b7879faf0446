"""The documentation's sources: every block runs somewhere, every link in the README leads somewhere."""

import doctest
import importlib
import inspect
import itertools
import re
import runpy
import shlex
from pathlib import Path

import pytest

from benchmarks.__main__ import CASES
from tests.test_benchmarks import GROUPS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BUILT = {"_build", "jupyter_execute", "generated"}
PAGES = sorted(
    path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md") if BUILT.isdisjoint(path.relative_to(ROOT).parts)
)
TEXTS = [*(name for name in ("README.md", "CHANGELOG.md") if (ROOT / name).exists()), *PAGES]
DOCTESTED = {"README.md"}  # by `python -m doctest` in .ci/run

# Commands that are not run by the page that shows them, without --quiet, and what runs them.
RUN_ELSEWHERE = {
    "python3 -m venv .venv": ".ci/run, as the README's first command",
    ".venv/bin/pip install .": ".ci/run, as the README's first command",
    ".venv/bin/rmt-alpha demo": ".ci/run, as the README's first command",
    ".venv/bin/pip install -e '.[test]'": ".ci/run, as the README's second command",
    ".venv/bin/pytest -n auto": ".ci/run, as the README's second command",
    ".venv/bin/pip install '.[docs]'": ".ci/run, with other extras",
    ".venv/bin/python -m sphinx -W -b html docs docs/_build/html": ".ci/run, into another folder",
    "python docs/explorer/build.py explorer.html": "tests/test_explorer.py",
}


def fences(text):
    """Yield (line, info string, content) of each fenced block that is not inside another one."""
    opening = None
    for number, line in enumerate(text.splitlines(), 1):
        mark = re.match(r" *(`{3,}|~{3,}|:{3,})\s*(.*)", line)
        if opening is None:
            if mark and not (mark[1].startswith(":") and not mark[2]):
                opening, info, start, content = mark[1], mark[2].strip(), number, []
        elif mark and not mark[2] and mark[1].startswith(opening):
            yield start, info, "\n".join(content)
            if opening.startswith(":"):
                for inside, name, block in fences("\n".join(content)):
                    yield start + inside, name, block
            opening = None
        else:
            content.append(line)


def language(info):
    """What a block is highlighted as; None for a directive that shows something else."""
    directive = re.match(r"\{([\w:-]+)\}\s*(.*)", info)
    if directive is None:
        return info.split()[0].lower() if info else ""
    return directive[2].lower() if directive[1] in {"code", "code-block", "sourcecode", "parsed-literal"} else None


def commands(block):
    """Yield each command of a shell block, without prompt, comment, --quiet and the file it writes to."""
    for line in block.replace("\\\n", " ").splitlines():
        for part in re.sub(r"(^|\s)#.*$", "", line).removeprefix("$ ").split("&&"):
            command = " ".join(re.sub(r" --quiet\b| > \S+", "", part).split())
            if command:
                yield command


@pytest.fixture(scope="module")
def shown():
    """The command lines that pages carry out while they are built."""
    lines = set()
    for name in PAGES:
        for _, info, code in fences((ROOT / name).read_text(encoding="utf-8")):
            if info.startswith("{code-cell}"):
                calls = re.findall(r"\b(?:rmt_alpha|main)\((?:shlex\.split\()?\"([^\"]*)\"", code)
                lines |= {tuple(shlex.split(line)) for line in calls}
    return lines


def runs(command, shown):
    words = shlex.split(command)
    if command in RUN_ELSEWHERE:
        return True
    if words[0] == "rmt-alpha":
        return tuple(words[1:]) in shown
    if words[:2] == ["python", "-m"] and words[2] in SCRIPTS:  # by test_benchmarks, with smaller sizes
        source = inspect.getsource(importlib.import_module(SCRIPTS[words[2]]))
        names = {f'"{name}"' for name in CASES} if words[2] == "benchmarks" else set(re.findall(r'"\w+"', source))
        for before, word in itertools.pairwise(words[2:]):
            if word.startswith("--"):
                known = f'add_argument("{word}"' in source
            else:
                known = before.startswith("--") or f'"{word}"' in names
            if not known:
                return False
        return True
    return False


SCRIPTS = {"benchmarks": "benchmarks.__main__"} | {
    f"benchmarks.{name}": f"benchmarks.{name}" for group in GROUPS.values() for name, *_ in group
}
"""Modules that `python -m` runs in the tests of the benchmarks."""


@pytest.mark.parametrize(
    ("command", "known"),
    [
        ("python -m benchmarks dense --json a.json", True),
        ("python -m benchmarks.fluctuations all --keep a.jsonl", True),
        ("python -m benchmarks no-such-case", False),
        ("python -m benchmarks --no-such-option", False),
        ("python -m benchmarks.real", False),
        ("python -m benchmarks.real_tasks no such words", False),
        ("python -m another", False),
        ("rmt-alpha no-such-command", False),
        ("rm -rf /", False),
    ],
)
def test_commands_that_nothing_runs_are_told(command, known, shown):
    assert runs(command, shown) is known


@pytest.mark.parametrize("name", TEXTS)
def test_every_block_runs_somewhere(name, shown):
    text = (ROOT / name).read_text(encoding="utf-8")
    notebook = re.match(r"---\n(?:.*\n)*?file_format: mystnb\n(?:.*\n)*?---\n", text) is not None
    idle = []
    for line, info, block in fences(text):
        kind = language(info)
        if info.startswith("{code-cell}"):
            tags = re.search(r"^:tags:(.*)$", block, re.M)
            if not notebook or (tags and re.search("skip-execution|raises-exception", tags[1])):
                idle.append(f"{name}:{line}: this cell is not executed, or may fail")
        elif kind in {"python", "python3", "py", "ipython", "ipython3", "pycon"}:
            if name not in DOCTESTED or not doctest.DocTestParser().get_examples(block):
                idle.append(f"{name}:{line}: Python outside a code-cell")
        elif kind is not None:
            found = list(commands(block))
            idle += [f"{name}:{line}: nothing runs `{command}`" for command in found if not runs(command, shown)]
    assert not idle, "\n" + "\n".join(idle)


WIDEST = 92
"""Characters of code that fit beside the lists of contents on a screen of 1200 pixels."""


def wide_lines(text):
    """Yield (line, length) of each line of a cell's visible code that is wider than a page."""
    for line, info, block in fences(text):
        if info.startswith("{code-cell}"):
            tags = re.search(r"^:tags:(.*)$", block, re.M)
            if not (tags and re.search("(remove|hide)-(input|cell)", tags[1])):
                yield from ((n, len(s)) for n, s in enumerate(block.splitlines(), line + 1) if len(s) > WIDEST)


@pytest.mark.parametrize("name", PAGES)
def test_code_fits_into_the_page(name):
    assert list(wide_lines((ROOT / name).read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("tags", "found"), [("", [(3, 93)]), (":tags: [hide-output]", [(3, 93)]), (":tags: [remove-input]", [])]
)
def test_wide_code_is_found_unless_hidden(tags, found):
    assert list(wide_lines(f"```{{code-cell}} ipython3\n{tags}\n{'x' * 93}\n{'x' * 92}\n```\n{'x' * 200}")) == found


def test_every_exception_is_used():
    found = {c for name in TEXTS for _, _, b in fences((ROOT / name).read_text(encoding="utf-8")) for c in commands(b)}
    assert set(RUN_ELSEWHERE) <= found


def test_no_page_is_left_out_of_execution():
    settings = (DOCS / "conf.py").read_text(encoding="utf-8")
    assert 'nb_execution_mode = "inline"' in settings
    assert "nb_execution_raise_on_error = True" in settings
    assert "nb_execution_excludepatterns" not in settings


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("```python\nx\n```\n", [(1, "python", "x")]),
        ("a\n\n  ~~~sh\n  ls\n  ~~~", [(3, "sh", "  ls")]),
        ("````{note}\n```sh\nls\n```\n````", [(1, "{note}", "```sh\nls\n```")]),
        (":::{note}\n```sh\nls\n```\n:::", [(1, "{note}", "```sh\nls\n```"), (2, "sh", "ls")]),
    ],
)
def test_fences(text, found):
    assert list(fences(text)) == found


def test_commands():
    block = "$ a --quiet -b && c > d.txt # why\n# nothing\nd \\\n  e\n"
    assert list(commands(block)) == ["a -b", "c", "d e"]


def anchors(text):
    """The fragments by which GitHub links to the headings of a page."""
    found, inside = set(), False
    for line in text.splitlines():
        inside ^= line.startswith("```")
        heading = re.match(r"#{1,6}\s+(.*?)\s*#*$", line)
        if heading and not inside:
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1].replace("\\", ""))
            slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
            found.add(next(s for s in (slug, *(f"{slug}-{i}" for i in range(1, 100))) if s not in found))
    return found


def dead_links(source):
    """Relative links of a text that GitHub would not find."""
    text = re.sub(r"^(```|~~~).*?^\1", "", source.read_text(encoding="utf-8"), flags=re.M | re.S)
    text = re.sub(r"`[^`\n]*`", "", text)
    targets = re.findall(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)", text)
    targets += re.findall(r"^\[[^\]]+\]:\s*(\S+)", text, re.M) + re.findall(r"(?:href|src)=\"([^\"]+)\"", text)
    dead = []
    for target in targets:
        if re.match(r"[a-z][a-z+.-]*:", target):
            continue
        path, _, fragment = target.partition("#")
        file = source.parent / path if path else source
        inside = file.resolve().is_relative_to(source.parent.resolve()) and file.exists()
        if not inside or (fragment and fragment not in anchors(file.read_text(encoding="utf-8"))):
            dead.append(target)
    return dead


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md"])
def test_relative_links(name):
    assert dead_links(ROOT / name) == []


def test_dead_links_are_found(tmp_path):
    (tmp_path / "other.md").write_text(
        "# What `α` buys\n\n## Twice\n\n```sh\n# no heading\n```\n## Twice\n", encoding="utf-8"
    )
    text = "[a](other.md#what-α-buys) [b](other.md#twice-1) [c](https://example.org/none) `[no](link)`\n"
    text += "\n# Here\n[d](#here)\n"
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    assert dead_links(page) == []
    page.write_text(
        text + '[e](none.md) [f](other.md#no-heading) [g](#there) <img src="none.png">\n\n[h]: ../x.md\n',
        encoding="utf-8",
    )
    assert dead_links(page) == ["none.md", "other.md#no-heading", "#there", "../x.md", "none.png"]


def test_broken_links_of_built_pages(tmp_path):
    """The function by which the build of the documentation checks itself."""
    broken = runpy.run_path(str(DOCS / "links.py"))["broken"]
    (tmp_path / "sub").mkdir()
    (tmp_path / "a b.png").write_bytes(b"")
    (tmp_path / "sub" / "two.html").write_text('<a name="old">x</a><h1 id="α">y</h1>', encoding="utf-8")
    good = (
        '<p id="here"><a href="#">a</a> <a href="#here">b</a> <a href="sub/two.html#%CE%B1">c</a>\n'
        '<a href="sub/two.html?q=1#old">d</a> <a href="sub/two.html#beta=0.5&amp;n=3">e</a> <img src="a%20b.png">\n'
        '<a href="https://example.org/none">f</a> <a href="mailto:a@b.c">g</a> <script src="//a.b/x.js"></script>\n'
        '<link href="data:," rel="icon"> <form action="one.html"></form>\n'
    )
    page = tmp_path / "one.html"
    page.write_text(good, encoding="utf-8")
    assert broken(tmp_path, ["one.html", "sub/two.html"]) == []
    bad = ["#there", "two.html", "sub/two.html#beta", "sub", "/one.html", "../one.html", "none.png", "none.js"]
    *links, picture, script = bad
    page.write_text(
        good
        + "".join(f'<a href="{address}">x</a>\n' for address in links)
        + f'<img src="{picture}">\n<script src="{script}"></script>\n',
        encoding="utf-8",
    )
    assert broken(tmp_path, ["one.html"]) == [f"one.html:{i}: {address}" for i, address in enumerate(bad, 5)]
