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
    """A table: its caption, headers of columns, rows with their header first, and what stands below.

    With hyphens for the signs of numbers and spaces at which lines break, which are tested of the HTML.
    """

    def __init__(self, html):
        super().__init__()
        html = html.replace("−", "-").replace("\xa0", " ").replace("\u2060", "")
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


def agrees(written, value):
    """Tell whether at least four digits of a number, and only its own, have been written."""
    decimals = len(written.partition(".")[2])
    return written == f"{value:z.{decimals}f}" and float(written) == pytest.approx(value, rel=5.1e-4)


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
    "problem": lambda: transfer(3),
    "problem of many": lambda: transfer(10),
    "problem of nothing": lambda: transfer(0),
    "problem of regression": lambda: ra.RegressionTransfer(
        ra.RegressionTask(np.ones((2, 4))), 10, 0.5, [ra.RidgeSource(ra.RegressionTask(np.ones((2, 4))), 20, 0.5)]
    ),
    "estimate of a problem": lambda: ra.estimate_problem(*labelled_rows(), np.eye(4)[0]),
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
        assert len(values) == len(expected)
        assert all(agrees(*pair) for pair in zip(values, expected, strict=True))
        assert len({len(value.partition(".")[2]) for value in values}) == 1
    three = law(3)
    cells = parsed(three).cells
    assert agrees(cells["V13", "value"], three.cov[1, 3])
    assert cells["α*", "value"] == f"({', '.join(map(four, three.optimal_alpha()))})"
    assert agrees(cells["accuracy at α = 1", "value"], three.accuracy([1.0, 1.0, 1.0]))
    risk = three.risk_law()
    assert agrees(parsed(risk).cells["quadratic_23", "value"], risk.quadratic[1, 2])
    assert agrees(parsed(risk).cells["least risk", "value"], risk.best_risk())
    twelve = parsed(law(12))
    assert "M0" not in [row[0] for row in twelve.rows]  # too many numbers
    assert twelve.rows[0][1].endswith(", …)")


def test_a_batch_shows_the_entries_that_indexing_gives():
    many = law(1, (2, 7))
    table = parsed(many)
    assert [row[0] for row in table.rows] == [*(f"0, {j}" for j in range(7)), "1, 0"]
    assert agrees(table.cells["1, 0", "α*"], many[1, 0].optimal_alpha())
    assert agrees(table.cells["0, 3", "accuracy at α = 1"], many[0, 3].accuracy(1.0))
    for thing in (many, many.risk_law(), spread(1, (2,)), run(beta=True)):  # M and V make a batch too wide to read
        assert not {"M0", "V00", "constant", "linear_1"} & set(parsed(thing).columns)
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
    assert cells["V01", "value"] == f"{one.law.cov[0, 1]:.3f} ± 0.010"
    shown = _tables.measured(one.law.accuracy(1.0), one.accuracy_std(1.0))
    assert cells["accuracy at α = 1", "value"] == shown
    assert cells["α*", "value"] == _tables.measured(one.law.optimal_alpha(), one.optimal_alpha_std())

    numbers, accuracy = run().five_numbers(), run().accuracy(1.0)
    table = parsed(run())
    assert table.caption == (
        "Simulation: 12 trials, streaming; mean ± standard error; beta = 0.8, n = 20, p = 30, gamma = 0.5"
    )
    assert [row[0] for row in table.rows[:5]] == ["M0", "M1", "V00", "V01", "V11"]
    assert table.rows[1][1] == _tables.measured(numbers.value[1], numbers.stderr[1])
    assert table.rows[-1][1] == _tables.measured(accuracy.value, accuracy.stderr)

    counted = run(beta=True, noise="uniform", test_size=10)
    table, accuracy = parsed(counted), counted.accuracy(0.0)
    assert "dense, 10 test points in each" in table.caption
    assert "shape (10,)" in parsed(THINGS["many runs, counted"]()).caption
    assert table.cells["1", "accuracy at α = 0"] == _tables.measured(accuracy.value[1], accuracy.stderr[1])
    assert (run().method, counted.method, counted[:1].method) == ("streaming", "dense", "dense")
    assert "Transfer(" in parsed(run(3)).caption


