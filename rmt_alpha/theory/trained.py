r"""Where α comes to rest when it is trained as the α-LoRA paper trains it, in the isotropic model.

Statement (THEORY §11). The adapter a minimises the ridge loss of the n training samples for the current α. Now and then
α follows the gradient of the squared loss on held-out samples, *for the adapter as it is*. So it stops where held-out
residuals are orthogonal to the source's output,

    E[w̃ᵀx (f − w_αᵀx)] = 0,        that is        w̃ᵀ(Σ + μμᵀ) w_α = t w̃ᵀμ,

f the label as observed, flips included. With ``w_α → H(tμ + κW̃α)`` and ``(Σ + μμᵀ)H = I − κH`` (§3) this is, for K
sources,

    (W̃ᵀW̃ − κ W̃ᵀHW̃) α = t W̃ᵀHμ,

and for one source and Σ = I, in the notation of `rmt_alpha.theory.closed_form`,

    α = t s / [(1 + m²) w∥² + λ w⊥²/(1+κ)].

It is neither α* nor the α of least risk: that one would follow the whole derivative of the held-out loss, in which the
adapter answers to α. It belongs to another optimum. Right minus left, times −2κ, is the gradient in α of

    min over a of  E(f − (W̃α + a)ᵀx)² + κ‖a‖²,

to which the change of the minimising a adds nothing. So α and adapter together minimise the population's loss, with the
effective ridge on the adapter and none on α. For one source and Σ = I, α/(ts) grows with κ, from
``1/[(1+m²)‖w̃‖²]`` to ``1/(‖w̃‖² + s²)``, where the labels are fitted by w̃ alone.

Numerics. The denominator is a sum of positive terms; accurate to 1e-12 over the whole domain. By rule nan at κ = 0
(γ = 0, p ≤ n), where the adapter undoes whatever α does and any α is at rest, and otherwise as in `isotropic`. A target
without mean leaves α = 0.
"""

import math
from typing import Any

import numpy as np

from rmt_alpha._elementwise import elementwise
from rmt_alpha._jit import ufunc
from rmt_alpha._validation import FloatArray
from rmt_alpha.problem import Isotropic
from rmt_alpha.theory.closed_form import SOURCE, UNDERFLOW, effective_ridge, full, gain_and_spread, geometry


@ufunc
def _trained_alpha(
    beta: float, mu: float, mu_perp: float, gain: float, spread: float, kappa: float, label_noise: float
) -> float:
    m2, size, product = geometry(beta, mu, mu_perp, gain, 0.0)
    along, off = 0.0, gain * gain * (mu * mu)
    if m2 != 0.0:
        along, off = beta * size / m2 * (beta * size), product / m2
    k1 = 1.0 + kappa
    length2 = (1.0 + m2) * along + (m2 + k1) / k1 * (off + spread)
    if kappa > 0.0 and length2 > UNDERFLOW and math.isfinite(length2):
        return beta * ((1.0 - 2.0 * label_noise) * size / length2)
    return np.nan


def _trained_alpha_array(**parameters: Any) -> FloatArray:
    problem = Isotropic(**parameters)
    gain, spread = gain_and_spread(problem)
    kappa = effective_ridge(problem.n, problem.p, problem.gamma)
    alpha = _trained_alpha(problem.beta, problem.mu, problem.mu_perp, gain, spread, kappa, problem.label_noise)
    return full(alpha, problem.shape)


def trained_alpha(
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
) -> Any:
    """Scale at which α comes to rest when it is trained on held-out squared loss beside a converged adapter.

    Parameters
    ----------
    beta, n, p, gamma, mu, mu_perp, n_source, gamma_source, label_noise, label_noise_source
        As in `optimal_alpha`. Held-out labels are flipped as often as training labels.

    Returns
    -------
    float or array
        α, of the broadcast shape; a Python float for scalars. xarray, dask and pandas objects pass through. nan where
        the classifier forgets its source (γ = 0, p ≤ n), where there is no source at all (w̃ = 0), and outside the range
        of `optimal_alpha`. 0 where the target's mean is orthogonal to the source's, or 0.

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.

    See Also
    --------
    optimal_alpha : the most accurate scale.
    margin_law : whose ``risk_optimal_alpha()`` has the least squared risk.
    rmt_alpha.Transfer.trained_alpha : any covariance, any number of sources.

    Notes
    -----
    THEORY §11: the α-LoRA paper's own training, its adapter a ridge solution for every α.

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> setting = dict(beta=0.8, n=200, p=400, gamma=0.1)
    >>> round(ra.trained_alpha(**setting), 4), round(ra.optimal_alpha(**setting), 4)
    (0.4433, 1.2162)
    >>> round(ra.margin_law(**setting).risk_optimal_alpha(), 4)
    0.3912
    """
    return elementwise(
        _trained_alpha_array,
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
        optional=SOURCE,
    )
