"""What results show in a notebook: tables that parse, say what the objects say, and never raise."""

import math
import re
import sys
from dataclasses import dataclass, replace
from functools import cache
from html.parser import HTMLParser

import numpy as np
import pytest

import rmt_alpha as ra
from rmt_alpha import _tables
from rmt_alpha.comparison import compare
from rmt_alpha.estimation.heads import Head
from rmt_alpha.lora.training import History
from rmt_alpha.theory import symbolic
from rmt_alpha.theory.symbolic import proving
from rmt_alpha.theory.symbolic.proving import Proof, Step

INF, NAN = math.inf, math.nan
BETA = np.array([0.2, 0.8])
SETTING = {"n": 20, "p": 30, "gamma": 0.5}


class Parsed(HTMLParser):
    """A table: its caption, headers of columns, rows with their header first, and what stands below."""

    def __init__(self, html):
        super().__init__()
        self.open, self.caption, self.columns, self.rows, self.foot = [], "", [], [], ""
        self.feed(html)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        inside = self.open[-1] if self.open else None
        legal = {"tr": {"thead", "tbody", "tfoot"}, "th": {"tr"}, "td": {"tr"}, "table": {None}}
        assert inside in legal.get(tag, {"table"}), (inside, tag)
        assert set(dict(attrs)) <= {"scope", "colspan"}, "plain markup only"
        if tag == "th":
            assert dict(attrs) == {"scope": "col" if "thead" in self.open else "row"}
        self.open.append(tag)
        if tag == "tr" and "tbody" in self.open:
            self.rows.append([])
        if tag in ("th", "td") and "tbody" in self.open:
            self.rows[-1].append("")
        if tag == "th" and "thead" in self.open:
            self.columns.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "tbody" in self.open and self.open[-1] in ("th", "td"):
            self.rows[-1][-1] += data
        elif "thead" in self.open and self.open[-1] == "th":
            self.columns[-1] += data
        elif "tfoot" in self.open and self.open[-1] == "td":
            self.foot += data
        elif self.open[-1:] == ["caption"]:
            self.caption += data
        else:
            assert not data.strip(), data

    @property
    def cells(self):
        """By row and column."""
        found = {}
        for head, *values in self.rows:
            assert len(values) == len(self.columns) - 1
            found |= {(head, column): value for column, value in zip(self.columns[1:], values, strict=True)}
        return found


def parsed(thing):
    return Parsed(thing._repr_html_())


def four(value):
    return f"{value:.4g}"


@cache
def run(K=1, beta=None, **options):
    if K == 1:
        return ra.simulate(BETA if beta else 0.8, **SETTING, trials=12, seed=0, workers=1, **options)
    return transfer(K).simulate(12, seed=0, workers=1)


def transfer(K):
    sources = [ra.FixedSource(np.linspace(0.1 * k, 0.5, 6)) for k in range(1, K + 1)]
    return ra.Transfer(ra.GaussianMixture(np.linspace(0.2, 0.6, 6)), n=40, gamma=0.5, sources=sources)


def law(K, shape=()):
    """Some laws of K sources."""
    rng = np.random.default_rng([K, *shape])
    factor = rng.standard_normal((*shape, K + 1, K + 1))
    return ra.MarginLaw(rng.uniform(0.2, 0.8, (*shape, K + 1)), factor @ np.swapaxes(factor, -1, -2))


def spread(K, shape=()):
    d = (K + 1) * (K + 4) // 2
    return ra.Fluctuations(law(K, shape), np.broadcast_to(1e-4 * np.eye(d), (*shape, d, d)))


def loo(K=1, gamma=0.3, outputs=0, labels=True):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((8, 4)), np.repeat([-1.0, 1.0], 4)
    Y = np.stack([np.roll(y, k) for k in range(outputs)], axis=1) if outputs else y
    W = rng.standard_normal((K, *((outputs,) if outputs else ()), 4))
    return ra.leave_one_out(X, Y if labels else 2.5 * Y, W, gamma=gamma)


def history(**changes):
    empty = np.zeros(0)
    steps = np.zeros(0, dtype=np.int64)
    full = History(
        np.array([2.0, 1.0]), {"a<b>": np.array([[1.0, 1.0], [0.5, 0.25]])}, steps, empty, empty, steps, 2, True
    )
    return replace(full, **changes)


