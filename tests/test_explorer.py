"""The explorer: what its generator writes, and the page itself, driven in headless Chromium as a user would.

The browser is driven through the DevTools protocol over a pipe (``--remote-debugging-pipe``: JSON messages that end in
a zero byte, on its descriptors 3 and 4), which takes the standard library alone.
"""

import itertools
import json
import math
import os
import re
import runpy
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlencode

import numpy as np
import pytest
import sympy as sp
from mpmath import mp

import rmt_alpha as ra
from rmt_alpha.theory import isotropic, symbolic
from rmt_alpha.theory.symbolic import letters
from tests.theory import oracle

BUILD = Path(__file__).parents[1] / "docs" / "explorer" / "build.py"


@pytest.fixture(scope="module")
def build():
    return runpy.run_path(str(BUILD))


@pytest.fixture(scope="module")
def text(build):
    return build["page"]()


# The generator.


def test_the_page_is_the_same_in_every_process(text, tmp_path):
    out = tmp_path / "explorer.html"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(BUILD.parents[2])}
    subprocess.run([sys.executable, str(BUILD), str(out)], check=True, env=environment, cwd=tmp_path)
    assert out.read_text(encoding="utf-8") == text


def test_a_missing_folder_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["build.py", str(tmp_path / "none" / "x.html")])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(BUILD), run_name="__main__")
    assert f"there is no folder {tmp_path / 'none'}\n" in capsys.readouterr().err


def test_the_page_loads_nothing(text):
    assert not re.search(r"https?:|@import|url\((?!#)|\bfetch\(|XMLHttpRequest|WebSocket|\bimport\b", text)
    assert re.findall(r'\b(?:src|href|srcset|action)="([^"]*)"', text) == ["data:,"]
    assert "default-src 'none'" in text


def test_a_link_home_is_the_only_option(build, text):
    link = '<a href="../a&amp;b.html">'
    linked = build["page"]("../a&b.html")
    assert linked.count(link) == 1
    assert linked.replace(f"<p>{link}rmt_alpha documentation</a></p>", "") == text


def test_rewriting_keeps_the_values(build):
    formulas, flipped = build["formulas"]()["ridge"], {build["label_noise"]: (1 - letters.t) / 2}
    originals = symbolic.five_numbers(of="letters")
    originals |= {name: getattr(symbolic, name)(of="letters") for name in ("optimal_alpha", "risk_optimal_alpha")}
    for name in ("V00", "optimal_alpha", "risk_optimal_alpha"):
        assert build["label_noise"] in formulas[name].free_symbols
        assert sp.simplify(formulas[name].subs(flipped) - originals[name]) == 0
    for eta, gamma in ((sp.Rational(1, 3), sp.Rational(1, 5)), (3, 2)):
        numbers = {build["n"]: 3, build["p"]: 3 * eta, letters.gamma: gamma}
        expected = symbolic.kappa(stable=True).subs({letters.eta: eta, letters.gamma: gamma})
        assert sp.simplify((formulas["kappa"].subs(numbers) - expected).doit()) == 0


def test_a_formula_out_of_order_is_refused(build, monkeypatch):
    wrong = {"oracle": {"h": build["formulas"]()["oracle"]["h"]}, "ridge": {}, "curves": {}}
    monkeypatch.setitem(build["javascript"].__globals__, "formulas", lambda: wrong)
    with pytest.raises(ValueError, match="h must follow what it needs, eta, kappa, rho is missing"):
        build["javascript"]()


def test_colours_have_contrast(text):
    schemes = [dict(re.findall(r"--(\w+): (#\w{6})", part)) for part in re.findall(r":root \{(.*?)\}", text, re.S)]
    assert len(schemes) == 2
    for colours in schemes:
        for paper in ("page", "panel"):
            for ink in ("text", "soft", "accuracy", "risk", "limit", "error"):
                assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)
            assert contrast(colours["edge"], colours[paper]) >= 3.0, paper  # edges of controls


