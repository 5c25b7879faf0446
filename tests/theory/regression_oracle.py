"""The risk of fine-tuned ridge regression from p × p matrices: the statement written down, without any eigenbasis."""

import numpy as np
from scipy import optimize

from rmt_alpha.problem import FixedSource


def matrix(task):
    """Σ as a full matrix."""
    return task.covariance if np.ndim(task.covariance) == 2 else np.eye(task.p) * task.covariance


def equivalent(task, n, gamma):
    """(κ, h, G, Σ), κ by bracketing."""
    sigma, identity = matrix(task), np.eye(task.p)

    def residual(kappa):
        return kappa - gamma - kappa * np.trace(np.linalg.solve(sigma + kappa * identity, sigma)) / n

    top = gamma + np.trace(sigma) / n
    kappa = optimize.brentq(residual, 1e-9 * top, top * (1 + 1e-12), xtol=1e-16 * top, rtol=1e-15)
    G = np.linalg.inv(sigma + kappa * identity)
    return kappa, 1 - np.trace(sigma @ G @ sigma @ G) / n, G, sigma


def forms(target, n, gamma, sources, *, drop_h=False):
    """The (K+1) × (K+1) form of each output, whose risk is ``(1, −α)·form·(1, −α)``, shape (d, K+1, K+1).

    With `drop_h` the random part of a trained source lacks its factor 1/h_s.
    """
    kappa, h, G, sigma = equivalent(target, n, gamma)
    B = kappa**2 * G @ sigma @ G / h
    rows, own = [target.weights], []
    for source in sources:
        if isinstance(source, FixedSource):
            rows.append(np.atleast_2d(source.weights))
            own.append(np.zeros(target.d))
            continue
        task, N = source.mixture, source.n
        _, h_s, G_s, sigma_s = equivalent(task, N, source.gamma)
        mean = task.weights @ sigma_s @ G_s
        miss = task.weights - mean
        excess = np.einsum("jp,pq,jq->j", miss, sigma_s, miss) + task.noise**2
        rows.append(mean)
        own.append(np.trace(sigma_s @ G_s @ B @ G_s) / N / (1.0 if drop_h else h_s) * excess)
    form = np.einsum("ajp,pq,bjq->jab", rows, B, rows)
    form[:, 0, 0] += target.noise**2 / h
    for k, values in enumerate(own):
        form[:, k + 1, k + 1] += values
    return form


def of_law(law):
    """The same form of a `RiskLaw`."""
    K = law.n_sources
    form = np.empty((*law.shape, K + 1, K + 1))
    form[..., 0, 0] = law.constant
    form[..., 0, 1:] = form[..., 1:, 0] = law.linear
    form[..., 1:, 1:] = law.quadratic
    return form