def test_comparison_says_whether_theory_and_simulation_agree():
    result = compare(run(), [0.0, 1.0])
    table = parsed(result)
    assert table.caption.endswith("they agree, their spreads agree")
    accuracy = run().accuracy(1.0)
    assert table.cells["accuracy(1)", "simulated"] == _tables.measured(accuracy.value, accuracy.stderr)
    assert table.cells["V00", "z"] == f"{result.z[2]:.1f}"
    assert table.cells["V11", "z of spread"] == f"{result.spread_z[4]:.1f}"
    both = result.spread[4], result.predicted_spread[4]
    assert table.cells["V11", "spread / theory"] == "{:#.2g} / {:#.2g}".format(*both)
    wrong = replace(result, theory=result.theory + 10.0)
    assert "they disagree" in parsed(wrong).caption
    assert "spread / theory" not in parsed(compare(run(noise="uniform", test_size=10))).columns
    assert parsed(compare(run(), np.linspace(0.0, 1.0, 40))).foot == "… and 15 more"


def test_leave_one_out_shows_each_penalty_and_output():
    result = loo(gamma=[0.1, 1.0])
    cells = parsed(result).cells
    assert [cells[f"{i}", "γ"] for i in range(2)] == ["0.1", "1.0"]
    assert agrees(cells["0", "α*"], result.margin_law().optimal_alpha()[0])
    assert agrees(cells["1", "risk at α = 1"], result.risk(1.0)[1])
    assert parsed(loo(gamma=1.0)).cells["γ", "value"] == "1"
    outputs = loo(outputs=3, gamma=[0.1, 1.0])
    cells = parsed(outputs).cells
    assert [cells[f"{i}, 2", "γ"] for i in range(2)] == ["0.1", "1.0"]
    assert agrees(cells["1, 2", "risk at α = 1"], outputs.risk(np.ones(3))[1, 2])
    assert agrees(cells["0, 1", "α*"], outputs.margin_law().optimal_alpha()[0, 1])
    assert not [c for c in parsed(loo(labels=False)).rows if "accuracy" in c[0]]
    assert not [c for c in parsed(THINGS["loo of huge numbers"]()).rows if "α*" in c[0]]


def test_a_choice_shows_the_table_that_it_prints():
    choice = ra.optimal_alpha_gamma(0.5, 10, 20, gamma=0.1)
    printed = [re.split(r" {2,}", line.strip()) for line in str(choice).splitlines()[1:]]
    assert parsed(choice).rows == printed
    choices = ra.optimal_alpha_gamma(np.linspace(0, 1, 10), 10, 20, gamma=0.1)
    shown = parsed(choices)
    assert agrees(shown.cells["3", "best γ at α = 1"], choices[3].gamma_at_one)
    assert agrees(shown.cells["7", "accuracy"], choices[7].accuracy)
    assert "c" not in shown.columns
    assert shown.cells["3", "α"] == parsed(choices[3]).cells["both", "α"] == f"{four(choices[3].c)}/κ"
    general = parsed(replace(choices[:2], alpha=np.array([0.0, -1.5])))  # with a penalty at which α has a limit
    assert [row[1] for row in general.rows] == [f"{four(choices[0].c)}/κ", "-1.5"]
    several = ra.theory.choice.JointChoice(*(np.ones((2, 3)), np.ones(2), np.ones((2, 3))), *(np.ones(2),) * 3)
    assert parsed(several).cells["1", "α"] == "(1, 1, 1)"


def test_a_sweep_shows_its_first_rows_and_says_what_is_constant(monkeypatch):
    for package in ("pandas", "xarray"):  # which are not needed
        monkeypatch.setitem(sys.modules, package, None)
    table = THINGS["sweep"]()
    shown, rows = parsed(table), list(table.rows())
    assert "p = 20; gamma = 0.1; mu = 1" in shown.caption
    assert "n_source" not in shown.caption
    assert shown.columns == ["beta", "n", "α", "accuracy", "simulated ± s.e.", "z"]
    for values, row in zip(shown.rows, rows, strict=False):
        alpha = f"{four(row['alpha_value'])} (α*)" if row["alpha"] == "optimal" else row["alpha"]
        simulated = _tables.measured(row["simulated_accuracy"], row["stderr_accuracy"])
        assert values[:3] == [four(row["beta"]), str(row["n"]), alpha]
        assert agrees(values[3], row["accuracy"])
        assert values[4:] == [simulated, f"{row['z']:.1f}"]
    second = ra.sweep(BETA, 10, 20, 0.1, trials=3, seed=0, workers=1, order=2)
    theory = parsed(second).rows[0][2]
    assert parsed(second).columns[2] == "mean accuracy"  # what z takes for the theory
    assert agrees(theory, next(second.rows())["mean_accuracy"])
    assert parsed(THINGS["theory"]()).columns == ["α", "accuracy"]


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
        ((0.123456, 0.0123456), "0.123 ± 0.012"),
        ((np.ones(2), np.ones(2)), "(1.0 ± 1.0, 1.0 ± 1.0)"),
        ((np.ones(7), np.full(7, NAN)), "(1, 1, 1, 1, 1, 1, …)"),
        (-0.0, "0"),
    ],
)
def test_cells_are_short(value, written):
    assert _tables.text(value) == written


