"""The isotropic model in a notebook: accuracy, risk and special values of α as functions of the problem's parameters.

The mathematics is that of `rmt_alpha.theory.closed_form`; here arguments are checked and broadcast, and other array
libraries let through.
"""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rmt_alpha._elementwise import elementwise
from rmt_alpha._jit import Ufunc
from rmt_alpha._validation import FloatArray, broadcast_shape, real_array
from rmt_alpha.laws import MarginLaw
from rmt_alpha.problem import Isotropic
from rmt_alpha.spread import precise_optimal_alpha
from rmt_alpha.theory import closed_form
from rmt_alpha.theory.fluctuations import checked_order, fixed_source_fluctuations, isotropic_fluctuations


def _law(problem: Isotropic, order: int) -> MarginLaw:
    if order == 2:
        return isotropic_fluctuations(problem).corrected_law
    return closed_form.isotropic_law(problem)


def _optimal_alpha_array(*, order: int, **parameters: Any) -> FloatArray:
    problem = Isotropic(**parameters)
    if order == 1:
        return closed_form.isotropic_optimal_alpha(problem)
    return precise_optimal_alpha(_law(problem, order))


def _worst_alpha_array(*, order: int, **parameters: Any) -> FloatArray:
    return np.asarray(_law(Isotropic(**parameters), order).worst_alpha())


def _accuracy_array(alpha: ArrayLike, *, order: int, **parameters: Any) -> FloatArray:
    return np.asarray(_law(closed_form.problem_at(alpha, parameters), order).accuracy(alpha))


def _risk_array(alpha: ArrayLike, *, order: int, **parameters: Any) -> FloatArray:
    return np.asarray(_law(closed_form.problem_at(alpha, parameters), order).risk(alpha))


# The public functions.


def optimal_alpha(
    beta: Any,
    n: Any,
    p: Any,
    gamma: Any,
    *,
    mu: Any = 1.0,
    mu_perp: Any = 1.0,
    n_source: Any = None,
    gamma_source: Any = None,
    label_noise: Any = 0.0,
    label_noise_source: Any = 0.0,
    order: int = 1,
) -> Any:
    """Scale α* of the source weights that maximises the accuracy of the fine-tuned classifier.

    Parameters
    ----------
    beta : float or array_like
        Alignment β of target and source, in [-1, 1]: the target mean is ``β μ + √(1−β²) μ_⊥``.
    n : float or array_like
        Number of target samples, positive.
    p : float or array_like
        Dimension, positive.
    gamma : float or array_like
        Ridge penalty γ ≥ 0 of the fine-tuning (on ``‖a‖²`` beside the mean squared loss).
    mu, mu_perp : float or array_like, default 1
        Norms of the source mean μ and of the orthogonal direction μ_⊥, in units of the noise's standard deviation.
    n_source, gamma_source : float or array_like, optional
        Samples N and penalty γ̃ of a ridge-trained source. Left out, the source is the oracle w̃ = μ.
    label_noise, label_noise_source : float or array_like, default 0
        Probability in [0, ½) that a training label is flipped, in the target and in the source.
    order : {1, 2}, default 1
        As in `margin_law`: 1 for the limit of large n and p, 2 for the law with the means that draws have at these.
        With order 2, nan also where α* hangs on the last digits (γ above 1e7 with a source along the target), and
        where so few degrees of freedom are left that the correction means nothing.

    Returns
    -------
    float or array
        α*, of the broadcast shape; a Python float for scalars. xarray, dask and pandas objects pass through. nan
        where the classifier forgets its source (γ = 0, p ≤ n), where source or target carry no signal at all, and by
        rule outside the range in which float64 keeps all digits: lengths mu, mu_perp within 1e±30, and n, p, gamma,
        n_source, gamma_source within 1e±60 (or 0).

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.

    See Also
    --------
    accuracy, risk, worst_alpha, margin_law

    Notes
    -----
    THEORY §4, and §8 for ``order=2``. α = 1 is ordinary fine-tuning, α = 0 training from scratch.

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> round(ra.optimal_alpha(0.8, n=200, p=400, gamma=0.1), 4)
    1.2162
    >>> ra.optimal_alpha([0.2, 0.9], 40, 1000, 0.1, mu=0.8, mu_perp=0.8, n_source=5000, gamma_source=5).round(3)
    array([1.632, 7.471])
    """
    return elementwise(
        partial(_optimal_alpha_array, order=checked_order(order)),
        {
            "beta": beta,
            "n": n,
            "p": p,
            "gamma": gamma,
            "mu": mu,
            "mu_perp": mu_perp,
            "n_source": n_source,
            "gamma_source": gamma_source,
            "label_noise": label_noise,
            "label_noise_source": label_noise_source,
        },
        optional=closed_form.SOURCE,
    )