def nothing(shape):
    """Laws that are nowhere defined."""
    return ra.MarginLaw._trusted(np.full((*shape, 2), NAN), np.full((*shape, 2, 2), NAN))


THINGS = {
    **{f"law {K}": (lambda K=K: law(K)) for K in (0, 1, 2, 3, 12)},
    **{f"laws {K}": (lambda K=K: law(K, (2, 7))) for K in (0, 1, 3)},
    **{f"no laws {K}": (lambda K=K: law(K, (2, 3))[:, :0]) for K in (0, 1, 3)},
    "law of interpolation": lambda: ra.MarginLaw([0.5, 0.2], [[INF, 0.0], [0.0, 1.0]]),
    "law that forgot": lambda: ra.MarginLaw([0.5, 0.0], [[1.0, 0.0], [0.0, 0.0]]),
    "law without noise": lambda: ra.MarginLaw([0.5, 0.1], np.zeros((2, 2))),
    "law of huge numbers": lambda: ra.MarginLaw([1e200, -1e200], [[1e300, 0.0], [0.0, 1e300]]),
    "law of nothing": lambda: nothing(()),
    "laws of nothing": lambda: nothing((3,)),
    **{f"risk {K}": (lambda K=K: law(K).risk_law()) for K in (0, 1, 3, 11)},
    **{f"risks {K}": (lambda K=K: law(K, (9,)).risk_law(0.1)) for K in (0, 1, 3)},
    "risks of nothing": lambda: nothing((2,)).risk_law(),
    **{f"spread {K}": (lambda K=K: spread(K)) for K in (0, 1, 3)},
    **{f"spreads {K}": (lambda K=K: spread(K, (2, 5))) for K in (0, 1, 3)},
    "no spreads": lambda: spread(1, (2,))[:0],
    "estimate": lambda: ra.Estimate(0.5, 0.1, 10),
    "estimate of one trial": lambda: ra.Estimate(INF, NAN, 1),
    "estimates": lambda: ra.Estimate.of(np.arange(60.0).reshape(3, 4, 5)),
    "no estimates": lambda: ra.Estimate(np.zeros(0), np.zeros(0), 3),
    **{f"run {K}": (lambda K=K: run(K)) for K in (0, 1, 3)},
    "runs": lambda: run(beta=True),
    "no runs": lambda: run(beta=True)[:0],
    "runs, counted": lambda: run(beta=True, noise="uniform", test_size=10),
    "many runs, counted": lambda: ra.simulate(
        np.linspace(0.0, 1.0, 10), **SETTING, trials=3, seed=0, workers=1, noise="uniform", test_size=10
    ),
    "run of one trial": lambda: ra.simulate(0.8, **SETTING, trials=1, seed=0, workers=1),
    "run of anything": lambda: replace(run(), experiment={"<b>": 1}),
    "comparison": lambda: compare(run(), [0.0, 1.0]),
    "comparison of many": lambda: compare(run(), np.linspace(0.0, 1.0, 40)),
    "comparison without a theory of the spread": lambda: compare(run(noise="uniform", test_size=10)),
    **{f"loo {K}": (lambda K=K: loo(K)) for K in (0, 1, 3)},
    "loos": lambda: loo(gamma=np.full((3, 5), 0.5)),
    "no loos": lambda: loo(gamma=[]),
    "loos of outputs": lambda: loo(outputs=3, gamma=[0.1, 1.0]),
    "loo of outputs": lambda: loo(outputs=3),
    "loo of responses": lambda: loo(labels=False),
    "loo of huge numbers": lambda: replace(loo(), predictions=np.full((8, 2), 1e160)),
    "choice": lambda: ra.optimal_alpha_gamma(0.5, 10, 20, gamma=0.1),
    "choice without a source": lambda: ra.optimal_alpha_gamma(0.5, 10, 20, gamma=0.1, mu=0.0),
    "choices": lambda: ra.optimal_alpha_gamma(np.linspace(0, 1, 10), 10, 20, gamma=0.1),
    "no choices": lambda: ra.optimal_alpha_gamma(np.zeros(0), 10, 20),
    "choice of three": lambda: transfer(3).optimal_alpha_gamma(),
    "sweep": lambda: ra.sweep(BETA, [10, 20], 20, 0.1, trials=3, seed=0, workers=1),
    "theory": lambda: ra.sweep(0.5, 10, 20, 0.1, trials=0),
    "history": history,
    "history of nothing": lambda: history(loss=np.zeros(0), alpha={}),
}


