"""The package as a whole: its import, its public names, its docstrings."""

import ast
import inspect
import pathlib
import re
import subprocess
import sys
import tomllib

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


def test_version_is_that_of_the_project():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    assert ra.__version__ == project["version"]