def contrast(one, other):
    """Contrast of WCAG 2."""

    def luminance(colour):
        red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)

    def linear(x):
        return x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


# A browser.

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe"),
)

LAUNCH = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(x), fcntl.F_DUPFD, 10) for x in sys.argv[1:3]]  # out of the way of 3 and 4
for end, place in zip(ends, (3, 4)):
    os.dup2(end, place)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One headless Chromium with one page."""

    def __init__(self, profile):
        program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        assert program, "these tests need Chromium: install Debian's package chromium, or leave out -m browser"
        (theirs_in, self._out), (self._in, theirs_out) = os.pipe(), os.pipe()
        command = [sys.executable, "-c", LAUNCH, str(theirs_in), str(theirs_out), program, *FLAGS]
        with (profile / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*command, f"--user-data-dir={profile / 'profile'}", "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs_in, theirs_out),
            )
        os.close(theirs_in)
        os.close(theirs_out)
        self._log, self._buffer, self._numbers, self._session = profile / "log", b"", itertools.count(1), None
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")

    def close(self):
        try:
            if self._process.poll() is None:
                self._session = None
                self.call("Browser.close")
                self._process.wait(30)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._in)
            os.close(self._out)

    def call(self, method, **parameters):
        """Send a command and return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def _receive(self):
        while b"\0" not in self._buffer:
            ready = select.select([self._in], [], [], 60)[0]
            part = os.read(self._in, 1 << 16) if ready else b""
            assert part, f"Chromium does not answer: {self._log.read_text(errors='replace')[-2000:]}"
            self._buffer += part
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def run(self, code):
        """Evaluate JavaScript, waiting for a promise."""
        answer = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition):
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + 30
        while not self.run(condition):
            assert time.monotonic() < end, condition
            time.sleep(0.02)

    def open(self, url):
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && document.querySelector('[data-name=kappa]') !== null")

    def press(self, key, code=0, **more):
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)

    def enter(self, name, value):
        """Replace what a field holds, as typing over it does."""
        self.run(f"document.getElementById('{name}').focus(); document.getElementById('{name}').select()")
        self.call("Input.insertText", text=value)

    def focus(self):
        return self.run("document.activeElement.id")

    def numbers(self):
        return {name: convert(value) for name, value in self.run(f"({READ})()").items()}


READ = """() => Object.fromEntries([...document.querySelectorAll("[data-name]")].map(
    (e) => [e.dataset.name, e.value === undefined ? null : e.value]))"""

TAB, END, HOME, LEFT, RIGHT = ("Tab", 9), ("End", 35), ("Home", 36), ("ArrowLeft", 37), ("ArrowRight", 39)

START = {  # in the order of the page
    **{"p": 1000, "mu": 0.8, "mu_perp": 0.8, "beta": 0.9},
    **{"source": "ridge", "n_source": 5000, "gamma_source": 5, "label_noise_source": 0},
    **{"n": 40, "gamma": 0.1, "label_noise": 0, "alpha": 3},
}