@pytest.mark.parametrize("name", THINGS)
def test_a_table_is_plain_and_balanced_and_never_raises(name):
    thing = THINGS[name]()
    table = parsed(thing)
    assert type(thing).__name__ in table.caption
    assert table.columns
    assert all(table.columns)
    assert len(set(table.columns)) == len(table.columns)
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert all(row[0] for row in table.rows)
    shape = getattr(thing, "shape", ())
    if name.startswith("no "):
        assert not table.rows
    if shape:
        assert str(shape) in table.caption or "Sweep" in table.caption
        assert len(table.rows) == min(math.prod(shape), _tables.ROWS)
        assert table.foot == ("" if math.prod(shape) <= _tables.ROWS else f"… and {math.prod(shape) - 8} more")


def test_a_law_says_what_its_methods_say():
    for one in (law(1), ra.margin_law(0.8, **SETTING)):
        values = [value for _, value in parsed(one).rows]
        expected = [*one.mean, one.cov[0, 0], one.cov[0, 1], one.cov[1, 1]]
        expected += [one.optimal_alpha(), one.worst_alpha(), one.risk_optimal_alpha()]
        expected += [one.accuracy(0.0), one.accuracy(1.0), one.best_accuracy()]
        assert values == [four(x) for x in expected]
    three = law(3)
    cells = parsed(three).cells
    assert cells["V13", "value"] == four(three.cov[1, 3])
    assert cells["α*", "value"] == f"({', '.join(map(four, three.optimal_alpha()))})"
    assert cells["accuracy at α = 1", "value"] == four(three.accuracy([1.0, 1.0, 1.0]))
    risk = three.risk_law()
    assert parsed(risk).cells["quadratic_23", "value"] == four(risk.quadratic[1, 2])
    assert parsed(risk).cells["least risk", "value"] == four(risk.best_risk())
    twelve = parsed(law(12))
    assert "M0" not in [row[0] for row in twelve.rows]  # too many numbers
    assert twelve.rows[0][1].endswith(", …)")


def test_a_batch_shows_the_entries_that_indexing_gives():
    many = law(1, (2, 7))
    table = parsed(many)
    assert [row[0] for row in table.rows] == [*(f"0, {j}" for j in range(7)), "1, 0"]
    assert table.cells["1, 0", "α*"] == four(many[1, 0].optimal_alpha())
    assert table.cells["0, 3", "M1"] == four(many.mean[0, 3, 1])
    assert parsed(law(3, (2, 7))).cells["0, 1", "α*"].startswith(f"({four(law(3, (2, 7))[0, 1].optimal_alpha()[0])}, ")


def test_of_a_huge_batch_only_what_is_shown_is_computed(monkeypatch):
    sizes = []
    answers = ra.MarginLaw._answers_by_name
    monkeypatch.setattr(ra.MarginLaw, "_answers_by_name", lambda self: sizes.append(self.shape) or answers(self))
    size = 10**12  # of which no array could hold even the indices
    mean, cov = (np.broadcast_to(array, (size, *array.shape)) for array in (law(1).mean, law(1).cov))
    huge = object.__new__(ra.MarginLaw)
    object.__setattr__(huge, "mean", mean)
    object.__setattr__(huge, "cov", cov)
    assert parsed(huge).foot == f"… and {size - 8} more"
    assert sizes == [(8,)]