def worst_alpha(
    beta: Any,
    n: Any,
    p: Any,
    gamma: Any,
    *,
    mu: Any = 1.0,
    mu_perp: Any = 1.0,
    n_source: Any = None,
    gamma_source: Any = None,
    label_noise: Any = 0.0,
    label_noise_source: Any = 0.0,
    order: int = 1,
) -> Any:
    """Scale at which the fine-tuned classifier is as good as a coin: the zero of the margin's mean.

    Parameters
    ----------
    beta, n, p, gamma, mu, mu_perp, n_source, gamma_source, label_noise, label_noise_source, order
        As in `optimal_alpha`.

    Returns
    -------
    float or array
        ``−M₀/M₁``, where accuracy is exactly ½ (beyond it, below ½). nan where the source has no mean margin, as for
        β = 0, and outside the range of `optimal_alpha`.

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.

    Notes
    -----
    The paper's ᾱ (THEORY §2).

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> round(ra.worst_alpha(0.9, 40, 1000, 0.1, mu=0.8, mu_perp=0.8, n_source=5000, gamma_source=5), 3)
    -0.314
    """
    return elementwise(
        partial(_worst_alpha_array, order=checked_order(order)),
        {
            "beta": beta,
            "n": n,
            "p": p,
            "gamma": gamma,
            "mu": mu,
            "mu_perp": mu_perp,
            "n_source": n_source,
            "gamma_source": gamma_source,
            "label_noise": label_noise,
            "label_noise_source": label_noise_source,
        },
        optional=closed_form.SOURCE,
    )


def accuracy(
    alpha: Any,
    beta: Any,
    n: Any,
    p: Any,
    gamma: Any,
    *,
    mu: Any = 1.0,
    mu_perp: Any = 1.0,
    n_source: Any = None,
    gamma_source: Any = None,
    label_noise: Any = 0.0,
    label_noise_source: Any = 0.0,
    order: int = 1,
) -> Any:
    """Asymptotic accuracy of the α-scaled fine-tuned classifier on fresh target points.

    Parameters
    ----------
    alpha : float or array_like
        Scale of the source weights; ±inf stands for the limit.
    beta, n, p, gamma, mu, mu_perp, n_source, gamma_source, label_noise, label_noise_source, order
        As in `optimal_alpha`.

    Returns
    -------
    float or array
        Probability of a correct (clean) label, signed: below ½ where the classifier learns the opposite. nan outside
        the range of `optimal_alpha`.

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.

    Notes
    -----
    THEORY §2 and §4. With ``order=2`` it is the accuracy at the mean numbers of a draw; the mean accuracy of draws, the
    curvature of Φ included, is ``fluctuations(...).mean_accuracy(alpha)``. Where `optimal_alpha` is nan,
    ``margin_law(...).best_accuracy()`` may still be defined.

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> setting = dict(n=40, p=1000, gamma=0.1, mu=0.8, mu_perp=0.8, n_source=5000, gamma_source=5)
    >>> ra.accuracy([0, 1, 7.471], 0.9, **setting).round(3)
    array([0.549, 0.668, 0.731])
    """
    return elementwise(
        partial(_accuracy_array, order=checked_order(order)),
        {
            "alpha": alpha,
            "beta": beta,
            "n": n,
            "p": p,
            "gamma": gamma,
            "mu": mu,
            "mu_perp": mu_perp,
            "n_source": n_source,
            "gamma_source": gamma_source,
            "label_noise": label_noise,
            "label_noise_source": label_noise_source,
        },
        optional=closed_form.SOURCE,
    )


