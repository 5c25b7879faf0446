"""Sphinx configuration: executed MyST notebooks, numpydoc reference, nothing fetched while building."""

import importlib
import inspect
import os
import pkgutil
import re
import runpy
import types
from collections import defaultdict
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.autosummary import ImportExceptionGroup, import_by_name
from sphinx.util import logging

import rmt_alpha


def _homes() -> dict[str, list[str]]:
    """Return the public names by the module in which they are written."""
    homes: dict[str, list[str]] = defaultdict(list)
    for name in rmt_alpha.__all__:
        if not name.startswith("_") and not inspect.ismodule(getattr(rmt_alpha, name)):
            homes[inspect.getmodule(getattr(rmt_alpha, name)).__name__].append(name)  # type: ignore[union-attr]
    return homes


def _foreign_names() -> set[str]:
    """Return patterns of what the modules import from elsewhere, whose docstrings are not ours to check."""
    found = (module.name for module in pkgutil.walk_packages(rmt_alpha.__path__, "rmt_alpha."))
    modules = [importlib.import_module(name) for name in found if not name.endswith("__main__")]
    return {
        rf"^{re.escape(module.__name__)}\.{name}(\.|$)"
        for module in modules
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) not in (None, module.__name__)
    }


project = "rmt_alpha"
author = "The rmt_alpha developers"
project_copyright = author
version = release = rmt_alpha.__version__

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.mathjax"]
extensions += ["sphinx-mathjax-offline"]  # has MathJax itself: without it pages fetch it where they are read
templates_path = ["_templates"]
exclude_patterns = [
    "_build",
    "jupyter_execute",
    "_templates",
    "benchmarks/fluctuations",
    "benchmarks/lora",
    "benchmarks/real_tasks",
    "benchmarks/suite",
]  # the last four: tables that pages include

# Pages. Notebooks run while their page is read, so that {eval} roles put computed numbers into the prose; an exception
# in a cell stops the build, and so does anything written to standard error (a warning under -W).
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "inline"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 120
nb_merge_streams = True
nb_output_stderr = "warn"
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for the kernels: small matrices gain nothing from more threads

# Reference. Types are in the docstrings.
autosummary_generate = True
autosummary_context = {"public": _homes()}
_sections = re.findall(
    r"^\(theory-(\d+)\)=$", (Path(__file__).parent / "theory" / "index.md").read_text(encoding="utf-8"), re.M
)
autodoc_typehints = "none"
autodoc_member_order = "bysource"
default_role = "autolink"
nitpicky = True
numpydoc_show_class_members = False
numpydoc_validation_checks = {
    *("GL03", "GL05", "GL06", "GL08", "GL10", "SS01", "SS03", "SS04", "SS06"),
    *("PR01", "PR02", "PR05", "PR07", "PR10", "RT03", "YD01"),
}
numpydoc_validation_exclude = {
    r"\.__getitem__$",
    # fields of named tuples have docstrings of Python's own
    r"\.(checkpoint\.(Binding|Row)|equivalents\.EffectiveRidge|fluctuations\.(Chain|Ridge))\.(?!of|variances|drift)",
    r"\.(Sampler|Optimizer)$",  # and protocols a constructor
    # what layers and optimizers have in common is written once
    r"\.network\.\w+\.(forward|backward|parameter_gradients|parameters|update_penalty|load_state_dict)$",
    r"\.(LoRALinear\.parameter_gradients|(SGD|Adam|AdamW)\.(start|step))$",
    *_foreign_names(),
}

html_theme = "pydata_sphinx_theme"
html_title = "rmt_alpha"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": False,
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],  # the field leaves no room for the pages' names
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "navigation_with_keys": False,
    "header_links_before_dropdown": 8,
}
html_sidebars = {page: [] for page in ("index", "start", "choose", "explorer")}  # pages without others below them


def _show_formulas_as_written(_: Sphinx, what: str, __: str, ___: Any, ____: Any, lines: list[str]) -> None:
    """Turn the indented formulas of module docstrings into literal blocks, so that their layout survives."""
    if what != "module":
        return
    result: list[str] = []
    for line in lines:
        above = next((text for text in reversed(result) if text), "")
        if line.startswith("    ") and result and not result[-1] and not above.startswith((" ", "- ")):
            result += ["::", ""]
        result.append(line)
    lines[:] = result


