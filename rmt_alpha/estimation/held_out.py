r"""Prediction and reality: two predicted accuracy curves beside the one measured on held-out rows.

Each split draws n training rows of the target at random and holds out the rest. Source and target are standardised on
training rows (`splits`), the source's ridge head w̃ is trained, and one solve gives ``w_α = w₀ + α w₁`` for every α.

- Measured: the signed accuracy of w_α on the held-out rows, a score of exactly 0 counting ½.
- Predicted, isotropic: s, m² and w⊥² are estimated on the n training rows alone (`plug_in`), and the closed form
  (THEORY §4) gives the law of the margin at (n, p, γ), p being the number of features that vary in those rows. A
  feature that does not is no dimension of the problem: w₀ is 0 there and w₁ = w̃.
- Predicted, with covariance: mean and covariance of the target are estimated on the n training rows, with the help of
  the covariance of the source's rows (`mixtures`), and the equivalents (THEORY §3) give the law for the source w̃.

No leakage. Nothing that a split trains, scales or predicts with depends on its held-out rows. A row that occurs in both
data sets, as when the tasks share a class, is given to one of them, by a coin that each split tosses anew: w̃ has seen
none of the target's rows, whether held out or not. Rows are taken for the same one if they are equal and neither has
another equal in its own data set. Where one does, few distinct rows are possible, as with binary features, and equal
ones are so many samples.

The verdict. With d the difference predicted − measured of a split and q the mean predicted accuracy,

    error² = var(d)/splits + q(1−q)/N_t

is the randomness of the splits plus that of the data set itself, N_t rows in all, if the prediction is right. (q, not
the measured accuracy: where almost no errors are predicted, a few are many. And ``(N_t q + 1)/(N_t + 2)`` in its place,
which is never quite 0 or 1.) The prediction fails where ``|mean d| > threshold · error``. The threshold is the quantile
of Student's law with splits − 1 degrees of freedom whose level is that of three normal standard deviations, .0027 on
two sides: 3.16 for 50 splits, 4.09 for 10, and 236 for 2, which nothing exceeds.

What the verdict does not tell. It tests the whole prediction, not isotropy or covariance alone, and that of the
isotropic one fails on isotropic data as well where there are rows and splits enough to see one of these:

- the O(1/n) error of the asymptotic law;
- the bias of estimates from n samples. It is largest where m² is smaller than its own error, since an estimate cannot
  be negative (`at_bound`): accuracy at α = 0 is overestimated by .03 at n = 20, p = 400 and by .05 at n = 10, p = 200
  on isotropic data with m² = 1.3;
- classes of unequal size, which the law does not know: at n = p = 60 its accuracy is too low by .02 to .06 (α from 2 to
  -1) with 20 % positives, by .01 with 35 %.

And a prediction that passes may still be too uncertain to be of use, which `prediction_spread` tells.

Where the law is undefined (nan, as in overflow at γ = 1e300) there is nothing to hold against the measurement: the
verdict says so, and neither holds nor fails.

Why it fails, if it does. Both theories predict mean and variance of the margin and take it for Gaussian; `margins` has
those of the held-out rows, so its accuracy is what there would be if they were, and the rest is not the theory's to
predict. On pairs of digits that rest is .01: half of the error at n = 20, most of it at n = 40 and γ ≤ 1, where knowing
the covariance gains nothing (docs, "From data"). The closed form assumes moreover that noise is the same in all
directions. Two numbers from the training rows tell how far it is from that, both 1 if it is: `anisotropy`
``p tr Σ²/(tr Σ)²``, at most p; and `source_variance` ``w̃ᵀΣw̃/‖w̃‖²`` in units of tr Σ/p, the noise along the source's
direction against the average one.
"""

import os
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtrit
from tqdm import tqdm

