"""The margin law for any covariance from THEORY §3 in mpmath, by dense matrices and bisection: no eigenbasis.

Covariances, means and weights are floats, taken exactly; `mixture` arguments are (mean, covariance matrix, ε).
"""

from typing import NamedTuple

from mpmath import mp, mpf


class Mixture(NamedTuple):
    mean: list
    covariance: list
    label_noise: float = 0.0


class Ridge(NamedTuple):
    mixture: Mixture
    n: float
    gamma: float


def excess(eigenvalues, n, gamma, kappa):
    """Return κ − γ − (κ/n) tr Σ(Σ+κI)⁻¹, whose sign tells on which side of the root κ lies."""
    kappa = mpf(kappa)
    return kappa - mpf(gamma) - kappa / mpf(n) * mp.fsum(mpf(x) / (mpf(x) + kappa) for x in eigenvalues)


def effective_ridge(eigenvalues, n, gamma):
    """Bisect, on a logarithmic scale."""
    eigenvalues = [mpf(x) for x in eigenvalues]
    high = mpf(gamma) + mp.fsum(eigenvalues) / mpf(n)
    low = high * mpf(10) ** -100
    for _ in range(4 * mp.dps):
        middle = mp.sqrt(low * high)
        if excess(eigenvalues, n, gamma, middle) > 0:
            high = middle
        else:
            low = middle
    return mp.sqrt(low * high)


def _equivalent(mixture, n, gamma):
    sigma, mu = mp.matrix(mixture.covariance), mp.matrix(mixture.mean)
    identity = mp.eye(sigma.rows)
    kappa = effective_ridge(mp.eigsy(sigma, eigvals_only=True), n, gamma)
    G = (sigma + kappa * identity) ** -1
    H = (sigma + mu * mu.T + kappa * identity) ** -1
    df2 = _trace(sigma * G * sigma * G)
    return sigma, mu, kappa, G, H, df2


def _trace(matrix):
    return mp.fsum(matrix[i, i] for i in range(matrix.rows))


def margin_law(target, n, gamma, sources=(), digits=50):
    """Return (M, V) as lists; a source is a list of weights or a `Ridge`."""
    with mp.workdps(digits):
        sigma, mu, kappa, G, H, df2 = _equivalent(target, n, gamma)
        t = 1 - 2 * mpf(target.label_noise)
        bulk = kappa**2 * n / (n - df2) * G * sigma * G
        columns, own = [t * H * mu], [mpf(0)]
        for source in sources:
            if not isinstance(source, Ridge):
                columns.append(kappa * H * mp.matrix(source))
                own.append(mpf(0))
                continue
            sigma_s, mu_s, _, G_s, H_s, df2_s = _equivalent(source.mixture, source.n, source.gamma)
            t_s = 1 - 2 * mpf(source.mixture.label_noise)
            w = t_s * H_s * mu_s
            risk = (1 - 2 * t_s * (mu_s.T * w) + w.T * (sigma_s + mu_s * mu_s.T) * w)[0]
            own.append(_trace(sigma_s * G_s * bulk * G_s) / source.n / (1 - df2_s / source.n) * risk)
            columns.append(kappa * H * w)
        mean = [(mu.T * w)[0] for w in columns]
        cov = []
        for i, one in enumerate(columns):
            row = []
            for j, other in enumerate(columns):
                risk = (i == j == 0) - t * ((i == 0) * mean[j] + (j == 0) * mean[i])
                risk += (one.T * (sigma + mu * mu.T) * other)[0]
                row.append((one.T * sigma * other)[0] + df2 / (n - df2) * risk + (i == j) * own[i])
            cov.append(row)
        return mean, cov


def classifier(target, n, gamma, weights, alpha, digits=50):
    """Return w̄_α of fixed sources."""
    with mp.workdps(digits):
        _, mu, kappa, _, H, _ = _equivalent(target, n, gamma)
        combined = (1 - 2 * mpf(target.label_noise)) * mu
        for scale, w in zip(alpha, weights, strict=True):
            combined += kappa * scale * mp.matrix(w)
        return list(H * combined)