@pytest.mark.parametrize(
    ("value", "error", "written"),
    [
        (0.684, 0.0054, "0.6840 ± 0.0054"),
        (0.66782, 0.000016, "0.667820 ± 0.000016"),
        (0.66782, 1.6e-7, "6.6782000e-01 ± 1.6e-07"),
        (-1.25e-9, 3e-11, "-1.250e-09 ± 3.0e-11"),
        (0.0, 3e-11, "0e+00 ± 3.0e-11"),
        (12.3456, 0.0996, "12.35 ± 0.10"),
        (12.3456, 0.994, "12.35 ± 0.99"),
        (12.3456, 0.996, "12.3 ± 1.0"),
        (12345.6, 234.0, "12350 ± 230"),
        (12345.6, 23.4, "12346 ± 23"),
        (1234567.0, 2.0, "1.2345670e+06 ± 2.0e+00"),
        (1.0, 1e9, "1e+00 ± 1.0e+09"),
        (-0.001, 0.5, "0.00 ± 0.50"),
        (1.0, 1e-300, "1.000000000000000e+00 ± 1.0e-300"),
        (0.5505, NAN, "0.5505"),
        (0.5505, 0.0, "0.5505 ± 0"),
        (INF, 0.1, "inf ± 0.1"),
        (0.5505, INF, "0.5505 ± inf"),
    ],
)
def test_a_value_has_the_digits_that_its_error_leaves(value, error, written):
    assert _tables.measured(value, error) == written


@pytest.mark.parametrize(
    ("column", "written"),
    [
        ([0.7, 0.65432, -12.3], ["0.7000", "0.6543", "-12.3000"]),
        ([10.0, 20.0], ["10", "20"]),
        ([0.1, 1.0, NAN, "x", 3, INF], ["0.1", "1.0", "nan", "x", "3", "inf"]),
        ([np.float64(0.5), np.array(-1e-9)], ["0.5", "-1e-09"]),
        ([1e-5 / 3.0, 0.25], ["3.333e-06", "0.25"]),
        ([0.00012346, 10.5], ["0.0001235", "10.5"]),
        ([-0.00001, 0.5], ["-1e-05", "0.5"]),
    ],
)
def test_numbers_of_a_column_stand_below_each_other(column, written):
    assert [row[1] for row in Parsed(_tables.table("", ("a", "b"), [("x", cell) for cell in column])).rows] == written


def test_numbers_have_a_sign_and_stay_on_their_line():
    rows = [(-0.5, -1e-9), ("a-1 ± -2", (-0.5, 0.1)), ("b", np.array([-1.0, 2.0])), ("c", "-0.6/κ"), ("d", "e-mail -x")]
    html = _tables.table("β = -0.5", ("a", "b"), rows)
    for shown in (
        "β = −0.5<",
        ">−0.5<",
        ">−1e−09<",
        ">−0.50\xa0±\xa00.10<",
        ">(−1, 2)<",
        ">−0.6/\u2060κ<",
        ">e-mail -x<",
    ):
        assert shown in html
    assert ">a-1 ± -2<" in html  # a name
    assert ">0,\xa01<" in law(1, (2, 2))._repr_html_()
    assert "0.0 " not in str(Parsed(_tables.table("", ("a", "b"), [("x", (-1e-5, 0.5))])).rows)


def test_of_one_trial_there_is_no_error():
    for thing in (run_of_one(), ra.Estimate(0.5505, NAN, 1)):
        html = thing._repr_html_()
        assert "nan" not in html
        assert "±" not in html
        assert "1 trial" in html
        assert "no standard error" in html
    assert parsed(ra.Estimate(0.5505, NAN, 1)).cells["mean", "value"] == "0.5505"
    assert parsed(ra.Estimate(0.5505, 0.01, 9)).cells["mean", "value"] == "0.550 ± 0.010"


def run_of_one():
    return ra.simulate(0.8, **SETTING, trials=1, seed=0, workers=1)