def risk(
    alpha: Any,
    beta: Any,
    n: Any,
    p: Any,
    gamma: Any,
    *,
    mu: Any = 1.0,
    mu_perp: Any = 1.0,
    n_source: Any = None,
    gamma_source: Any = None,
    label_noise: Any = 0.0,
    label_noise_source: Any = 0.0,
    order: int = 1,
) -> Any:
    """Asymptotic squared risk ``E(1 − y w_αᵀx)²`` of the α-scaled classifier, for clean labels.

    Parameters
    ----------
    alpha : float or array_like
        Scale of the source weights.
    beta, n, p, gamma, mu, mu_perp, n_source, gamma_source, label_noise, label_noise_source, order
        As in `optimal_alpha`.

    Returns
    -------
    float or array
        The risk; infinite at γ = 0, n = p, nan outside the range of `optimal_alpha`.

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.

    Notes
    -----
    THEORY §2. The α of least risk is ``margin_law(...).risk_optimal_alpha()``; it is not α*. With ``order=2`` it is the
    risk at the mean numbers of a draw; the mean risk of draws is ``fluctuations(...).mean_risk(alpha)``.

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> ra.risk([0, 1], 0.8, n=200, p=400, gamma=0.1).round(4)
    array([0.9799, 1.0859])
    """
    return elementwise(
        partial(_risk_array, order=checked_order(order)),
        {
            "alpha": alpha,
            "beta": beta,
            "n": n,
            "p": p,
            "gamma": gamma,
            "mu": mu,
            "mu_perp": mu_perp,
            "n_source": n_source,
            "gamma_source": gamma_source,
            "label_noise": label_noise,
            "label_noise_source": label_noise_source,
        },
        optional=closed_form.SOURCE,
    )


def margin_law(
    beta: ArrayLike,
    n: ArrayLike,
    p: ArrayLike,
    gamma: ArrayLike,
    *,
    mu: ArrayLike = 1.0,
    mu_perp: ArrayLike = 1.0,
    n_source: ArrayLike | None = None,
    gamma_source: ArrayLike | None = None,
    label_noise: ArrayLike = 0.0,
    label_noise_source: ArrayLike = 0.0,
    order: int = 1,
) -> MarginLaw:
    """Asymptotic law of the margin as a function of α: the five numbers behind every other answer.

    Parameters
    ----------
    beta, n, p, gamma, mu, mu_perp, n_source, gamma_source, label_noise, label_noise_source
        As in `optimal_alpha`.
    order : {1, 2}, default 1
        1: the limit of large n and p. 2: corrected by the O(1/n) bias of the five numbers, so that they are the means
        over draws up to O(1/n²). `accuracy_std` tells how far single draws are from them. Worth something where n times
        `residual_fraction` is well above 1, and nan where it is below 1, for the source or for the target.

    Returns
    -------
    MarginLaw
        One source; batched over the broadcast shape of the arguments. nan outside the range of `optimal_alpha`, and
        with ``order=2`` where samples are so few that the corrected V is not positive semi-definite.

    Raises
    ------
    ValueError
        If an argument is outside its range, a labelled or lazy array, or the shapes do not broadcast.

    Notes
    -----
    THEORY §4 and §8. The five numbers are ``law.mean`` = (M₀, M₁) and ``law.cov`` = ((V₀₀, V₀₁), (V₀₁, V₁₁)).

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> law = ra.margin_law(0.8, n=200, p=400, gamma=0.1)
    >>> law.mean.round(4), law.cov.round(4).tolist()
    (array([0.314 , 0.2976]), [[0.5093, 0.0136], [0.0136, 0.3985]])
    >>> round(law.risk_optimal_alpha(), 4), round(law.best_accuracy(), 4)
    (0.3912, 0.7374)
    """
    problem = Isotropic(
        beta=beta,
        n=n,
        p=p,
        gamma=gamma,
        mu=mu,
        mu_perp=mu_perp,
        n_source=n_source,
        gamma_source=gamma_source,
        label_noise=label_noise,
        label_noise_source=label_noise_source,
    )
    return _law(problem, checked_order(order))