def test_fluctuations_and_simulations_show_their_spread():
    one = spread(1)
    cells = parsed(one).cells
    assert cells["V01", "value"] == f"{four(one.law.cov[0, 1])} ± 0.01"
    assert cells["accuracy at α = 1", "value"] == f"{four(one.law.accuracy(1.0))} ± {one.accuracy_std(1.0):.2g}"
    assert cells["α*", "value"] == f"{four(one.law.optimal_alpha())} ± {one.optimal_alpha_std():.2g}"

    numbers, accuracy = run().five_numbers(), run().accuracy(1.0)
    table = parsed(run())
    assert table.caption == (
        "Simulation: 12 trials, streaming; mean ± standard error; beta = 0.8, n = 20, p = 30, gamma = 0.5"
    )
    assert [row[0] for row in table.rows[:5]] == ["M0", "M1", "V00", "V01", "V11"]
    assert table.rows[1][1] == f"{four(numbers.value[1])} ± {numbers.stderr[1]:.2g}"
    assert table.rows[-1][1] == f"{four(accuracy.value)} ± {accuracy.stderr:.2g}"

    counted = run(beta=True, noise="uniform", test_size=10)
    table, accuracy = parsed(counted), counted.accuracy(0.0)
    assert "dense, 10 test points in each" in table.caption
    assert "shape (10,)" in parsed(THINGS["many runs, counted"]()).caption
    assert table.cells["1", "accuracy at α = 0"] == f"{four(accuracy.value[1])} ± {accuracy.stderr[1]:.2g}"
    assert (run().method, counted.method, counted[:1].method) == ("streaming", "dense", "dense")
    assert "Transfer(" in parsed(run(3)).caption


def test_comparison_says_whether_theory_and_simulation_agree():
    result = compare(run(), [0.0, 1.0])
    table = parsed(result)
    assert table.caption.endswith("they agree, their spreads agree")
    accuracy = run().accuracy(1.0)
    assert table.cells["accuracy(1)", "simulated"] == f"{four(accuracy.value)} ± {accuracy.stderr:.2g}"
    assert table.cells["V00", "z"] == f"{result.z[2]:.1f}"
    assert table.cells["V11", "z of spread"] == f"{result.spread_z[4]:.1f}"
    assert table.cells["V11", "in theory"] == f"{result.predicted_spread[4]:.2g}"
    wrong = replace(result, theory=result.theory + 10.0)
    assert "they disagree" in parsed(wrong).caption
    assert "in theory" not in parsed(compare(run(noise="uniform", test_size=10))).columns
    assert parsed(compare(run(), np.linspace(0.0, 1.0, 40))).foot == "… and 15 more"


def test_leave_one_out_shows_each_penalty_and_output():
    result = loo(gamma=[0.1, 1.0])
    cells = parsed(result).cells
    assert cells["1", "γ"] == "1"
    assert cells["0", "α* of the left-out"] == four(result.margin_law().optimal_alpha()[0])
    assert cells["1", "risk at α = 1"] == four(result.risk(1.0)[1])
    outputs = loo(outputs=3, gamma=[0.1, 1.0])
    cells = parsed(outputs).cells
    assert [cells[f"{i}, 2", "γ"] for i in range(2)] == ["0.1", "1"]
    assert cells["1, 2", "risk at α = 1"] == four(outputs.risk(np.ones(3))[1, 2])
    assert cells["0, 1", "α* of the left-out"] == four(outputs.margin_law().optimal_alpha()[0, 1])
    assert not [c for c in parsed(loo(labels=False)).rows if "accuracy" in c[0]]
    assert not [c for c in parsed(THINGS["loo of huge numbers"]()).rows if "α*" in c[0]]


def test_a_choice_shows_the_table_that_it_prints():
    choice = ra.optimal_alpha_gamma(0.5, 10, 20, gamma=0.1)
    printed = [re.split(r" {2,}", line.strip()) for line in str(choice).splitlines()[1:]]
    assert parsed(choice).rows == printed
    choices = ra.optimal_alpha_gamma(np.linspace(0, 1, 10), 10, 20, gamma=0.1)
    assert parsed(choices).cells["3", "best γ at α = 1"] == four(choices[3].gamma_at_one)
    assert parsed(choices).cells["7", "accuracy"] == four(choices[7].accuracy)


def test_a_sweep_shows_its_first_rows_and_says_what_is_constant(monkeypatch):
    for package in ("pandas", "xarray"):  # which are not needed
        monkeypatch.setitem(sys.modules, package, None)
    table = THINGS["sweep"]()
    shown, rows = parsed(table), list(table.rows())
    assert "p = 20; gamma = 0.1; mu = 1" in shown.caption
    assert "gamma" not in shown.columns
    assert "n_source" not in shown.caption
    assert shown.columns[:3] == ["beta", "n", "alpha"]
    for values, row in zip(shown.rows, rows, strict=False):
        assert values == [_tables.text(row[name]) for name in shown.columns]


def test_a_history_shows_where_things_began_and_ended():
    shown = parsed(history())
    assert shown.caption == "History: 2 steps, left at step 2, stopped early"
    assert shown.rows == [["loss", "2", "1"], ["α of a<b>", "(1, 1)", "(0.5, 0.25)"]]