def test_a_comparison_prints_what_the_command_writes(capsys):
    from rmt_alpha.cli import main

    options = {"beta": 0.8, "n": 20, "p": 30, "gamma": 0.5, "trials": 12, "seed": 0}
    result = compare(ra.simulate(**options), [0.0, 1.0])
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    main(["compare", *arguments, "--alpha", "0", "1"])
    assert str(result) == capsys.readouterr().out.rstrip("\n")
    lines = str(result).splitlines()
    assert lines[0].split()[:3] == ["quantity", "theory", "simulated"]
    assert [line.split()[0] for line in lines[1:8]] == list(result.quantities)
    assert "Theory and simulation agree" in lines[11]
    assert repr(result) == "Comparison(quantities=7, trials=12, order=1, agrees=True, spreads_agree=True)"
    near = replace(result, simulated=result.theory - 1e-3 * result.stderr)
    assert "-0.0" not in str(near)
    assert "-0.0" not in near._repr_html_().replace("−", "-")
    unknown = compare(run(noise="uniform", test_size=10))
    assert "nan" not in str(unknown)
    assert "predicted" not in str(unknown)


def test_a_problem_and_its_estimate_are_tables():
    mixture = ra.GaussianMixture(np.linspace(0.2, 0.6, 6))
    sources = [ra.RidgeSource(mixture, 50, 1.0), ra.FixedSource(np.ones(6))]
    shown = parsed(ra.Transfer(mixture, 20, 0.5, sources))
    assert shown.caption == "Transfer: p = 6, 2 sources"
    assert shown.cells["n", "what it is"] == "20"
    assert shown.cells["source 1", "what it is"] == f"ridge on {mixture!r}, N = 50, γ̃ = 1"
    assert shown.cells["source 2", "what it is"] == "weights as given"
    assert parsed(transfer(10)).foot == "… and 2 more"
    found = ra.estimate_problem(*labelled_rows(), np.eye(4)[0])
    cells = parsed(found).cells
    assert cells["s = ⟨w̃, μ⟩", "value"] == _tables.measured(found.s, found.s_stderr)
    assert cells["m² = ‖μ‖², unbiased", "value"] == _tables.measured(found.m2_unbiased, found.m2_stderr)
    assert cells["w⊥²", "value"] == _tables.measured(found.w_perp2, found.w_perp2_stderr)
    assert cells["the rule was needed", "value"] == ("yes" if found.at_bound else "no")


def labelled_rows():
    rng, y = np.random.default_rng(0), np.repeat([-1.0, 1.0], 10)
    return rng.standard_normal((20, 4)) + np.outer(y, np.eye(4)[0]), y


@pytest.mark.parametrize(
    ("laws", "name"),
    [
        (lambda: law(1, (2,)), "M0"),
        (lambda: law(1, (2,)), "optimal_alpha"),
        (lambda: law(3, (2,)), "source"),
        (lambda: law(3, (2,)), "optimal_alpha_2"),
        (lambda: law(3, (2,)), "optimal_alpha"),
        (lambda: law(1, (2,)).risk_law(), "best_risk"),
        (lambda: spread(1, (2,)), "std_V11"),
    ],
)
@pytest.mark.parametrize("method", ["to_pandas", "to_xarray"])
def test_an_axis_cannot_be_called_like_what_the_table_holds(laws, name, method):
    pytest.importorskip("pandas" if method == "to_pandas" else "xarray")
    with pytest.raises(ValueError, match=f"axes must have names that no quantity of the table has, got '{name}'"):
        getattr(laws(), method)(**{name: [1, 2]})


def test_an_axis_may_be_called_source_where_no_table_has_one():
    pytest.importorskip("xarray")
    assert law(1, (2,)).to_xarray(source=[1, 2])["optimal_alpha"].dims == ("source",)


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
    if K:
        shown = learned.cells["α", "value"]
        assert shown == _tables.text(model.alpha_) or agrees(shown, model.alpha_)
    else:
        assert [row[0] for row in learned.rows] == ["γ", "accuracy on left-out samples"]
    scores = model.loo_.prediction(model.alpha_)
    right = (scores > 0) == (model.loo_.y > 0) if classes == 2 else scores.argmax(0) == model.loo_.y.argmax(0)
    assert float(learned.cells["accuracy on left-out samples", "value"]) == pytest.approx(right.mean(), abs=5e-5)
    assert model._repr_mimebundle_()["text/html"].endswith(html[html.rindex("<table>") :])
    with sklearn.config_context(display="text"):
        assert not hasattr(model, "_repr_html_")
        assert list(model._repr_mimebundle_()) == ["text/plain"]

    regression = ra.AlphaRidge(None if source is None else source[:, 0], alpha=0.5).fit(X, X[:, 1])
    html = regression._repr_html_()
    cells = Parsed(html[html.rindex("<table>") :]).cells
    risk = regression.loo_.risk(regression.alpha_)
    assert agrees(cells["mean squared residual of left-out samples", "value"], risk)
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