def effective_ridge(n: ArrayLike, p: ArrayLike, gamma: ArrayLike) -> Any:
    """Effective ridge κ of isotropic data: the penalty that the population problem sees.

    Parameters
    ----------
    n, p : float or array_like
        Number of samples and dimension, positive.
    gamma : float or array_like
        Ridge penalty γ ≥ 0.

    Returns
    -------
    float or ndarray
        The non-negative root of ``κ = γ + (κ/n)·p/(1+κ)``; 0 at γ = 0 for p ≤ n.

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.

    Notes
    -----
    THEORY §3 and §4; γ(1+δ) in the paper's notation.

    Examples
    --------
    >>> effective_ridge(200, 400, 0.0), effective_ridge(400, 200, 0.0)
    (1.0, 0.0)
    """
    return _on_shapes(closed_form.effective_ridge, n, p, gamma)


def residual_fraction(n: ArrayLike, p: ArrayLike, gamma: ArrayLike) -> Any:
    """Fraction h = 1 − df₂/n of the samples left as residual degrees of freedom: what ridge variances are divided by.

    Parameters
    ----------
    n, p, gamma : float or array_like
        As in `effective_ridge`.

    Returns
    -------
    float or ndarray
        ``h = 1 − η/(1+κ)²``, in [0, 1); 0 only at γ = 0, p = n, where the classifier diverges.

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.

    Notes
    -----
    THEORY §4. By the factorisation of THEORY §5 all that γ costs at α* is this factor.

    Examples
    --------
    >>> residual_fraction(200, 400, 0.0), round(residual_fraction(200, 400, 1.0), 4)
    (0.5, 0.8284)
    """
    return _on_shapes(closed_form.residual_fraction, n, p, gamma)


def _on_shapes(kernel: Ufunc, n: ArrayLike, p: ArrayLike, gamma: ArrayLike) -> Any:
    """Check (n, p, γ) and evaluate a kernel of them."""
    arrays = {
        "n": real_array("n", n, 0.0, open_low=True),
        "p": real_array("p", p, 0.0, open_low=True),
        "gamma": real_array("gamma", gamma, 0.0),
    }
    broadcast_shape({name: array.shape for name, array in arrays.items()})
    result = kernel(*arrays.values())
    return float(result) if np.ndim(result) == 0 else result


def source_numbers(
    beta: ArrayLike,
    p: ArrayLike,
    *,
    mu: ArrayLike = 1.0,
    mu_perp: ArrayLike = 1.0,
    n_source: ArrayLike | None = None,
    gamma_source: ArrayLike | None = None,
    label_noise_source: ArrayLike = 0.0,
) -> tuple[Any, Any, Any]:
    """Return what the target sees of a source: (s, w⊥², m²), as `fixed_source_law` takes them.

    Parameters
    ----------
    beta, p, mu, mu_perp, n_source, gamma_source, label_noise_source
        As in `optimal_alpha`.

    Returns
    -------
    s : float or ndarray
        Overlap ``⟨w̃, μ_β⟩``.
    w_perp2 : float or ndarray
        Squared length w⊥² of the part of w̃ orthogonal to μ_β (all of w̃ where m² = 0).
    m2 : float or ndarray
        Squared norm m² of the target mean μ_β.

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.

    Notes
    -----
    THEORY §4, "the source's two numbers". w⊥² and not ‖w̃‖² is returned: it has no cancellation.

    Examples
    --------
    >>> s, w_perp2, m2 = source_numbers(0.8, 400, n_source=2000, gamma_source=1.0)
    >>> round(s, 4), round(w_perp2, 4), round(m2, 4)
    (0.2576, 0.064, 1.0)
    """
    problem = Isotropic(
        beta,
        1.0,
        p,
        0.0,
        mu=mu,
        mu_perp=mu_perp,
        n_source=n_source,
        gamma_source=gamma_source,
        label_noise_source=label_noise_source,
    )
    gain, spread = closed_form.gain_and_spread(problem)
    numbers = (
        closed_form.source_overlap(problem.beta, problem.mu, problem.mu_perp, gain),
        closed_form.source_off_target(problem.beta, problem.mu, problem.mu_perp, gain, spread),
        closed_form.target_norm2(problem.beta, problem.mu, problem.mu_perp),
    )
    s, w_perp2, m2 = (float(x) if np.ndim(x) == 0 else x for x in numbers)
    return s, w_perp2, m2