from rmt_alpha._blas import one_blas_thread
from rmt_alpha._random import Seed, seed_sequence, stream
from rmt_alpha._validation import FloatArray, check_memory, integer, real, real_array
from rmt_alpha.estimate import Estimate
from rmt_alpha.estimation.datasets import LARGEST, LabelledData, load
from rmt_alpha.estimation.mixtures import estimate_mixture
from rmt_alpha.estimation.plug_in import anisotropy, estimate_problem
from rmt_alpha.estimation.splits import Standardiser, split, within_classes
from rmt_alpha.laws import MarginLaw
from rmt_alpha.problem import FixedSource
from rmt_alpha.ridge import affine_ridge
from rmt_alpha.theory.equivalents import Equivalent
from rmt_alpha.theory.isotropic import fixed_source_law, fixed_source_optimal_alpha

_WITH_COVARIANCE = ("mean", "cov", "optimal_alpha", "at_optimal_alpha")
"""What a split keeps of the prediction with covariance."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """Where a prediction fails.

    Parameters
    ----------
    difference, error : ndarray, shape (alphas,)
        Predicted minus measured accuracy, and its error as the module defines it; nan where the law is.
    threshold : float
        Errors by which prediction and measurement may differ: Student's quantile, see the module.
    fails : ndarray of bool, shape (alphas,)
        Where ``|difference| > threshold · error``.
    undefined : ndarray of bool, shape (alphas,)
        Where the prediction is nan in at least one split, so that it neither holds nor fails.
    ranges : tuple of (float, float)
        The runs of consecutive α that fail, by their ends.
    alpha, largest : float
        α of the largest discrepancy (failing or not), and ``difference`` there; nan if undefined for every α.
    """

    difference: FloatArray
    error: FloatArray
    threshold: float
    fails: NDArray[np.bool_]
    undefined: NDArray[np.bool_]
    ranges: tuple[tuple[float, float], ...]
    alpha: float
    largest: float

    @property
    def holds(self) -> bool:
        """Whether the prediction is defined for every α and fails nowhere."""
        return not (self.fails.any() or self.undefined.any())


@dataclass(frozen=True, eq=False, kw_only=True)
class Prediction:
    """What one theory predicts from the training rows; the first axis of every array is the split.

    Parameters
    ----------
    predicted : ndarray, shape (splits, alphas)
        Accuracy at every α.
    optimal_alpha : ndarray, shape (splits,)
        α*; nan where undefined.
    at_optimal_alpha : ndarray, shape (splits,)
        Measured accuracy at the split's own α*, at α = 1 where that is undefined.
    law : MarginLaw
        The predicted laws, batched over the splits.
    """

    predicted: FloatArray
    optimal_alpha: FloatArray
    at_optimal_alpha: FloatArray
    law: MarginLaw

    @property
    def prediction(self) -> FloatArray:
        """Predicted accuracy, mean over the splits; nan where the law of one is undefined."""
        return np.asarray(self.predicted.mean(axis=0))

    @property
    def prediction_spread(self) -> FloatArray:
        """Standard deviation of the prediction between splits: the error bar of a prediction from n samples."""
        return np.asarray(self.predicted.std(axis=0, ddof=1))

    @property
    def median_alpha(self) -> float:
        """Median over the splits of the predicted α*, of those where it is defined; nan if it never is."""
        defined = self.optimal_alpha[~np.isnan(self.optimal_alpha)]
        return float(np.median(defined)) if defined.size else np.nan

    @property
    def fraction_undefined(self) -> float:
        """Share of the splits whose α* is undefined."""
        return float(np.isnan(self.optimal_alpha).mean())


@dataclass(frozen=True, eq=False, kw_only=True)
class HeldOutCurves(Prediction):
    """What `held_out_curves` measured and predicted; the first axis of every array is the split.

    Parameters
    ----------
    source, target : str
        Names of the data sets.
    n, gamma, gamma_source : int, float, float
        Target training rows of each split, penalties of the fine-tuning and of the source's head.
    rows : int
        N_t, training and held-out rows of the target together.
    seed : SeedSequence
        Reproduces the splits; ``seed.entropy`` tells what was drawn for ``seed=None``.
    alphas : ndarray, shape (alphas,)
        The values of α.
    measured : ndarray, shape (splits, alphas)
        Accuracy on the held-out rows.
    at_zero, at_one : ndarray, shape (splits,)
        Measured accuracy from scratch (α = 0) and of ordinary fine-tuning (α = 1).
    margins : MarginLaw
        Means and covariances of the held-out rows' margins, batched over the splits: measured as well, but as if the
        margins were Gaussian.
    predicted, optimal_alpha, at_optimal_alpha, law
        The isotropic prediction, as in `Prediction`.
    with_covariance : Prediction or None
        The prediction with an estimated covariance; None if it was left out.
    p, n_source : ndarray of int, shape (splits,)
        Features that vary in the target's training rows; source rows that the head was trained on.
    at_bound : ndarray of bool, shape (splits,)
        Where m² was set by the rule for small estimates: the isotropic α* is little more than noise there.
    anisotropy, source_variance : ndarray, shape (splits,)
        Diagnostics of the model, both 1 where noise is the same in all directions; see the module.
    """

    source: str
    target: str
    n: int
    gamma: float
    gamma_source: float
    rows: int
    seed: np.random.SeedSequence
    alphas: FloatArray
    measured: FloatArray
    at_zero: FloatArray
    at_one: FloatArray
    margins: MarginLaw
    with_covariance: Prediction | None
    p: NDArray[np.int64]
    n_source: NDArray[np.int64]
    at_bound: NDArray[np.bool_]
    anisotropy: FloatArray
    source_variance: FloatArray

    @property
    def accuracy(self) -> Estimate:
        """Measured accuracy: mean over the splits, with the standard error of that mean.

        The splits share one finite data set, whose own sampling this error leaves out; `verdict` does not.
        """
        return Estimate.of(self.measured)

    @property
    def best_alpha(self) -> float:
        """α of the highest mean measured accuracy, the one nearest to 1 among equals.

        Chosen in hindsight on the held-out rows: its accuracy, `best_accuracy`, is optimistic.
        """
        return float(self.alphas[self._best])

    @property
    def best_accuracy(self) -> Estimate:
        """Measured accuracy at `best_alpha`."""
        return Estimate.of(self.measured[:, self._best])

    @property
    def _best(self) -> int:
        mean = self.measured.mean(axis=0)
        return int(np.lexsort((np.abs(self.alphas - 1.0), -mean))[0])

    def verdict(self, of: Prediction | None = None) -> Verdict:
        """Hold a prediction against the measurement, as the module describes.

        Parameters
        ----------
        of : Prediction, optional
            The prediction, such as `with_covariance`; by default the isotropic one.

        Returns
        -------
        Verdict
            Where the prediction fails, and by how much.
        """
        judged: Prediction = self if of is None else of
        paired = Estimate.of(judged.predicted - self.measured)
        difference, stderr = np.asarray(paired.value), np.asarray(paired.stderr)
        q = (self.rows * judged.prediction + 1.0) / (self.rows + 2.0)  # never quite 0 or 1
        error = np.sqrt(stderr**2 + q * (1.0 - q) / self.rows)
        threshold = float(stdtrit(len(self.measured) - 1, ndtr(3.0)))
        undefined = np.isnan(difference)
        fails = np.abs(difference) > threshold * error  # never where undefined: nan compares false
        worst = -1 if undefined.all() else int(np.nanargmax(np.abs(difference)))
        edges = np.flatnonzero(np.diff(fails, prepend=False, append=False))
        return Verdict(
            difference=difference,
            error=error,
            threshold=threshold,
            fails=fails,
            undefined=undefined,
            ranges=tuple((float(self.alphas[i]), float(self.alphas[j - 1])) for i, j in edges.reshape(-1, 2)),
            alpha=np.nan if undefined.all() else float(self.alphas[worst]),
            largest=float(difference[worst]),
        )


def held_out_curves(
    source: LabelledData | str | os.PathLike[str],
    target: LabelledData | str | os.PathLike[str],
    *,
    n: int,
    gamma: float,
    gamma_source: float,
    alphas: ArrayLike,
    n_source: int | None = None,
    splits: int = 50,
    shrinkage: str | float | None = "ledoit-wolf",
    seed: Seed = None,
    progress: bool = False,
) -> HeldOutCurves:
    """Predict the accuracy curve of a transfer between real data sets, and measure it on held-out rows.

    Parameters
    ----------
    source, target : LabelledData, str or path
        The tasks, with the same features. What is no LabelledData is given to `datasets.load`.
    n : int
        Target rows to train on, each label in proportion (at least four of each; two of each must be left to test).
    gamma : float
        Ridge penalty γ ≥ 0 of the fine-tuning. At γ = 0 with n < p the system is singular, since the rows are centred
        by themselves: take a small γ instead.
    gamma_source : float
        Ridge penalty γ̃ ≥ 0 of the source's head.
    alphas : array_like
        Values of α, increasing.
    n_source : int, optional
        Source rows to train on, drawn anew in every split; all of them if None.
    splits : int, default 50
        Number of random splits, at least two.
    shrinkage : {"ledoit-wolf", "oas"}, float or None, default "ledoit-wolf"
        How covariances are estimated, see `estimate_mixture`; the names need scikit-learn. None leaves out the
        prediction with covariance, and its decomposition of a p × p matrix in every split.
    seed : int, SeedSequence, Generator or None
        Source of randomness; the same seed gives the same splits, and more splits begin with the fewer.
    progress : bool, default False
        Show a progress bar on standard error.

    Returns
    -------
    HeldOutCurves
        The curves, split by split, and the verdicts.

    Raises
    ------
    ValueError
        If an argument is outside its range, the data cannot be read, the features do not match, a label is too rare, no
        feature varies, a ridge system is singular, scikit-learn is missing, or the result would not fit in memory.

    Examples
    --------
    >>> curves = held_out_curves(
    ...     "digits:2,3", "digits:8,9", n=20, gamma=10.0, gamma_source=1.0, alphas=[0, 0.5, 1], splits=10, seed=0
    ... )
    >>> curves.accuracy.value.round(2), curves.prediction.round(2), curves.with_covariance.prediction.round(2)
    (array([0.95, 0.95, 0.92]), array([0.99, 0.98, 0.96]), array([0.95, 0.95, 0.92]))
    >>> curves.verdict().holds, curves.verdict(curves.with_covariance).holds
    (False, True)
    """
    n, splits = integer("n", n), integer("splits", splits, low=2)
    n_source = None if n_source is None else integer("n_source", n_source)
    gamma, gamma_source = real("gamma", gamma, 0.0), real("gamma_source", gamma_source, 0.0)
    grid = real_array("alphas", alphas)
    if grid.ndim != 1 or not grid.size or (np.diff(grid) <= 0.0).any():
        raise ValueError("alphas must be a sequence of increasing numbers")
    # measured, predicted and what the law's accuracy takes on the way; and the records of the splits themselves
    check_memory(f"splits {splits} × alphas {grid.size}", 8.0 * splits * (8.0 * grid.size + 256.0))
    source, target = _data("source", source), _data("target", target)
    _check_features(source, target)
    root = seed_sequence(seed)
    task = _Task(source, target, *shared_rows(source.X, target.X), n, n_source, gamma, gamma_source, grid, shrinkage)
    with one_blas_thread():
        records = [
            task.run(*(stream(root, j, role) for role in range(3)))
            for j in tqdm(range(splits), desc="splits", disable=not progress)
        ]
    columns = {name: np.array([record[name] for record in records]) for name in records[0]}
    s, w_perp2, m2 = (columns.pop(name) for name in ("s", "w_perp2", "m2"))
    law = fixed_source_law(s, w_perp2, m2, n, columns["p"], gamma)
    margins = MarginLaw._trusted(columns.pop("margin mean"), columns.pop("margin cov"))
    with_covariance = None
    if shrinkage is not None:
        mean, cov, optimal, at_optimal = (columns.pop(f"{name} with covariance") for name in _WITH_COVARIANCE)
        second = MarginLaw._trusted(mean, cov)
        with_covariance = Prediction(
            predicted=np.asarray(second[:, None].accuracy(grid)),
            optimal_alpha=optimal,
            at_optimal_alpha=at_optimal,
            law=second,
        )
    return HeldOutCurves(
        source=source.name,
        target=target.name,
        n=n,
        gamma=gamma,
        gamma_source=gamma_source,
        rows=len(target.y),
        seed=root,
        alphas=grid,
        predicted=np.asarray(law[:, None].accuracy(grid)),
        law=law,
        margins=margins,
        with_covariance=with_covariance,
        **columns,
    )


def _data(name: str, data: LabelledData | str | os.PathLike[str]) -> LabelledData:
    if isinstance(data, LabelledData):
        return data
    if not isinstance(data, str | os.PathLike):
        raise ValueError(f"{name} must be LabelledData, or a specification that load takes, got {type(data).__name__}")
    return load(data)


def _check_features(source: LabelledData, target: LabelledData) -> None:
    count, expected = target.X.shape[1], source.X.shape[1]
    if count != expected:
        raise ValueError(f"{target.name} has {count} features, the source {source.name} has {expected}")
    if source.features is not None and target.features is not None:
        for theirs, ours in zip(source.features, target.features, strict=True):
            if theirs != ours:
                raise ValueError(f"{target.name} has feature {ours!r} where the source {source.name} has {theirs!r}")


def shared_rows(source_X: FloatArray, target_X: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find the rows that two sets of data have in common.

    Parameters
    ----------
    source_X, target_X : ndarray, shapes (N, p) and (m, p)
        Samples in rows.

    Returns
    -------
    source, target : ndarray of int
        Row numbers of the same samples in either: rows that are equal, and unequal to all others of their own set.

    Examples
    --------
    >>> shared_rows(np.array([[1.0], [2.0], [2.0]]), np.array([[2.0], [3.0], [1.0]]))
    (array([0]), array([2]))
    """
    places = []
    for X in (source_X, target_X):
        place: dict[bytes, int] = {}
        for i, row in enumerate(X):
            key = blake2b(row + 0.0, digest_size=16).digest()  # + 0.0: for -0.0 is 0.0
            place[key] = -1 if key in place else i
        places.append(place)
    source, target = places
    pairs = [(i, target[key]) for key, i in source.items() if i >= 0 and target.get(key, -1) >= 0]
    rows = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