def convert(value):
    """Return what the page shows as a number; nan where it says undefined."""
    return math.nan if value is None else float(value)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def address(text, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "explorer.html"
    path.write_text(text, encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def page(browser, address):
    """The page in its initial state; afterwards nothing may have gone wrong or been asked for."""
    browser.events.clear()
    browser.open(address)
    yield browser
    browser.run("0")  # what was said before this has been received
    kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
    assert [event for event in browser.events if event["method"] in kinds] == []
    asked = (e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent")
    assert {url.split("#")[0] for url in asked} <= {address, "about:blank", "data:,"}


def problem(setting):
    """Return the arguments of the package's functions for a setting of the page."""
    left_out = {"source", "alpha"} | (
        {"n_source", "gamma_source", "label_noise_source"} if setting["source"] == "oracle" else set()
    )
    return {name: value for name, value in setting.items() if name not in left_out}


def expected(setting):
    """What Python makes of a setting."""
    given = problem(setting)
    law = ra.margin_law(**given)
    s, w_perp2, m2 = isotropic.source_numbers(
        **{name: value for name, value in given.items() if name not in ("n", "gamma", "label_noise")}
    )
    size = {name: given[name] for name in ("n", "p", "gamma")}
    numbers = {
        "eta": given["p"] / given["n"],
        "kappa": isotropic.effective_ridge(**size),
        "h": isotropic.residual_fraction(**size),
        "m": math.sqrt(m2),
        "s": s,
        "w_perp": math.sqrt(w_perp2) if math.isfinite(w_perp2) else math.nan,
        **dict(zip(("M0", "M1"), law.mean, strict=True)),
        **dict(zip(("V00", "V01", "V11"), law.cov[(0, 0, 1), (0, 1, 1)], strict=True)),
        "optimal_alpha": ra.optimal_alpha(**given),
        "worst_alpha": law.worst_alpha(),
        "risk_optimal_alpha": risk_optimal_alpha(given, law),
        "limit_accuracy": ra.limit_accuracy(**{name: x for name, x in given.items() if name != "gamma"}),
    }
    if setting["source"] == "ridge":
        of_source = {"n": given["n_source"], "p": given["p"], "gamma": given["gamma_source"]}
        numbers["kappa_source"] = isotropic.effective_ridge(**of_source)
        numbers["h_source"] = isotropic.residual_fraction(**of_source)
    choices = {"scratch": 0.0, "one": 1.0, "yours": setting["alpha"]}
    choices |= {name: numbers[f"{name}_alpha"] for name in ("optimal", "risk_optimal", "worst")}
    for name, alpha in choices.items():
        known = not math.isnan(alpha)
        numbers[f"accuracy_{name}"] = law.accuracy(alpha) if known else math.nan
        numbers[f"risk_{name}"] = law.risk(alpha) if known else math.nan
    numbers["limit_risk"] = math.nan if math.isnan(numbers["limit_accuracy"]) else 1.0
    numbers["limit_scale"] = limit_scale(numbers["eta"], s, m2, w_perp2, 1 - 2 * given["label_noise"])
    return numbers


def limit_scale(eta, s, m2, w_perp2, t):
    """Return the limit of α*κ, and so of α*γ, as γ → ∞ (THEORY §5, with label noise)."""
    if not math.isfinite(w_perp2):
        return math.nan
    return math.copysign(math.inf, s) if w_perp2 == 0.0 else eta * s / (t * m2 * w_perp2)


def risk_optimal_alpha(given, law):
    """α of least risk in mpmath: from the five numbers in float64 it loses digits as κ gets small."""
    if math.isnan(law.risk_optimal_alpha()):
        return math.nan
    exact = oracle.margin_law(**given)
    with mp.workdps(50):
        return float(((1 - exact.m0) * exact.m1 - exact.v01) / (exact.m1**2 + exact.v11))


def random_settings(rng, count):
    """Settings all over the page's ranges."""
    for i in range(count):
        yield {
            "source": "oracle" if i % 3 == 0 else "ridge",
            "beta": rng.uniform(-1, 1),
            "n": int(10 ** rng.uniform(0, 5)),
            "p": int(10 ** rng.uniform(0.4, 5)),
            "gamma": 10 ** rng.uniform(-6, 6),
            "mu": 10 ** rng.uniform(-1, 1),
            "mu_perp": 10 ** rng.uniform(-1, 1),
            "label_noise": rng.uniform(0, 0.45) * (i % 2),
            "n_source": int(10 ** rng.uniform(0, 5)),
            "gamma_source": 10 ** rng.uniform(-6, 6),
            "label_noise_source": rng.uniform(0, 0.45) * (i % 4 > 1),
            "alpha": rng.uniform(-10, 10),
        }


EXTREMES = [
    START | change
    for change in (
        {},
        {"source": "oracle"},
        *({"beta": beta, "source": source} for beta in (0, 1, -1) for source in ("oracle", "ridge")),
        *({"n": 10**6, "p": p, "gamma": gamma} for p in (10**6, 10**6 + 1, 10**6 - 1) for gamma in (0, 1e-12, 1e-6)),
        {"n": 1000, "p": 40, "gamma": 0},
        {"n": 1000, "p": 40, "gamma": 0, "beta": 0},
        {"n": 10**9 - 3, "p": 10**9, "gamma": 0, "n_source": 10**9 - 1, "gamma_source": 0},
        {"n": 1000, "p": 40, "gamma": 1e-6, "label_noise": 0.2},
        {"n": 1000, "p": 40, "gamma": 1e-12, "label_noise": 1e-10},
        {"n": 1000, "p": 40, "gamma": 0.96},
        {"n": 1, "p": 2, "n_source": 1},
        {"n": 10**9, "p": 2, "gamma": 1e12},
        {"n": 1, "p": 10**9, "gamma": 1e-12, "label_noise": 0.499, "label_noise_source": 0.499},
        {"n_source": 1000, "gamma_source": 0},
        {"n_source": 1000, "gamma_source": 1e-12},
        {"n_source": 999, "gamma_source": 0, "label_noise_source": 0.1},
        {"n_source": 1001, "gamma_source": 0, "label_noise_source": 0.1},
        {"mu": 0.01, "mu_perp": 100, "beta": 1e-3, "label_noise": 1e-9},
        {"mu": 100, "mu_perp": 0.01, "label_noise": 1e-9, "label_noise_source": 1e-9},
        {"mu": 100, "mu_perp": 100, "label_noise": 0.4, "label_noise_source": 0.3},
    )
]


@pytest.mark.browser
def test_numbers_are_those_of_python(page):
    settings = [*EXTREMES[1:], EXTREMES[0], *random_settings(np.random.default_rng(9), 80)]
    shown = page.run(
        f"""(async () => {{
            const read = {READ}, found = [];
            for (const fragment of {json.dumps([urlencode(setting) for setting in settings])}) {{
                const arrived = new Promise((done) => addEventListener("hashchange", done, {{once: true}}));
                location.hash = fragment;
                await arrived;
                found.push(read());
            }}
            return found;
        }})()"""
    )
    wrong = []
    for setting, values in zip(settings, shown, strict=True):
        numbers = expected(setting)
        assert set(numbers) == set(values)  # nothing on the page is left out
        for name, value in numbers.items():
            if not matches(convert(values[name]), value):
                wrong.append((name, values[name], value, setting))
    assert wrong == []


def matches(shown, value):
    return shown == pytest.approx(value, rel=1e-10, abs=0.0, nan_ok=True)


def test_the_comparison_would_see_a_wrong_digit():
    assert matches(math.nan, math.nan)
    assert matches(math.inf, math.inf)
    assert matches(1.0, 1.0 + 5e-11)
    for shown, value in ((1.0, 1.0 + 2e-10), (0.0, 1e-300), (math.nan, 0.0), (0.0, math.nan), (1e300, math.inf)):
        assert not matches(shown, value)


@pytest.mark.browser
def test_fields_and_sliders_set_the_problem(page):
    page.enter("beta", "−0.5")  # a proper minus sign
    page.enter("n", "1e3")
    page.enter("gamma", "0.037")
    setting = START | {"beta": -0.5, "n": 1000, "gamma": 0.037}
    assert page.numbers()["optimal_alpha"] == pytest.approx(ra.optimal_alpha(**problem(setting)), rel=1e-10)
    texts = (
        "['beta', 'n', 'gamma'].map((name) => document.getElementById(name + '-slider').getAttribute('aria-valuetext'))"
    )
    assert page.run(texts) == ["−0.5", "1000", "0.037"]

    middle = page.run(
        """(({x, y, width, height}) => [x + width / 2, y + height / 2])(
            document.getElementById("p-slider").getBoundingClientRect())"""
    )
    where = {"x": middle[0], "y": middle[1], "button": "left", "clickCount": 1}
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, **where)
    p = int(page.run("document.getElementById('p').value"))
    assert 300 < p < 3000  # the middle of a logarithmic scale from 2 to a million
    assert page.numbers()["kappa"] == pytest.approx(isotropic.effective_ridge(1000, p, 0.037), rel=1e-10)

    page.run("document.getElementById('source-ridge').focus()")
    page.press("ArrowDown", 40)
    assert page.focus() == "source-oracle"
    assert "kappa_source" not in page.numbers()
    assert page.run("document.getElementById('n_source-control').hidden")
    oracle_setting = setting | {"p": p, "source": "oracle"}
    assert page.numbers()["optimal_alpha"] == pytest.approx(ra.optimal_alpha(**problem(oracle_setting)), rel=1e-10)

    page.run("document.getElementById('reset').click()")
    assert page.numbers()["optimal_alpha"] == pytest.approx(ra.optimal_alpha(**problem(START)), rel=1e-10)


@pytest.mark.browser
def test_what_is_out_of_range_is_named_and_not_used(page):
    before = page.numbers()
    for name, bad in (("beta", "1.5"), ("n", "2.5"), ("p", "1"), ("gamma", "-1"), ("mu", "0"), ("label_noise", "0.5")):
        page.enter(name, bad)
        page.press(*TAB)
        assert page.run(f"document.getElementById('{name}').getAttribute('aria-invalid')") == "true"
        message = page.run(f"document.getElementById('{name}-hint').textContent")
        assert "must be" in message
        assert message.endswith("is still used.")
        assert page.run("document.getElementById('live').textContent") == message
    page.enter("alpha", "many")
    assert page.numbers() == before
    page.enter("beta", "0.5")
    assert page.run("document.getElementById('beta').hasAttribute('aria-invalid')") is False
    assert page.run("document.getElementById('beta-hint').textContent") == ""
    assert page.numbers()["s"] != before["s"]


@pytest.mark.browser
def test_the_address_holds_the_setting(page, address):
    page.enter("beta", "0.25")
    page.enter("gamma", "1e-6")
    page.run("document.getElementById('source-oracle').click()")
    page.wait("location.hash.includes('source=oracle')")
    fragment = page.run("location.hash")
    kept = {name: values[0] for name, values in parse_qs(fragment[1:]).items()}
    changed = START | {"beta": 0.25, "gamma": 1e-6, "source": "oracle"}
    assert kept.pop("source") == changed["source"]
    assert {name: float(value) for name, value in kept.items()} == {n: v for n, v in changed.items() if n != "source"}
    numbers = page.numbers()
    page.open(address + fragment)
    assert page.numbers() == numbers
    assert page.run("[document.getElementById('gamma').value, document.getElementById('source-oracle').checked]") == [
        "0.000001",
        True,
    ]


@pytest.mark.browser
@pytest.mark.parametrize(
    "fragment",
    [
        "#",
        "#%E0%A4%A&beta=%&&==&=",
        "#beta=2&n=2.5&p=1&gamma=-1&mu=0&label_noise=.5&gamma_source=1e-99&alpha=1e9",
        "#beta=0x1&n=NaN&p=Infinity&gamma=&mu=1,5&mu_perp=1e&n_source=null&alpha=true",
        "#source=__proto__&constructor=1&source=oracle",
        "#<img src=x onerror=alert(1)>&beta=<b>1</b>",
    ],
)
def test_a_malformed_address_is_the_initial_setting(page, address, fragment):
    numbers = page.numbers()
    page.open(address + fragment)
    assert page.numbers() == numbers


@pytest.mark.browser
def test_a_partly_good_address_is_partly_used(page, address):
    page.open(address + "#beta=oops&n=200&unknown=1&label_noise=0.1")
    law = ra.margin_law(**problem(START | {"n": 200, "label_noise": 0.1}))
    assert page.numbers()["V00"] == pytest.approx(law.cov[0, 0], rel=1e-10)


UNUSED = "document.getElementById('unused').textContent"
LIVE = "document.getElementById('live').textContent"


@pytest.mark.browser
@pytest.mark.parametrize(
    ("fragment", "said"),
    [
        ("#beta=2", "β = 2 in the address is not a number from −1 to 1; 0.9 is used."),
        (
            "#beta=abc&n=-1&p=200",
            "β = abc in the address is not a number from −1 to 1; 0.9 is used. "
            "n = -1 in the address is not a whole number from 1 to 1e9; 40 is used.",
        ),
        ("#n=1e99", "n = 1e99 in the address is not a whole number from 1 to 1e9; 40 is used."),
        ("#gamma=", "γ = nothing in the address is not 0 or a number from 1e−12 to 1e12; 0.1 is used."),
        ("#source=__proto__", "source = __proto__ in the address is not ridge or oracle; ridge is used."),
        ("#n=200&bta=1", "The address sets what is not on this page: bta."),
        (
            "#alpha=<img src=x onerror=alert(1)>",
            "α = <img src=x onerror=a… in the address is not a number from −1e6 to 1e6; 3 is used.",
        ),
    ],
)
def test_what_of_the_address_is_not_used_is_said_until_the_next_change(page, address, fragment, said):
    page.open(address + fragment)
    assert page.run(UNUSED) == said
    page.wait(f"{LIVE} !== ''")
    assert page.run(LIVE) == said
    page.run("document.getElementById('beta-slider').focus()")
    page.press(*LEFT)
    assert page.run(UNUSED) == ""
    page.wait(f"{LIVE} === document.getElementById('summary').textContent")


@pytest.mark.browser
def test_nothing_is_said_of_a_good_address(page, address):
    page.open(address + "#beta=2")
    for fragment in (urlencode(START), "results"):
        page.run(
            f"""new Promise((done) => {{
                addEventListener("hashchange", done, {{once: true}});
                location.hash = "{fragment}";
            }}).then(() => true)"""
        )
        assert page.run(UNUSED) == ""
    page.wait(f"{LIVE} === document.getElementById('summary').textContent")


@pytest.mark.browser
def test_the_keyboard_reaches_and_moves_everything(page):
    order = [place for name in START for place in (("source-ridge",) if name == "source" else (f"{name}-slider", name))]
    order += ["reset", "copy"]
    found = []
    for _ in order:
        page.press(*TAB)
        found.append(page.focus())
        style = page.run(
            "(({outlineStyle, outlineWidth}) => [outlineStyle, outlineWidth])(getComputedStyle(document.activeElement))"
        )
        assert style == ["solid", "3px"], found[-1]
    assert found == order

    page.run("document.getElementById('n-slider').focus()")
    stops = []
    for key in (HOME, RIGHT, RIGHT, LEFT, END):
        page.press(*key)
        stops.append(page.run("document.getElementById('n').value"))
        assert page.run("document.activeElement.getAttribute('aria-valuetext')") == stops[-1]
    assert stops == ["1", "2", "3", "2", "1000000"]
    page.run("document.getElementById('gamma-slider').focus()")
    page.press(*HOME)
    assert page.run("document.getElementById('gamma').value") == "0"
    assert page.numbers()["kappa"] == 0.0


@pytest.mark.browser
def test_a_screen_reader_finds_names_and_is_not_flooded(page):
    kinds = ("slider", "textbox", "radio", "button", "image", "table")
    nodes = [node for node in page.call("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
    found = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes]
    named = [(role, name) for role, name in found if role in kinds]
    assert all(name for _, name in named), named
    assert {("group", name) for name in ("Both tasks", "Source", "Target", "Scale")} <= set(found)
    roles = [role for role, _ in named]
    fields = len(START) - 1
    assert (roles.count("slider"), roles.count("textbox"), roles.count("radio")) == (fields, fields, 2)
    assert ("slider", "β alignment of the two means") in named

    page.run(
        """window.said = [];
        new MutationObserver(() => said.push(document.getElementById("live").textContent))
            .observe(document.getElementById("live"), {childList: true, characterData: true, subtree: true});
        document.getElementById("beta-slider").focus()"""
    )
    for _ in range(10):
        page.press(*LEFT)
    page.wait("said.length > 0")
    spoken = page.call("Accessibility.getFullAXTree")["nodes"]
    assert "status" in [node["role"]["value"] for node in spoken if not node["ignored"]]
    assert page.run("said") == [page.run("document.getElementById('summary').textContent")]


@pytest.mark.browser
def test_undefined_values_are_said_as_such(page, address):
    text = "document.getElementById('{}').textContent"
    page.open(address + "#n=1000&p=40&gamma=0")
    table = page.run(text.format("tables"))
    assert table.count("Undefined: without penalty and with p ≤ n the source is forgotten.") == 1
    assert table.count("undefined") == 9
    assert page.run(text.format("summary")).startswith("The source is forgotten: accuracy is ")
    page.open(address + "#n=1000&p=1000&gamma=0")
    assert page.run(text.format("summary")).startswith("Without penalty at n = p the classifier diverges")
    assert page.run(text.format("risk-chart")) == "infinite for every α"
    page.open(address + "#n_source=1000&p=1000&gamma_source=0")
    assert page.run(text.format("summary")).startswith("Nothing is defined: the source, trained without penalty")
    page.open(address + "#beta=0")
    assert "the source says nothing of the target (β = 0)" in page.run(text.format("tables"))


@pytest.mark.browser
def test_the_curves_are_drawn(page):
    """Read the accuracy's curve off the picture: its marks are where the numbers say."""
    page.run("document.getElementById('values').open = true")
    page.wait("document.querySelectorAll('#values tbody tr').length > 10")
    rows = page.run(
        "[...document.querySelectorAll('#values tbody tr')].map((row) => [...row.children].map((c) => c.textContent))"
    )
    for cells in rows:
        alpha, accuracy, risk = (float(cell.replace("−", "-")) for cell in cells)
        assert accuracy == pytest.approx(ra.accuracy(alpha, **problem(START)), abs=6e-5)
        assert risk == pytest.approx(ra.risk(alpha, **problem(START)), rel=6e-4)
    for chart, highest in (("accuracy-chart", True), ("risk-chart", False)):
        points = page.run(f"document.querySelector('#{chart} polyline').getAttribute('points')").split()
        x, y = np.array([point.split(",") for point in points], float).T
        shape = "star" if highest else "triangle"
        place = page.run(f"document.querySelector('#{chart} .mark.{shape}').getAttribute('transform')")
        at, height = map(float, re.findall(r"[\d.]+", place))
        extreme = y.min() if highest else y.max()  # y points down
        assert height == pytest.approx(extreme, abs=0.1)
        assert abs(x[y == extreme].mean() - at) < 12


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_narrow_screen_in_both_schemes(page, address, scheme):
    page.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=False)
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    try:
        page.wait("innerWidth === 360")
        for fragment in ("#", "#n=1000&p=1000&gamma=0"):
            page.open(address + fragment)
            assert page.run("document.documentElement.scrollWidth") <= 360
            assert page.run(
                "document.getElementById('tables').scrollWidth <= document.getElementById('tables').clientWidth"
            )
        colour = page.run("getComputedStyle(document.body).backgroundColor")
        assert (colour == "rgb(255, 255, 255)") == (scheme == "light")
    finally:
        page.call("Emulation.clearDeviceMetricsOverride")
        page.call("Emulation.setEmulatedMedia", features=[])


@pytest.mark.browser
def test_the_curve_stays_in_sight_of_the_controls(page):
    page.call("Emulation.setDeviceMetricsOverride", width=1200, height=700, deviceScaleFactor=1, mobile=False)
    try:
        page.wait("innerWidth === 1200")
        for name in ("copy", "alpha-slider", "p-slider"):
            page.run(f"document.getElementById('{name}').focus()")
            page.wait("document.getElementById('accuracy-chart').getBoundingClientRect().top >= 0")
            assert page.run("document.getElementById('accuracy-chart').getBoundingClientRect().bottom") <= 700
    finally:
        page.call("Emulation.clearDeviceMetricsOverride")