def _link_and_escape(_: Sphinx, __: str, ___: str, ____: Any, _____: Any, lines: list[str]) -> None:
    """Link THEORY §n to its section, and keep absolute values such as |β| from being read as substitutions."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith(">>>"):
            parts = line.split("``")
            for k, part in enumerate(parts[::2]):
                escaped = re.sub(r"(?<!\\)\|(\w+)\|", r"\\|\1\\|", part)
                parts[2 * k] = re.sub(
                    r"THEORY §(\d+)", lambda m: f":ref:`{m[0]} <theory-{m[1]}>`" if m[1] in _sections else m[0], escaped
                )
            lines[i] = "``".join(parts)


def _document_public_names_once(_: Sphinx, what: str, name: str, obj: Any, skip: bool, __: Any) -> bool | None:
    """Leave out of the modules' pages what has a page of its own."""
    public = what == "module" and name in rmt_alpha.__all__ and getattr(rmt_alpha, name) is obj
    alias = isinstance(obj, types.GenericAlias)  # has the docstring of dict or tuple
    # inherited from scikit-learn, whose docstrings refer to its own pages
    foreign = str(getattr(obj, "__module__", "")).startswith("sklearn.") or name.endswith("_request")
    return True if public or alias or foreign else skip or None


def _find_where_documented(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Node | None:
    """Let docstrings refer to names as their module knows them; leave as text what is not documented by design."""
    if node.get("refdomain") != "py":
        return None
    module, cls, name = node.get("py:module"), node.get("py:class"), node["reftarget"]
    try:
        path, found, *_ = import_by_name(name, [module and cls and f"{module}.{cls}", module, "rmt_alpha", None])
    except ImportExceptionGroup:
        return None
    found = getattr(found, "fget", found)  # of a property
    home, inside = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
    if home and inside:
        path = f"rmt_alpha.{inside}" if inside.split(".")[0] in rmt_alpha.__all__ else f"{home}.{inside}"
    domain = env.domains.python_domain
    link = domain.resolve_xref(env, node["refdoc"], app.builder, "obj", path, node, content)
    private = any(part.startswith("_") for part in path.split("."))
    field = not (home and inside) and not inspect.ismodule(found)  # or a constant
    foreign = path.split(".")[0] != "rmt_alpha"
    return content if link is None and node["reftype"] == "obj" and (private or field or foreign) else link


def _check_that_all_is_listed(app: Sphinx) -> None:
    """Warn of public names and modules that api.md forgets."""
    text = (Path(app.srcdir) / "api.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^ +~?(rmt_alpha\.\w+)$", text, flags=re.MULTILINE))
    modules = (module.name for module in pkgutil.iter_modules(rmt_alpha.__path__))
    names = (name for name in rmt_alpha.__all__ if not inspect.ismodule(getattr(rmt_alpha, name)))
    expected = {f"rmt_alpha.{name}" for name in (*names, *modules) if not name.startswith(("_", "cli"))}
    for name in sorted(expected - listed):
        logging.getLogger(__name__).warning("api.md does not list %s", name)


def _write_the_explorer(app: Sphinx, exception: Exception | None) -> None:
    """Put the page that explorer.md links to beside it."""
    if exception is None and app.builder.name == "html":
        page = runpy.run_path(str(Path(app.srcdir) / "explorer" / "build.py"))["page"]("../explorer.html")
        out = Path(app.outdir) / "explorer" / "index.html"
        out.parent.mkdir(exist_ok=True)
        out.write_text(page, encoding="utf-8")


def _follow_the_links(app: Sphinx, exception: Exception | None) -> None:
    """Warn of local links that lead nowhere."""
    if exception is not None or app.builder.name != "html":
        return
    broken = runpy.run_path(str(Path(app.srcdir) / "links.py"))["broken"]
    pages = [app.builder.get_target_uri(page) for page in (*sorted(app.env.found_docs), "genindex", "search")]
    for place in broken(Path(app.outdir), [*pages, "explorer/index.html"]):
        logging.getLogger(__name__).warning("broken link at %s", place)


def setup(app: Sphinx) -> None:
    """Connect the hooks."""
    app.connect("builder-inited", _check_that_all_is_listed)
    app.connect("autodoc-process-docstring", _show_formulas_as_written)
    app.connect("autodoc-process-docstring", _link_and_escape, priority=600)  # after numpydoc
    app.connect("missing-reference", _find_where_documented)
    app.connect("autodoc-skip-member", _document_public_names_once)
    app.connect("build-finished", _write_the_explorer)
    app.connect("build-finished", _follow_the_links, priority=900)  # when everything is written