@dataclass(frozen=True, eq=False)
class _Task:
    """One transfer, ready to be split again and again."""

    source: LabelledData
    target: LabelledData
    shared_source: NDArray[np.intp]
    shared_target: NDArray[np.intp]
    n: int
    n_source: int | None
    gamma: float
    gamma_source: float
    alphas: FloatArray
    shrinkage: str | float | None = None

    def run(
        self, target_stream: np.random.Generator, source_stream: np.random.Generator, coin: np.random.Generator
    ) -> dict[str, Any]:
        """Carry out one split; the keys are those of `HeldOutCurves`, and the numbers that make its law."""
        source_rows, target_rows = self._deal(coin)
        n_source = source_rows.size if self.n_source is None else self.n_source
        source_rows, _ = self._split(self.source, source_rows, n_source, source_stream, held_out=0, argument="n_source")
        training, rest = self._split(self.target, target_rows, self.n, target_stream)
        source_X, source_y = self.source.X[source_rows], self.source.y[source_rows]
        X, y = self.target.X[training], self.target.y[training]

        scaling = Standardiser.fit(source_X, source_y, X, y)
        source_Z, Z = scaling.source(source_X), scaling.target(X)
        w, _ = _head(self.source.name, source_Z, source_y, np.zeros(X.shape[1]), self.gamma_source)
        if 0.0 < np.abs(w).max() < 1.0 / LARGEST:
            raise ValueError(
                f"gamma_source must be smaller: with gamma_source={self.gamma_source:g} the source's weights vanish"
            )
        w0, w1 = _head(self.target.name, Z, y, w, self.gamma)

        varies = Z.any(axis=0)
        p = int(varies.sum())
        problem = estimate_problem(Z[:, varies], y, w[varies])
        numbers = {"s": problem.s, "w_perp2": problem.w_perp2, "m2": problem.m2}
        optimal = fixed_source_optimal_alpha(**numbers, n=self.n, p=p, gamma=self.gamma)

        test, sign = scaling.target(self.target.X[rest]), self.target.y[rest]
        margin0, margin1 = sign * (test @ w0), sign * (test @ w1)

        def accuracy(alpha: float) -> float:
            if np.isinf(alpha):  # the source alone
                return 0.5 + 0.5 * float(np.sign(np.sign(alpha) * margin1).mean())
            with np.errstate(over="ignore"):  # ±inf has the right sign
                return 0.5 + 0.5 * float(np.sign(margin0 + alpha * margin1).mean())

        second: dict[str, Any] = {}
        if self.shrinkage is not None:
            law = self._law_with_covariance(source_Z[:, varies], source_y, Z[:, varies], y, w[varies])
            best = float(law.optimal_alpha())
            values = law.mean, law.cov, best, accuracy(1.0 if np.isnan(best) else best)
            second = {f"{name} with covariance": value for name, value in zip(_WITH_COVARIANCE, values, strict=True)}

        return {
            **numbers,
            **second,
            **_diagnose(Z[:, varies], y, w[varies]),
            "measured": np.array([accuracy(alpha) for alpha in self.alphas]),
            "at_zero": accuracy(0.0),
            "at_one": accuracy(1.0),
            "optimal_alpha": optimal,
            "at_optimal_alpha": accuracy(1.0 if np.isnan(optimal) else optimal),
            "margin mean": np.array([margin0.mean(), margin1.mean()]),
            "margin cov": np.cov(margin0, margin1),
            "at_bound": problem.at_bound,
            "p": p,
            "n_source": n_source,
        }

    def _law_with_covariance(
        self, source_Z: FloatArray, source_y: FloatArray, Z: FloatArray, y: FloatArray, w: FloatArray
    ) -> MarginLaw:
        """Return the law of the equivalents for the mixture that the training rows show."""
        assert self.shrinkage is not None
        old = estimate_mixture(source_Z, source_y, shrinkage=self.shrinkage)
        new = estimate_mixture(Z, y, source_coef=w, reference=old, shrinkage=self.shrinkage)
        return Equivalent(new, (FixedSource(w),)).law(self.n, self.gamma)

    def _deal(self, coin: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the rows of the source and of the target, those that are in both dealt out between them."""
        to_source = coin.random(self.shared_source.size) < 0.5
        return (
            np.setdiff1d(np.arange(len(self.source.y)), self.shared_source[~to_source]),
            np.setdiff1d(np.arange(len(self.target.y)), self.shared_target[to_source]),
        )

    def _split(
        self, data: LabelledData, rows: NDArray[np.intp], n: int, stream: np.random.Generator, **options: Any
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Split those rows of a data set; say so if there are too few because others went to the other one."""
        try:
            training, rest = split(data.y[rows], n if rows.size else 1, stream, **options)
        except ValueError as error:
            dealt = (
                f" (a split leaves it {rows.size} of its {len(data.y)} rows, as {self.source.name} and "
                f"{self.target.name} share {self.shared_source.size} and each goes to one of them)"
            )
            raise ValueError(f"{data.name}: {error}{dealt if rows.size < len(data.y) else ''}") from None
        return rows[training], rows[rest]


def _head(name: str, Z: FloatArray, y: FloatArray, w: FloatArray, gamma: float) -> tuple[FloatArray, FloatArray]:
    """Return (w₀, w₁), solved on the features that vary: elsewhere w₀ = 0 and w₁ = w̃."""
    varies = Z.any(axis=0)
    if not varies.any():
        raise ValueError(f"{name}: no feature varies in the training rows")
    w0, w1 = np.zeros_like(w), w.copy()
    try:
        w0[varies], w1[varies] = affine_ridge(Z[:, varies], y, w[varies], gamma)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return w0, w1


def _diagnose(Z: FloatArray, y: FloatArray, w: FloatArray) -> dict[str, float]:
    """Return the diagnostics: how far from isotropic the noise is, on the whole and as the source sees it."""
    _, residuals = within_classes(Z, y)
    total = sum(float(np.square(r).sum()) for r in residuals)
    seen = sum(float(np.square(r @ w).sum()) for r in residuals)
    length2 = float(w @ w)
    defined = total > 0.0 and length2 > 0.0
    return {
        "anisotropy": anisotropy(residuals),
        "source_variance": seen / length2 / (total / w.size) if defined else np.nan,
    }
