r"""Estimators with the interface of scikit-learn: fine-tune a pre-trained linear head on few samples.

The model (THEORY §1, §9). From source weights w̃, the weights ``w_α = α w̃ + a`` and the intercept b minimise
``‖y − X(α w̃ + a) − b‖²/n + γ‖a‖²``: ridge with its origin at α w̃. α = 0 is ridge from scratch, α = 1 ordinary
fine-tuning. Both α and γ can be chosen by the samples themselves (`rmt_alpha.estimation.rules`), and what the fit
without a sample says of it, for every sample, is known exactly (`rmt_alpha.estimation.leave_one_out`). Classes are told
apart one against the rest, each with labels ±1 and an α of its own.

Units. With a scale, the penalty is on ``a`` in units where each feature is divided by its own scale. The weights that
go in and come out are those of the features as they are. Only the samples of the fit count; but ``scale="std"`` is the
standard deviation of all of them, and leave-one-out is conditional on it: a sample is left out of the fit, not of the
scale.

Probabilities. The decision is the sign of the prediction f, so that a probability that agrees with it is an increasing
function of f that is ½ at 0. Where the margin ``m = y f`` of a fresh sample is Gaussian with mean M and variance V, its
densities at m and −m have the ratio exp(2Mm/V), so

    P(y = 1 | f) = σ(2 M f/V),

and among all σ(b f) this one has the largest expected log-likelihood. M and V are those of the left-out samples, not
centred within the classes, and so they should be where classes are of unequal size. There ``f = c ± M' + noise`` of
variance V', the log odds are ``log(π₊/π₋) + 2M'(f − c)/V'``, and the least squares classifier has, with δ = π₊ − π₋,
q = 1 − δ², D² = μᵀΣ⁻¹μ, infinitely many samples and no penalty,

    M' = qD²/(1+qD²),    V' = M'²/D²,    c = δ(1 − M'),    M = M' + δc,    V = V' + qc²,

whence ``2M'/V' = 2M/V = 2(1+qD²)/q``: the same slope, and at f = 0 log odds of ``2 artanh δ − 2δ/q = O(δ³)``, since the
intercept has done the rest. With a large penalty M' → 0, f → δ, and the slope 2M'/V' would call everything certain;
2M/V tends to 2/q, and the probability to σ(2δ/q), the share of the label but for O(δ³). Where δ is not small this is
the price of agreement with the decision: at shares of .9 and .1 (n = 400, p = 100, γ = 1) the mean log loss is .32, and
.22 with the log odds above, whose zero is elsewhere; at .8 and .2 it is .313 and .305.

C > 2 classes: ``P(c) ∝ exp(b f_c)``. The margins are now the differences between the score of a sample's own class and
that of another one, the log odds of the two are b times it, and ``b = 2M/V`` by the same argument, of all these margins
together: one slope for all classes, so that the most probable one is the one predicted. For C = 2, where f₁ = −f₀, this
is the formula above.

Nothing keeps M of the left-out margins above 0, or V. With ``r² = M² + V``, their mean square, 2M/V is kept between
2e-3/r, next to ignorance but in agreement with the decision, and 1e6/r; it is 1 where r = 0.
"""

import copy
import math
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, softmax

from rmt_alpha import _tables
from rmt_alpha._validation import FloatArray, boolean, plain, real_array
from rmt_alpha.estimation.datasets import label_text
from rmt_alpha.estimation.leave_one_out import LOOResult
from rmt_alpha.estimation.rules import RULES, Training, best_penalty, default_grid, margins_between

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
    from sklearn.exceptions import NotFittedError
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError:
    raise ImportError('the estimators need scikit-learn 1.6 or later: pip install "rmt_alpha[data]"') from None