def fixed_source_law(
    s: ArrayLike,
    w_perp2: ArrayLike,
    m2: ArrayLike,
    n: ArrayLike,
    p: ArrayLike,
    gamma: ArrayLike,
    *,
    label_noise: ArrayLike = 0.0,
    order: int = 1,
) -> MarginLaw:
    """Asymptotic law of the margin for an arbitrary fixed source classifier w̃.

    Parameters
    ----------
    s : float or array_like
        Overlap ``⟨w̃, μ_β⟩`` with the target mean.
    w_perp2 : float or array_like
        Squared length ``‖w̃‖² − s²/m²`` of w̃'s part orthogonal to the target mean.
    m2 : float or array_like
        Squared norm ``‖μ_β‖²`` of the target mean.
    n, p, gamma, label_noise, order
        As in `margin_law`.

    Returns
    -------
    MarginLaw
        One source; batched over the broadcast shape. nan where s, w_perp2, m2, n, p or gamma is not 0 and outside
        1e±60.

    Raises
    ------
    ValueError
        If an argument is outside its range, the shapes do not broadcast, or s ≠ 0 where m² = 0.

    Notes
    -----
    THEORY §4. Everything else about w̃ is irrelevant.

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> law = fixed_source_law(s=0.8, w_perp2=0.36, m2=1.0, n=200, p=400, gamma=0.1)  # the oracle, β = .8
    >>> round(law.accuracy(1.0) - ra.accuracy(1.0, 0.8, 200, 400, 0.1), 12)
    0.0
    """
    if checked_order(order) == 2:
        return fixed_source_fluctuations(s, w_perp2, m2, n, p, gamma, label_noise=label_noise).corrected_law
    parameters, shape = closed_form.checked_fixed_source(s, w_perp2, m2, n, p, gamma, label_noise)
    return closed_form.five_number_law(**parameters, shape=shape)


def fixed_source_optimal_alpha(
    s: ArrayLike,
    w_perp2: ArrayLike,
    m2: ArrayLike,
    n: ArrayLike,
    p: ArrayLike,
    gamma: ArrayLike,
    *,
    label_noise: ArrayLike = 0.0,
) -> Any:
    """α* for an arbitrary fixed source classifier, in the form without cancellation.

    Parameters
    ----------
    s, w_perp2, m2, n, p, gamma, label_noise
        As in `fixed_source_law`.

    Returns
    -------
    float or ndarray
        α*, of the broadcast shape; nan as in `optimal_alpha`, and as in `fixed_source_law`.

    Raises
    ------
    ValueError
        As in `fixed_source_law`.

    Examples
    --------
    >>> round(fixed_source_optimal_alpha(s=0.8, w_perp2=0.36, m2=1.0, n=200, p=400, gamma=0.1), 4)
    1.2162
    """
    checked, _ = closed_form.checked_fixed_source(s, w_perp2, m2, n, p, gamma, label_noise)
    kappa = closed_form.effective_ridge(checked["n"], checked["p"], checked["gamma"])
    eta = closed_form.aspect_ratio(checked["n"], checked["p"])
    source = (checked[name] for name in ("s", "w_perp2", "m2"))
    alpha = closed_form.optimal_alpha_fixed(*source, kappa, eta, checked["label_noise"])
    return float(alpha) if np.ndim(alpha) == 0 else alpha