@dataclass
class Loud:
    name: str


def test_everything_is_escaped():
    name = '<b onclick="x">&amp;</b>'
    html = _tables.table(name, (name, name), [(name, name)], more=1)
    assert "<b" not in html
    table = Parsed(html)
    assert (table.caption, table.columns, table.rows) == (name, [name, name], [[name, name]])
    assert "{'<b>': 1}" in parsed(THINGS["run of anything"]()).caption
    loud = replace(run(), experiment=Loud("<script>" * 1000))
    assert "<script" not in loud._repr_html_()
    assert len(loud._repr_html_()) < 5000


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.123456, "0.1235"),
        (np.float64(INF), "inf"),
        (NAN, "nan"),
        (12345678, "12345678"),
        (np.int64(3), "3"),
        (True, "yes"),
        (np.bool_(False), "no"),
        (None, ""),
        (np.arange(7.0), "(0, 1, 2, 3, 4, 5, …)"),
        (np.array(0.5), "0.5"),
        ((0.123456, 0.0123456), "0.1235 ± 0.012"),
        ((np.ones(2), np.ones(2)), "(1, 1) ± (1, 1)"),
    ],
)
def test_cells_are_short(value, written):
    assert _tables.text(value) == written


# Estimators and heads.


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("K", [0, 1, 2])
def test_estimators_show_what_they_learned_below_scikit_learns_own(classes, K):
    sklearn = pytest.importorskip("sklearn")
    rng = np.random.default_rng(classes)
    y = np.repeat([f"<{i}>" for i in range(classes)], 5)
    X = rng.standard_normal((len(y), 4))
    X[:, 0] += np.arange(len(y)) / 5
    source = rng.standard_normal((K, classes if classes > 2 else 1, 4)) if K else None
    model = ra.AlphaRidgeClassifier(source, alpha=0.5)
    assert "chosen by the fit" not in model._repr_html_()
    model.fit(X, y)
    html = model._repr_html_()
    learned = Parsed(html[html.rindex("<table>") :])
    assert learned.caption == "AlphaRidgeClassifier: chosen by the fit"
    assert learned.cells["γ", "value"] == "1"
    assert learned.cells["α", "value"] == _tables.text(model.alpha_)
    scores = model.loo_.prediction(model.alpha_)
    right = (scores > 0) == (model.loo_.y > 0) if classes == 2 else scores.argmax(0) == model.loo_.y.argmax(0)
    assert learned.cells["accuracy on left-out samples", "value"] == four(right.mean())
    assert model._repr_mimebundle_()["text/html"].endswith(html[html.rindex("<table>") :])
    with sklearn.config_context(display="text"):
        assert not hasattr(model, "_repr_html_")
        assert list(model._repr_mimebundle_()) == ["text/plain"]

    regression = ra.AlphaRidge(None if source is None else source[:, 0], alpha=0.5).fit(X, X[:, 1])
    html = regression._repr_html_()
    cells = Parsed(html[html.rindex("<table>") :]).cells
    assert cells["mean squared residual of left-out samples", "value"] == four(regression.loo_.risk(regression.alpha_))
    robust = ra.AlphaRidge([1.0, 0.0, 0.0, 0.0]).fit(X, X[:, 1])._repr_html_()
    assert "posterior probability that a source matters" in robust


def test_a_head_is_short():
    assert repr(Head(np.ones(5000), 0.5, [3, 8], alpha=0.5, gamma=0.1, scale=np.ones(5000), slope=1.5)) == (
        "Head(outputs=1, features=5000, classes=(3, 8), alpha=0.5, gamma=0.1, slope=1.5)"
    )
    assert repr(Head(np.ones((100, 9)), classes=range(100))) == (
        "Head(outputs=100, features=9, classes=(0, 1, 2, 3, 4, 5, …))"
    )
    assert repr(Head([1.0])) == "Head(outputs=1, features=1)"


# Proofs.


def proof(statement="What is claimed.", conclusion="So it is."):
    """One that claims what THEORY does, without its derivation."""
    numbers = symbolic.five_numbers(of="letters")
    claims = {"risk": symbolic.risk(of="letters"), "M1": numbers["M1"]}
    return Proof("short", statement, claims, (Step("Each entry of θC and γI", tuple(claims.items())),), conclusion)