class _FineTuned(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What both estimators share."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of this estimator; those of a source are no parameters, since nothing fits it again.

        Parameters
        ----------
        deep : bool, default True
            Changes nothing.

        Returns
        -------
        dict
            By name.
        """
        del deep
        return dict(super().get_params(deep=False))

    def set_params(self, **params: Any) -> Self:
        """Set parameters of this estimator.

        Parameters
        ----------
        **params : dict
            By name.

        Returns
        -------
        self
            The estimator.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        inner = [name for name in params if name.startswith("source_coef__")]
        if inner:
            raise ValueError(f"{inner[0]} is no parameter: the source is fitted already, and is not fitted again")
        super().set_params(**params)
        return self

    def __sklearn_clone__(self) -> Self:
        """Clone, but keep source models fitted: they are data here, and nothing fits them again."""
        twin: Self = super().__sklearn_clone__()
        twin.source_coef = copy.deepcopy(self.source_coef)
        return twin

    @property
    def _repr_html_(self) -> Callable[[], str]:
        """scikit-learn's own, which is not there where it is asked to show text, and what was learned."""
        inner: Callable[[], str] = super()._repr_html_
        return lambda: inner() + self._learned()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle: dict[str, str] = super()._repr_mimebundle_(**kwargs)
        return {kind: shown + self._learned() if kind == "text/html" else shown for kind, shown in bundle.items()}

    def _learned(self) -> str:
        """Return a table of what the fit chose, nothing before it."""
        if not hasattr(self, "loo_"):
            return ""
        none = self.alpha_ is None or not np.size(self.alpha_)  # there is no source
        rows: list[tuple[str, Any]] = [] if none else [("α", self.alpha_)]
        rows.append(("γ", _tables.text(self.gamma_)))
        if hasattr(self, "related_"):
            rows.append(("posterior probability that a source matters", self.related_))
        with np.errstate(all="ignore"):
            rows.append(self._score())
        return _tables.table(f"{type(self).__name__}: chosen by the fit", ("quantity", "value"), rows)

    def _score(self) -> tuple[str, Any]:
        """Return what the left-out samples say of the fit, and what that is called."""
        raise NotImplementedError

    def _fit(self, X: FloatArray, Y: FloatArray, rows: int, *, labels: bool, single: bool) -> tuple[Any, Any]:
        """Choose α and γ, set what both estimators set; return weights and intercepts, with an axis for the outputs.

        `rows` is the number of α's for each source; `single` takes the axis of the outputs off `loo_`.
        """
        p, d = X.shape[1], Y.shape[1]
        fit_intercept = boolean("fit_intercept", self.fit_intercept)
        scale = _scale(self.scale, X)
        with np.errstate(over="ignore"):
            W, scaled = self._heads(self.source_coef, p, d) * scale, X / scale
            if not np.isfinite(np.square(W)).all():
                raise ValueError("source_coef must be smaller: its squares exceed float64")
        k = len(W)
        rule = _alpha(self.alpha, rows, k)
        training = Training(scaled, Y, W, labels, fit_intercept, shared=rows < d)
        _ = training.path  # refuses what is too large for all that follows
        gamma = self._penalties(training)
        if isinstance(rule, str):
            alphas, score = training.choose("loo" if k == 0 and rule != "robust" else rule, gamma)
        else:
            alphas, score = training.choose(np.broadcast_to(rule, (d, k)), gamma)
        best = best_penalty(score, gamma)
        alpha = alphas[best]
        chosen = gamma[best : best + 1]

        self.scale_ = scale
        self.gamma_ = float(chosen[0])
        self.alpha_ = _squeezed(alpha[:rows])
        self.__dict__.pop("related_", None)  # of an earlier fit
        if k and isinstance(rule, str) and rule == "robust":
            self.related_ = training.belief.related
        loo = training.leave_one_out(chosen)
        output: Any = 0 if single else ...
        self.loo_ = LOOResult(loo.predictions[0][output], loo.y[output], np.asarray(chosen[0]))
        parts = training.weights(chosen)[0]
        weights = parts[:, 0] + np.einsum("dk,dkp->dp", alpha, parts[:, 1:])
        intercept = Y.mean(axis=0) - weights @ training.path.mean if fit_intercept else np.zeros(d)
        return weights / scale, intercept

    def _penalties(self, training: Training) -> FloatArray:
        if isinstance(self.gamma, str):
            if self.gamma != "loo":
                raise ValueError(f"gamma must be 'loo', a number or a sequence of numbers, got {self.gamma!r}")
            return default_grid(training.X, fit_intercept=training.fit_intercept)
        gamma = real_array("gamma", self.gamma, 0.0)
        if gamma.ndim > 1 or gamma.size == 0:
            raise ValueError(f"gamma must be a number or a sequence of numbers, got an array of shape {gamma.shape}")
        return np.atleast_1d(gamma)

    def _heads(self, source: Any, p: int, d: int) -> FloatArray:
        if source is None:
            return np.empty((0, d, p))
        if _is_model(source):
            return self._model(source, p, d)
        if isinstance(source, list | tuple) and any(_is_model(x) or getattr(x, "ndim", 0) > 1 for x in source):
            return np.concatenate([self._heads(head, p, d) for head in source])
        plain("source_coef", source)
        W = real_array("source_coef", source)
        if W.ndim in (1, 2) and d == 1 and W.shape[-1] == p:
            return W.reshape(-1, 1, p)
        if W.ndim in (2, 3) and W.shape[-2:] == (d, p):
            return W.reshape(-1, d, p)
        wanted = f"({p},), or (K, {p}) for K sources" if d == 1 else f"({d}, {p}), or (K, {d}, {p}) for K sources"
        outputs = "" if d == 1 else f" and the {d} {self._OUTPUTS}"
        raise ValueError(f"source_coef must have shape {wanted}, to fit the {p} features{outputs}, got {W.shape}")

    def _model(self, model: Any, p: int, d: int) -> FloatArray:
        """Return the weights of a fitted linear model, shape (1, d, p)."""
        name = type(model).__name__
        if not hasattr(model, "coef_"):
            if hasattr(model, "fit") and not isinstance(model, type):
                _check_fitted(model)
            raise ValueError(f"source_coef must be weights or a fitted linear model, with coef_: got {name}")
        if d > 2 and hasattr(model, "dual_coef_"):
            raise ValueError(f"source_coef must have a row for each class: those of {name} are for pairs of classes")
        coef = model.coef_
        W = np.atleast_2d(real_array("source_coef.coef_", coef.toarray() if hasattr(coef, "toarray") else coef))
        W = self._aligned(W, model)
        if W.shape != (d, p):
            raise ValueError(
                f"source_coef must be a model with coef_ of shape ({d}, {p}), to fit {d} {self._OUTPUTS} and {p} "
                f"features: that of {name} has shape {np.shape(coef)}"
            )
        theirs, ours = (getattr(m, "feature_names_in_", None) for m in (model, self))
        if theirs is not None and ours is not None and not np.array_equal(theirs, ours):
            raise ValueError(f"source_coef must be a model of the same features in the same order: {name} has others")
        return W[None]

    def _aligned(self, W: FloatArray, model: Any) -> FloatArray:  # noqa: ARG002
        return W


class AlphaRidgeClassifier(ClassifierMixin, _FineTuned):  # type: ignore[misc]
    r"""Classifier fine-tuned from a pre-trained linear head, on few samples.

    Ridge on labels ±1 with its origin at α times the source's weights; several classes one against the rest.

    Parameters
    ----------
    source_coef : array_like, fitted model, or list of them, optional
        Source weights w̃, in the units of the features as they are given to `fit`. Left out: ridge from scratch, and
        alpha means nothing.

        - An array of shape (p,) or (1, p) for two classes, (C, p) for C classes; with one more leading axis for K
          sources: (K, p) for two classes, (K, C, p).
        - A fitted linear model, anything with ``coef_`` of shape (1, p) for two classes, (C, p) for more, also in a
          ``FrozenEstimator``. If it knows all classes of the samples, by name, and perhaps more, rows are matched by
          class; to tell two of its classes apart it is the difference of their rows. If it knows none of them, the
          order of the rows is that of ``classes_``, and for two classes positive scores mean the second. Its intercept
          is not used: with `fit_intercept` the samples determine another, without it there is none.
        - A list of these: several sources.

        As an array, the two rows of a head with two outputs are two sources: give their difference. Fitted models
        stay fitted in clones of this estimator, as in a ``Pipeline`` or cross-validation. In a *grid of parameters*
        scikit-learn clones them itself, which forgets the fit: there, wrap them in ``FrozenEstimator``.
    alpha : float, array_like or str, default "robust"
        Scale α of the source: a number; an array of shape (C,), one for each class if there are more than two, (K,) for
        K sources and two classes (or `per_class` False), (C, K) for both; or a rule that chooses it
        (`rmt_alpha.estimation.rules`):

        - ``"robust"``: averages over what the task may be; made for few samples.
        - ``"loo"``: best for the left-out samples; the better choice where there are hundreds of them.
        - ``"theory"``: the isotropic theory with estimated parameters; needs four samples with each label.
        - ``"theory-cov"``: the theory for an estimated covariance, with the same need; O(p³).
    gamma : float, array_like or "loo", default 1.0
        Ridge penalty γ ≥ 0 on the deviation from α w̃, on the scale of the mean squared error: a number, a sequence of
        numbers to choose from, or ``"loo"``, 13 numbers from 10⁻³ to 10³ times the mean square of the (centred)
        features. It is chosen by the accuracy that the law of the left-out margins gives at the α chosen for it (for
        more than two classes, of the margins between a sample's own class and each other), with ``"robust"`` for two
        classes by the mean of that and of its own; of equal ones the largest.
    fit_intercept : bool, default True
        Whether there is an intercept, which is not penalised.
    scale : None, "std" or array_like of shape (p,), default None
        Positive units in which the penalty acts: those of the features, their standard deviations on the samples of the
        fit (1 for constant features), or these. A feature that hardly varies in few samples may vary in others: with
        ``"std"`` its weight may then be far too large, and the scale of the source's data is the better choice
        (`rmt_alpha.estimation.splits.Standardiser` pools both).
    per_class : bool, default True
        Whether each of more than two classes has its own α, as the rows of α-LoRA's layers do, or all have one. One α
        scales all scores alike, which the comparison between classes profits from where samples are few.

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
        The labels.
    coef_ : ndarray, shape (1, p) or (C, p)
        Weights, in the units of the features as they are; one row for two classes, positive for the second.
    intercept_ : ndarray, shape (1,) or (C,)
        Intercepts.
    alpha_ : float or ndarray, shape (K,), (C,) or (C, K), or None
        The α of the fit, without axes for one source, and for two classes or one α for all. None without a source.
    gamma_ : float
        The γ of the fit.
    scale_ : ndarray, shape (p,)
        Units in which the penalty acted.
    loo_ : LOOResult
        What the fit without each sample says of it, for every α at this γ and scale; with an axis for more than two
        classes.
    margin_law_ : MarginLaw
        Law of the margins of the left-out samples; of batch shape (C,) for more than two classes.
    slope_ : float
        b of the probabilities: σ(b f) of two classes, the softmax of b f of more.
    related_ : float
        Posterior probability that a source matters; only with a source and ``alpha="robust"``.
    n_features_in_ : int
        p.
    feature_names_in_ : ndarray, shape (p,)
        Names of the features, where X has them.

    Raises
    ------
    ValueError
        By `fit`: if an argument is none of the above or does not fit the samples, there are fewer than two samples or
        classes, a theory has too few samples, or products of the arguments exceed float64.
    sklearn.exceptions.NotFittedError
        By `fit`, if a source model is not fitted.

    Notes
    -----
    Cost: one singular value decomposition of the samples for all α, γ and classes. ``loo_.accuracy(alpha_)`` is the
    fraction of left-out samples on the right side; ``margin_law_.accuracy(alpha_)`` is smoother. Both are a little
    optimistic where α or γ were chosen by them.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["no", "yes"], 20)
    >>> mean = np.eye(100)[0]
    >>> X = rng.standard_normal((40, 100)) + np.outer(np.where(y == "yes", 1.0, -1.0), mean)
    >>> source = mean + 0.5 * np.eye(100)[1]
    >>> model = AlphaRidgeClassifier(source, gamma="loo").fit(X, y)
    >>> round(model.alpha_, 2), round(model.gamma_, 2), round(model.related_, 2)
    (0.41, 9.87, 1.0)
    >>> fresh = rng.standard_normal((1000, 100)) + mean
    >>> scratch = AlphaRidgeClassifier(gamma="loo").fit(X, y)
    >>> [float((m.predict(fresh) == "yes").mean()) for m in (scratch, model)]
    [0.704, 0.788]
    >>> model.predict_proba(fresh[:1]).round(2)
    array([[0.02, 0.98]])
    """

    _OUTPUTS = "classes"

    def __init__(
        self,
        source_coef: Any = None,
        alpha: str | ArrayLike = "robust",
        gamma: str | ArrayLike = 1.0,
        *,
        fit_intercept: bool = True,
        scale: str | ArrayLike | None = None,
        per_class: bool = True,
    ) -> None:
        self.source_coef = source_coef
        self.alpha = alpha
        self.gamma = gamma
        self.fit_intercept = fit_intercept
        self.scale = scale
        self.per_class = per_class

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit to samples, choosing α and γ where they are to be chosen.

        Parameters
        ----------
        X : array_like, shape (n, p)
            Samples in rows, at least 2.
        y : array_like, shape (n,)
            Labels of any kind, at least 2 different ones.

        Returns
        -------
        self
            The estimator.
        """
        samples, names = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        check_classification_targets(names)
        self.classes_, codes = np.unique(names, return_inverse=True)
        count = len(self.classes_)
        if count < 2:
            raise ValueError(f"y must have at least 2 classes, got 1 class: {self.classes_.tolist()[0]!r}")
        Y = np.where(codes[:, None] == (np.arange(count) if count > 2 else [1]), 1.0, -1.0)
        rows = Y.shape[1] if boolean("per_class", self.per_class) else 1
        self.coef_, self.intercept_ = self._fit(samples, Y, rows, labels=True, single=count == 2)
        self.margin_law_ = self.loo_.margin_law()
        if count == 2:
            mean, variance = self.margin_law_.moments(self.alpha_)
        else:
            margins = margins_between(self.loo_.prediction(self.alpha_), self.loo_.y)
            mean, variance = margins.mean(), margins.var()
        self.slope_ = _slope(float(mean), max(float(variance), 0.0))
        return self

    def _score(self) -> tuple[str, Any]:
        name = "accuracy on left-out samples"
        if len(self.classes_) == 2:
            return name, self.loo_.accuracy(self.alpha_)
        right = self.loo_.prediction(self.alpha_).argmax(axis=0) == self.loo_.y.argmax(axis=0)
        return name, float(right.mean())

    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Return the predictions of the labels ±1, one class against the rest.

        Parameters
        ----------
        X : array_like, shape (n, p)
            Samples in rows.

        Returns
        -------
        ndarray, shape (n,) or (n, C)
            Of two classes, positive for the second.
        """
        check_is_fitted(self)
        samples: FloatArray = validate_data(self, X, dtype=np.float64, reset=False)
        scores = np.asarray(samples @ self.coef_.T + self.intercept_)
        return scores if len(self.classes_) > 2 else scores[:, 0]

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most probable classes.

        Parameters
        ----------
        X : array_like, shape (n, p)
            Samples in rows.

        Returns
        -------
        ndarray, shape (n,)
            Labels, from `classes_`.
        """
        scores = self.decision_function(X)
        return np.asarray(self.classes_[scores.argmax(axis=1) if scores.ndim == 2 else (scores > 0.0).astype(np.intp)])

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Return the probabilities of the classes, by the law of the left-out margins as the module derives it.

        Parameters
        ----------
        X : array_like, shape (n, p)
            Samples in rows.

        Returns
        -------
        ndarray, shape (n, C)
            In the order of `classes_`; the largest is that of the class which `predict` returns.
        """
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return np.stack([expit(-self.slope_ * scores), expit(self.slope_ * scores)], axis=1)
        return np.asarray(softmax(self.slope_ * scores, axis=1))

    def _aligned(self, W: FloatArray, model: Any) -> FloatArray:
        """Match the rows of a model by class."""
        theirs, ours = (
            [label_text(label) for label in m.classes_] if hasattr(m, "classes_") else [] for m in (model, self)
        )
        if W.ndim != 2 or len(W) not in (1, len(theirs)) or not set(theirs) & set(ours):
            return W  # by position
        if not set(ours) <= set(theirs):
            raise ValueError(
                f"source_coef must be a model of the same classes, or of all of them and more, or of none of them: "
                f"{type(model).__name__} knows {', '.join(theirs)}, the samples have {', '.join(ours)}"
            )
        if len(W) == 1:
            return W if theirs == ours else -W
        rows = W[[theirs.index(label) for label in ours]]
        return rows[1:] - rows[:1] if len(ours) == 2 else rows


class AlphaRidge(MultiOutputMixin, RegressorMixin, _FineTuned):  # type: ignore[misc]
    r"""Regression fine-tuned from pre-trained weights, on few samples; one output or several.

    Ridge with its origin at α times the source's weights.

    Parameters
    ----------
    source_coef : array_like, fitted model, or list of them, optional
        Source weights w̃, in the units of the features as they are given to `fit`. Left out: ridge from scratch, and
        alpha means nothing.

        - An array of shape (p,) or (1, p) for one output, (d, p) for d outputs; with one more leading axis for K
          sources: (K, p) for one output, (K, d, p).
        - A fitted linear model, anything with ``coef_`` of such a shape, also in a ``FrozenEstimator``. Its intercept
          is not used: with `fit_intercept` the samples determine another, without it there is none.
        - A list of these: several sources.

        Fitted models stay fitted in clones of this estimator, as in a ``Pipeline`` or cross-validation. In a *grid of
        parameters* scikit-learn clones them itself, which forgets the fit: there, wrap them in ``FrozenEstimator``.
    alpha : float, array_like or str, default "robust"
        Scale α of the source: a number; an array of shape (K,) for K sources, with `per_output` (d,) or (d, K); or a
        rule that chooses it (`rmt_alpha.estimation.rules`):

        - ``"robust"``: averages over what the task may be; made for few samples.
        - ``"loo"``: best for the left-out samples; the better choice where there are hundreds of them.
        - ``"theory"``: the isotropic theory with estimated parameters.
        - ``"theory-cov"``: the theory for an estimated covariance; O(p³).
    gamma : float, array_like or "loo", default 1.0
        Ridge penalty γ ≥ 0 on the deviation from α w̃, on the scale of the mean squared error: a number, a sequence of
        numbers to choose from, or ``"loo"``, 13 numbers from 10⁻³ to 10³ times the mean square of the (centred)
        features. It is chosen by the risk of the left-out samples at the α chosen for it, with ``"robust"`` by the mean
        of that and of what the rule expects; of equal ones the largest.
    fit_intercept : bool, default True
        Whether there is an intercept, which is not penalised.
    scale : None, "std" or array_like of shape (p,), default None
        Positive units in which the penalty acts: those of the features, their standard deviations on the samples of the
        fit (1 for constant features), or these. A feature that hardly varies in few samples may vary in others: with
        ``"std"`` its weight may then be far too large, and the scale of the source's data is the better choice
        (`rmt_alpha.estimation.splits.Standardiser` pools both).
    per_output : bool, default False
        Whether each output has its own α. They always share γ.

    Attributes
    ----------
    coef_ : ndarray, shape (p,) or (d, p)
        Weights, in the units of the features as they are.
    intercept_ : float or ndarray, shape (d,)
        Intercepts.
    alpha_ : float or ndarray, shape (K,), (d,) or (d, K), or None
        The α of the fit, without axes for one source and for outputs that share it. None without a source.
    gamma_ : float
        The γ of the fit.
    scale_ : ndarray, shape (p,)
        Units in which the penalty acted.
    loo_ : LOOResult
        What the fit without each sample says of it, for every α at this γ and scale; with an axis for y of two axes.
    risk_law_ : RiskLaw
        Mean squared residual of the left-out samples; of batch shape (d,) for y of two axes.
    related_ : float
        Posterior probability that a source matters; only with a source and ``alpha="robust"``.
    n_features_in_ : int
        p.
    feature_names_in_ : ndarray, shape (p,)
        Names of the features, where X has them.

    Raises
    ------
    ValueError
        By `fit`: if an argument is none of the above or does not fit the samples, there are fewer than two samples, or
        products of the arguments exceed float64.
    sklearn.exceptions.NotFittedError
        By `fit`, if a source model is not fitted.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> old = rng.standard_normal((2, 50))
    >>> new = 1.5 * old + 0.3 * rng.standard_normal((2, 50))
    >>> X, fresh = rng.standard_normal((2, 30, 50))
    >>> Y = X @ new.T + rng.standard_normal((30, 2))
    >>> [round(AlphaRidge(source).fit(X, Y).score(fresh, fresh @ new.T), 2) for source in (None, old)]
    [0.3, 0.97]
    >>> AlphaRidge(old, per_output=True).fit(X, Y).alpha_.round(2)
    array([1.49, 1.56])
    """

    _OUTPUTS = "outputs"

    def __init__(
        self,
        source_coef: Any = None,
        alpha: str | ArrayLike = "robust",
        gamma: str | ArrayLike = 1.0,
        *,
        fit_intercept: bool = True,
        scale: str | ArrayLike | None = None,
        per_output: bool = False,
    ) -> None:
        self.source_coef = source_coef
        self.alpha = alpha
        self.gamma = gamma
        self.fit_intercept = fit_intercept
        self.scale = scale
        self.per_output = per_output

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit to samples, choosing α and γ where they are to be chosen.

        Parameters
        ----------
        X : array_like, shape (n, p)
            Samples in rows, at least 2.
        y : array_like, shape (n,) or (n, d)
            Responses; several outputs in columns.

        Returns
        -------
        self
            The estimator.
        """
        samples, responses = validate_data(
            self, X, y, dtype=np.float64, ensure_min_samples=2, multi_output=True, y_numeric=True
        )
        single = responses.ndim == 1
        Y = responses.reshape(len(samples), -1).astype(np.float64)
        rows = Y.shape[1] if boolean("per_output", self.per_output) else 1
        coef, intercept = self._fit(samples, Y, rows, labels=False, single=single)
        self.coef_ = coef[0] if single else coef
        self.intercept_ = float(intercept[0]) if single else intercept
        self.risk_law_ = self.loo_.risk_law()
        return self

    def _score(self) -> tuple[str, Any]:
        return "mean squared residual of left-out samples", self.loo_.risk(self.alpha_)

    def predict(self, X: ArrayLike) -> FloatArray:
        """Return predictions.

        Parameters
        ----------
        X : array_like, shape (n, p)
            Samples in rows.

        Returns
        -------
        ndarray, shape (n,) or (n, d)
            Shaped as the responses of the fit.
        """
        check_is_fitted(self)
        samples: FloatArray = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(samples @ self.coef_.T + self.intercept_)


def _scale(scale: Any, X: FloatArray) -> FloatArray:
    if scale is None:
        return np.ones(X.shape[1])
    if isinstance(scale, str):
        if scale != "std":
            raise ValueError(f"scale must be None, 'std' or an array of positive units, got {scale!r}")
        with np.errstate(over="ignore", invalid="ignore"):
            units = np.asarray(StandardScaler().fit(X).scale_)
        if not np.isfinite(units).all():
            raise ValueError(f"X must be smaller: the squares of entries up to {np.abs(X).max():.1e} exceed float64")
        return units
    plain("scale", scale)
    units = real_array("scale", scale, 0.0, open_low=True)
    if units.shape != X.shape[1:]:
        raise ValueError(f"scale must have shape ({X.shape[1]},) to fit the features, got {units.shape}")
    return units


def _alpha(alpha: Any, rows: int, k: int) -> str | FloatArray:
    """Return a rule, or α for each row and source, of a shape that broadcasts to (rows, k)."""
    if isinstance(alpha, str):
        if alpha not in RULES:
            listed = ", ".join(repr(rule) for rule in RULES)
            raise ValueError(f"alpha must be a number, an array or one of {listed}, got {alpha!r}")
        return alpha
    plain("alpha", alpha)
    array = real_array("alpha", alpha)
    if k == 0:
        return np.zeros((rows, 0))
    shapes = [()] + [(rows,)] * (k == 1) + [(k,)] * (rows == 1) + [(rows, k)]
    if array.shape not in shapes:
        listed = " or ".join(str(shape) for shape in dict.fromkeys(shapes[1:]))
        raise ValueError(f"alpha must be a rule, a number or an array of shape {listed}, got shape {array.shape}")
    return array if array.ndim == 0 else array.reshape(rows, k)


def _slope(mean: float, variance: float) -> float:
    """Return 2M/V, within its limits."""
    size = math.hypot(mean, math.sqrt(variance))
    if size == 0.0:
        return 1.0
    slope = 2.0 * mean / variance if variance > 0.0 else math.copysign(math.inf, mean)
    return min(max(slope, 2e-3 / size), 1e6 / size)


def _squeezed(alpha: FloatArray) -> float | FloatArray | None:
    """Return α of shape (rows, K) without the axes of length 1."""
    if alpha.shape[1] == 0:
        return None
    if alpha.size == 1:
        return float(alpha[0, 0])
    return np.array(alpha[0] if len(alpha) == 1 else alpha[:, 0] if alpha.shape[1] == 1 else alpha)


def _is_model(source: Any) -> bool:
    return hasattr(source, "coef_") or hasattr(source, "fit")


def _check_fitted(model: Any) -> None:
    try:
        check_is_fitted(model)
    except NotFittedError:
        raise NotFittedError(
            f"source_coef must be a fitted model: this {type(model).__name__} is not. A grid of parameters is cloned "
            "by scikit-learn, which forgets fits: wrap the model in sklearn.frozen.FrozenEstimator there, or give its "
            "coef_"
        ) from None
