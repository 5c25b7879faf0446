"""The package as a whole: its import, its public names, its docstrings."""

import ast
import inspect
import pathlib
import re
import subprocess
import sys
import tomllib
from datetime import date

import pytest

import rmt_alpha as ra
from rmt_alpha.theory import isotropic

PACKAGE = pathlib.Path(ra.__file__).parent
FUNCTIONS = [value for value in (getattr(ra, name) for name in ra.__all__) if inspect.isfunction(value)]
FUNCTIONS += [isotropic.effective_ridge, isotropic.source_numbers]
FUNCTIONS += [isotropic.fixed_source_law, isotropic.fixed_source_optimal_alpha]


def run_python(code):
    """Run code in a fresh interpreter that finds this checkout first; return what it prints."""
    run = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    return run.stdout.split()


def test_import_loads_nothing_heavy():
    loaded = run_python("import sys, rmt_alpha; print(*sys.modules)")
    assert "rmt_alpha" in loaded
    heavy = {"numpy", "numba", "scipy", "sympy", "matplotlib", "sklearn", "pandas", "xarray", "dask", "tqdm", "torch"}
    assert heavy.isdisjoint(loaded)
    assert [name for name in loaded if name.startswith("rmt_alpha.")] == []


def test_a_name_loads_its_module_only_when_used():
    loaded = run_python("import sys, rmt_alpha; rmt_alpha.MarginLaw; print(*sys.modules)")
    assert "rmt_alpha.laws" in loaded
    assert "rmt_alpha.theory.isotropic" not in loaded
    assert {"sympy", "matplotlib", "sklearn"}.isdisjoint(loaded)


def type_checking_imports():
    """{name: module below the package, where it is or which it is} of the TYPE_CHECKING block."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    assert all(isinstance(node, ast.ImportFrom) for node in block.body)
    names = {alias.name: node.module for node in block.body for alias in node.names}
    modules = {name: f"{home}.{name}" for name, home in names.items() if inspect.ismodule(getattr(ra, name))}
    return {name: home.removeprefix("rmt_alpha.") for name, home in (names | modules).items()}


def test_lists_of_public_names_agree():
    assert type_checking_imports() == ra._PUBLIC
    assert sorted(ra.__all__) == sorted([*ra._PUBLIC, "__version__"])
    assert len(set(ra.__all__)) == len(ra.__all__)


@pytest.mark.parametrize("name", sorted(ra._PUBLIC))
def test_public_name_is_defined_where_the_list_says(name):
    value = getattr(ra, name)
    home = f"rmt_alpha.{ra._PUBLIC[name]}"
    if inspect.ismodule(value):
        assert value.__name__ == home
    else:
        assert (value.__module__, value.__name__) == (home, name)
    assert getattr(ra, name) is value


def test_star_import_without_the_extras():
    code = "import sys; sys.modules['sklearn'] = None; from rmt_alpha import *; margin_law; AlphaRidge"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "NameError: name 'AlphaRidge' is not defined" in done.stderr
    missing = code.replace("from rmt_alpha import *; margin_law; AlphaRidge", "import rmt_alpha; rmt_alpha.AlphaRidge")
    done = subprocess.run([sys.executable, "-c", missing], capture_output=True, text=True, check=False)
    assert 'pip install "rmt_alpha[data]"' in done.stderr


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'rmt_alpha' has no attribute 'optimal_beta'"):
        ra.optimal_beta  # noqa: B018
    with pytest.raises(ImportError, match="optimal_beta"):
        from rmt_alpha import optimal_beta  # noqa: F401


def test_dir_lists_names_before_they_are_loaded():
    listed = run_python("import rmt_alpha; print(*dir(rmt_alpha))")
    assert set(ra.__all__) <= set(listed)
    assert listed == sorted(listed)


def sections(docstring):
    """{title: lines} of a numpydoc docstring."""
    parts = re.split(r"^(\S.*)\n-{3,}$", inspect.cleandoc(docstring), flags=re.MULTILINE)
    return {title: text.strip("\n").splitlines() for title, text in zip(parts[1::2], parts[2::2], strict=True)}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_docstring_has_the_numpydoc_sections(function):
    found = sections(function.__doc__)
    assert {"Parameters", "Returns", "Raises", "Examples"} <= set(found)
    entries = [line.split(" : ")[0] for line in found["Parameters"] if not line.startswith(" ")]
    documented = [name.strip() for entry in entries for name in entry.split(",")]
    assert documented == list(inspect.signature(function).parameters)
    assert any(line.startswith(">>> ") for line in found["Examples"])


@pytest.mark.parametrize("name", [name for name in ra._PUBLIC if inspect.isclass(getattr(ra, name))])
def test_class_docstring_documents_its_fields(name):
    found = sections(getattr(ra, name).__doc__)
    assert "Parameters" in found or "Attributes" in found


def test_summary_lines_are_sentences():
    for function in FUNCTIONS:
        summary = function.__doc__.splitlines()[0]
        assert summary.endswith("."), f"{function.__name__}: {summary}"


def test_type_information_is_shipped():
    assert (PACKAGE / "py.typed").read_bytes() == b""


def contradictions(version, changelog, citation):
    """Return what changelog and citation say otherwise than the package's version, and than each other."""
    first, *titles = re.findall(r"^## (.+)$", changelog, flags=re.MULTILINE)
    releases = [re.fullmatch(r"(\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)", title) for title in titles]
    if first != "Unreleased" or None in releases:
        return ["titles are not Unreleased, then versions with their dates"]
    dates = {release[1]: release[2] for release in releases}
    numbers = [tuple(map(int, number.split("."))) for number in dates]
    days = [date.fromisoformat(day) for day in dates.values()]
    cited = dict(re.findall(r"^(version|date-released): (.+)$", citation, flags=re.MULTILINE))
    wrong = {
        "releases are not newest first": numbers != sorted(set(numbers), reverse=True) or days != sorted(days)[::-1],
        "the version is older than the newest release": numbers[:1] > [tuple(map(int, version.split(".")))],
        "another version is cited": cited.get("version") != version,
        "another date is cited": cited.get("date-released") != dates.get(version),
    }
    return [message for message, holds in wrong.items() if holds]