def test_a_proof_is_short_in_a_list():
    assert repr([proof()]) == "[<Proof short: What is claimed.>]"


def test_a_long_formula_is_stated_and_not_repeated():
    latex = proof()._repr_latex_()  # of more than 5 KB MathJax shows nothing
    assert latex.count(r"\mathrm{risk} =") == 1
    assert r"\mathrm{risk} \text{ as stated}" in latex
    assert latex.count("M_1 =") == 2  # this one is short
    assert r"m^2" in latex


def test_signs_are_apart_from_the_letters_that_follow():
    assert proving._prose("of θC and γI, mean²/var") == (
        r"\text{of }\theta C\text{ and }\gamma I\text{, }\mathrm{mean}^{2}/\mathrm{var}"
    )


def test_long_sentences_of_a_proof_are_broken():
    long = "a word and another " * 12
    lines = proof(long, long)._repr_latex_().splitlines()
    assert [sum(mark in line for line in lines) for mark in (r"\textbf{Statement.}", r"\blacksquare")] == [3, 3]
    words = [re.sub(r"\\phantom{.*?}+|\\[a-z]+", "", line) for line in lines if "a word" in line]
    assert max(map(len, words)) < 130


# pandas and xarray.


def test_laws_become_frames():
    pandas = pytest.importorskip("pandas")
    many = law(1, (2, 3))
    frame = many.to_pandas(beta=BETA, n=[10, 20, 30])
    assert frame.index.names == ["beta", "n"]
    assert frame.loc[(0.8, 20), "optimal_alpha"] == many[1, 1].optimal_alpha()
    assert frame.loc[(0.2, 30), "V01"] == many.cov[0, 2, 0, 1]
    assert list(many[0].to_pandas(trial=None).index) == [0, 1, 2]
    assert many[0].to_pandas(trial=None).index.name == "trial"
    assert many[0].to_pandas().index.name is None
    assert isinstance(many.to_pandas().index, pandas.MultiIndex)
    three = law(3).to_pandas()
    assert three.shape[0] == 1
    assert three["optimal_alpha_2"].item() == law(3).optimal_alpha()[1]
    assert law(3, (2, 3))[:0].to_pandas().shape == (0, three.shape[1])
    assert spread(1).to_pandas()["std_V01"].item() == pytest.approx(0.01)
    risk = law(3, (4,)).risk_law()
    np.testing.assert_array_equal(risk.to_pandas()["linear_3"], risk.linear[:, 2])
    np.testing.assert_array_equal(risk.to_pandas()["quadratic_13"], risk.quadratic[:, 0, 2])
    np.testing.assert_array_equal(run().law.to_pandas()["accuracy_1"], run().law.accuracy(1.0))


def test_laws_become_datasets():
    xarray = pytest.importorskip("xarray")
    many = law(3, (2, 3))
    data = many.to_xarray(beta=BETA, n=None)
    assert data["M2"].dims == ("beta", "n")
    assert data["optimal_alpha"].dims == ("beta", "n", "source")
    assert data["optimal_alpha"].sel(beta=0.8, source=3)[1].item() == many.optimal_alpha()[1, 1, 2]
    assert sorted(data.coords) == ["beta", "source"]
    assert law(1, (2, 3)).to_xarray()["V11"].dims == ("dim_0", "dim_1")
    assert isinstance(law(1).to_xarray(), xarray.Dataset)
    assert law(0, (2,)).to_xarray()["accuracy"].shape == (2,)


@pytest.mark.parametrize(("method", "package"), [("to_pandas", "pandas"), ("to_xarray", "xarray")])
def test_what_cannot_become_a_table_is_refused(method, package, monkeypatch):
    pytest.importorskip(package)
    convert = getattr(law(1, (2, 3)), method)
    with pytest.raises(ValueError, match=r"axes must name the 2 axes of shape \(2, 3\), got beta"):
        convert(beta=BETA)
    with pytest.raises(ValueError, match=r"n must have shape \(3,\), one label for each entry, got shape \(2,\)"):
        convert(beta=BETA, n=BETA)
    with pytest.raises(ValueError, match=r"axes must name the 0 axes of shape \(\), got n"):
        getattr(law(1), method)(n=None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{package}.*pip install 'rmt_alpha\[table\]'"):
        convert()