def test_changelog_and_citation_are_of_this_version():
    files = (PACKAGE.parent / "CHANGELOG.md", PACKAGE.parent / "CITATION.cff")
    assert contradictions(ra.__version__, *(file.read_text(encoding="utf-8") for file in files)) == []


@pytest.mark.parametrize(
    ("version", "titles", "citation", "message"),
    [
        ("0.1.0", ["0.1.0 - 2027-01-02"], "version: 0.1.0\ndate-released: 2027-01-02", None),
        ("0.2.0", ["0.1.0 - 2027-01-02"], "version: 0.2.0", None),
        ("0.2.0", ["0.1.0 - 2027-01-02"], "version: 0.1.0", "another version"),
        ("0.1.0", ["0.1.0 - 2027-01-02"], "version: 0.1.0", "another date"),
        ("0.2.0", ["0.1.0 - 2027-01-02"], "version: 0.2.0\ndate-released: 2027-01-02", "another date"),
        ("0.9.0", ["0.10.0 - 2027-01-02"], "version: 0.9.0", "older"),
        ("0.3.0", ["0.1.0 - 2027-01-02", "0.2.0 - 2027-01-03"], "version: 0.3.0", "newest first"),
        ("0.3.0", ["0.2.0 - 2027-01-02", "0.1.0 - 2027-01-03"], "version: 0.3.0", "newest first"),
        ("0.1.0", ["0.1.0"], "version: 0.1.0", "titles"),
    ],
)
def test_contradictions_are_found(version, titles, citation, message):
    changelog = "\n".join(f"## {title}" for title in ["Unreleased", *titles])
    found = contradictions(version, changelog, citation)
    assert [text for text in found if message is None or message not in text] == []
    assert len(found) == (message is not None)


def test_changelog_links_work_wherever_it_is_shown():  # in the repository, the documentation and an archive
    links = re.findall(r"\]\(([^)]*)\)", (PACKAGE.parent / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert links
    assert all(link.startswith("https://") for link in links)


def test_the_version_is_written_once():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"]
    assert project["tool"]["hatch"]["version"]["path"] == "rmt_alpha/__init__.py"
