import itertools

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.linalg import null_space
from scipy.special import ndtr

from rmt_alpha.estimation import robust
from rmt_alpha.estimation.leave_one_out import leave_one_out
from rmt_alpha.estimation.robust import believe, robust_margin_law, robust_risk_law
from rmt_alpha.laws import MarginLaw
from rmt_alpha.ridge import RidgePath


def sample(n, p, k=1, d=1, seed=0):
    """Samples with features of different size, responses of which the first source says something."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * rng.uniform(0.3, 3.0, p) + rng.standard_normal(p)
    W = rng.standard_normal((k, d, p))
    Y = rng.standard_normal((n, d)) + (0.7 * X @ W[0].T if k else 0.0)
    return X, Y, W


# The models, written with matrices of samples × samples, and with the numbers of the description.

EDGES = (0.0, 0.01, 0.06, 0.2, 0.4, 0.6, 0.8, 1.0)
SHARES = (0.6, 0.9, 0.98)
POWERS = (0.0, 0.5, 1.0)
RELATED, POSITIVE = 0.25, 0.95


def power_of_gram(X, b):
    """``(XᵀX)ᵇ`` on the span of the rows."""
    values, vectors = np.linalg.eigh(X.T @ X)
    seen = values > 1e-12 * values.max()
    return (vectors[:, seen] * values[seen] ** b) @ vectors[:, seen].T


def half_gaussian(mean, sd, sign):
    """Mean of a Gaussian variable, given its sign, and the probability of that."""
    z = sign * mean / sd
    probability = ndtr(z)
    return mean + sign * sd * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) / probability, probability


def believed(X, Y, W, intercept):
    """Weights, probability of a source that matters, and coefficients, as the module's docstring defines them."""
    k, d = W.shape[:2]
    n = len(X)
    R = null_space(np.ones((1, n))).T if intercept else np.eye(n)  # what an intercept leaves
    X, Y = R @ X, R @ Y
    m = len(R)
    if k == 0:
        sets = [((), 1.0)]
    else:
        share_of_one = 1.0 if k == 1 else 0.5
        sets = [((), 1 - RELATED), *(((j,), RELATED * share_of_one / k) for j in range(k))]
        sets += [(tuple(range(k)), 0.5 * RELATED)] if k > 1 else []
    models = []
    for b, (members, probability) in itertools.product(POWERS, sets):
        prior = power_of_gram(X, b)
        K = X @ prior @ X.T
        for (low, high), u in itertools.product(itertools.pairwise(EDGES), SHARES if members else (0.0,)):
            nu = 0.5 * (low + high)
            log, weights, source = 0.0, np.zeros((d, X.shape[1])), np.zeros((d, k))
            for j in range(d):
                y, F = Y[:, j], (X @ W[list(members), j].T).reshape(m, len(members))
                g = (1 - nu) * u / max(len(members), 1) / np.square(F).sum(axis=0)  # variances of c
                rest = (1 - nu) * (1 - u) * K / np.trace(K) + nu * np.eye(m) / m
                C = rest + (F * g) @ F.T
                fit = y @ np.linalg.solve(C, y)
                log -= 0.5 * np.linalg.slogdet(C)[1] + 0.5 * m * np.log(fit)
                c = g * (F.T @ np.linalg.solve(C, y))
                if len(members) == 1:
                    sd = np.sqrt(fit / m * (g - g**2 * np.diag(F.T @ np.linalg.solve(C, F))))
                    halves = [half_gaussian(c, sd, sign) for sign in (1, -1)]
                    likely = [2 * q * h[1] for q, h in zip((POSITIVE, 1 - POSITIVE), halves, strict=True)]
                    log += np.log(sum(likely))[0]
                    c = sum(q * h[0] for q, h in zip(likely, halves, strict=True)) / sum(likely)
                alone = prior @ X.T * (1 - nu) * (1 - u) / np.trace(K)
                weights[j] = c @ W[list(members), j] + alone @ np.linalg.solve(rest, y - F @ c)
                source[j, list(members)] = c
            cell = (high - low) * probability / (len(SHARES) if members else 1)
            models.append((np.linalg.matrix_rank(Y) / d * log + np.log(cell), weights, source, bool(members)))
    chance = np.exp([model[0] - max(model[0] for model in models) for model in models])
    chance /= chance.sum()
    return (sum(q * model[i] for q, model in zip(chance, models, strict=True)) for i in (1, 3, 2))


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize(("n", "p"), [(7, 3), (4, 8), (2, 3)])
@pytest.mark.parametrize(("k", "d"), [(0, 1), (1, 1), (2, 1), (3, 1), (1, 2), (2, 3)])
def test_believes_what_the_models_say(n, p, k, d, intercept):
    X, Y, W = sample(n, p, k, d, seed=10 * n + k)
    found = believe(RidgePath(X, fit_intercept=intercept), Y, W)
    weights, related, source = believed(X, Y, W, intercept)
    assert found.weights.shape == (d, p)
    assert found.source.shape == (d, k)
    np.testing.assert_allclose(found.weights, weights, rtol=1e-10, atol=1e-10 * np.abs(weights).max())
    np.testing.assert_allclose(found.source, source, rtol=1e-10, atol=1e-10 * np.abs(source).max(initial=0.0))
    assert found.related == pytest.approx(related, rel=1e-10)


def test_the_likelihood_is_the_gaussian_one_averaged_over_the_scale():
    """``∫ N(y; 0, τ²C) dτ²/τ²`` is proportional to ``|C|^(−1/2) (yᵀC⁻¹y)^(−m/2)``."""
    rng = np.random.default_rng(0)
    y, ratios = rng.standard_normal(4), []
    for _ in range(2):
        A = rng.standard_normal((4, 6))
        C = A @ A.T
        density = stats.multivariate_normal(cov=C)

        def at(log_tau2, density=density):
            return density.pdf(y * np.exp(-0.5 * log_tau2)) * np.exp(-2.0 * log_tau2)

        averaged = integrate.quad(at, -20.0, 30.0, epsrel=1e-11, limit=200)[0]
        ratios.append(averaged * np.linalg.det(C) ** 0.5 * (y @ np.linalg.solve(C, y)) ** 2)
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-9)


def test_the_mean_of_half_a_gaussian():
    for mean, sd, sign in itertools.product((-2.0, 0.3, 5.0), (0.5, 2.0), (1.0, -1.0)):
        low, high = sorted((0.0, sign * 25.0))
        density = stats.norm(mean, sd).pdf
        mass, moment = (
            integrate.quad(lambda c, a=a, density=density: c**a * density(c), low, high, epsabs=0.0, epsrel=1e-10)[0]
            for a in (0, 1)
        )
        half = robust._half(np.array([mean]), np.array([sd]), sign)[0]
        assert half == pytest.approx(moment / mass, rel=1e-8)


# The laws.


def second_moment(X, intercept):
    """Sample covariance shrunk as Chen et al. (2010), equation 23, say."""
    n, p = X.shape
    n -= intercept
    S = (X - intercept * X.mean(axis=0)).T @ (X - intercept * X.mean(axis=0)) / n
    tr, tr2 = np.trace(S), np.trace(S @ S)
    rho = 1.0 if p == 1 else min(1.0, ((1 - 2 / p) * tr2 + tr**2) / ((n + 1 - 2 / p) * (tr2 - tr**2 / p)))
    return (1 - rho) * S + rho * tr / p * np.eye(p)


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize(("n", "p"), [(30, 4), (6, 12), (2, 3), (4, 1)])
@pytest.mark.parametrize("k", [0, 1, 2])
def test_laws_are_the_moments_of_a_fresh_sample(n, p, k, intercept):
    X, Y, W = sample(n, p, k, 2, seed=5)
    Y[:, 1] = np.where(np.arange(n) % 2, 1.0, -1.0)
    gamma = np.array([0.1, 2.0])
    path = RidgePath(X, fit_intercept=intercept)
    belief = believe(path, Y, W)
    margins = robust_margin_law(path, Y, W, belief, gamma)
    risks = robust_risk_law(path, Y, W, belief, gamma)
    assert margins.shape == risks.shape == (2, 2)
    S, centred = second_moment(X, intercept), X - intercept * X.mean(axis=0)
    for (q, g), j in itertools.product(enumerate(gamma), range(2)):
        Q = np.linalg.inv(centred.T @ centred / n + g * np.eye(p))
        parts = np.vstack([Q @ centred.T @ Y[:, j] / n, g * W[:, j] @ Q])
        w = belief.weights[j]
        M = parts @ S @ w * min(1.0, (0.99 / (w @ S @ w)) ** 0.5)
        np.testing.assert_allclose(margins.mean[q, j], M, rtol=1e-9, atol=1e-12)
        second = margins.cov[q, j] + np.outer(M, M)
        np.testing.assert_allclose(second, parts @ S @ parts.T, rtol=1e-9, atol=1e-11 * np.abs(second).max())
        y = Y[:, j] - intercept * Y[:, j].mean()
        noise = max(np.mean(y**2) - w @ S @ w, 0.0)
        for alpha in (np.zeros(k), np.full(k, -0.4)):
            error, drawn = g * Q @ (w - alpha @ W[:, j]), parts[0] - w + g * Q @ w  # drawn: by the noise, in w₀
            expected = noise + error @ S @ error + drawn @ S @ drawn
            found = risks[q, j].risk(None if k == 0 else alpha[0] if k == 1 else alpha)
            assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_law_is_a_law_even_where_the_samples_explain_everything(seed):
    """V stays positive definite, by the share that a margin law may claim."""
    rng = np.random.default_rng(seed)
    n, p = [(3, 40), (20, 2), (8, 8), (2, 1), (5, 300)][seed]
    y = rng.choice([-1.0, 1.0], (n, 1))
    X = rng.standard_normal((n, p)) + 30.0 * y * np.ones(p)
    W = rng.standard_normal((2, 1, p)) + 10.0
    path = RidgePath(X, fit_intercept=bool(seed % 2))
    law = robust_margin_law(path, y, W, believe(path, y, W), np.array([0.0, 1e-6, 1.0, 1e6]))
    V = law.cov
    scale = np.sqrt(np.einsum("...ii->...i", V))
    scale[scale == 0.0] = 1.0
    correlation = V / scale[..., None] / scale[..., None, :]
    assert np.linalg.eigvalsh(correlation).min() > -1e-12
    assert ((law.mean**2 / (np.einsum("...ii->...i", V) + law.mean**2 + 1e-300)) <= 0.99 + 1e-12).all()


# What must not matter.


def best(X, Y, W, gamma, intercept=True, labels=False):
    path = RidgePath(X, fit_intercept=intercept)
    make = robust_margin_law if labels else robust_risk_law
    belief = believe(path, Y, W)
    return make(path, Y, W, belief, np.asarray(gamma)).optimal_alpha(), belief


SCALES = [1e-100, 0.3, 1e100]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("n", "p"), [(12, 5), (6, 9)])
def test_units_of_source_responses_and_features(n, p, scale):
    X, Y, W = sample(n, p, 2, 2, seed=1)
    gamma = np.array([0.05, 3.0])
    alpha, belief = best(X, Y, W, gamma)
    for sX, sY, sW in ((1.0, 1.0, scale), (1.0, scale, 1.0), (scale, 1.0, 1.0), (scale, scale, 1.0 / scale)):
        other, same = best(X * sX, Y * sY, W * sW, gamma * sX * sX)
        np.testing.assert_allclose(other, alpha * (sY / sX / sW), rtol=1e-8)
        np.testing.assert_allclose(same.weights, belief.weights * (sY / sX), rtol=1e-8)
        np.testing.assert_allclose(same.source, belief.source * (sY / sX / sW), rtol=1e-8)
        assert same.related == pytest.approx(belief.related, rel=1e-10)


@pytest.mark.parametrize("labels", [False, True])
def test_rotations_orders_and_names_of_labels(labels):
    X, Y, W = sample(14, 6, 1, 1, seed=2)
    if labels:
        Y = np.sign(Y)
    rng = np.random.default_rng(0)
    gamma = np.array([0.0, 0.2, 5.0])
    alpha, belief = best(X, Y, W, gamma, labels=labels)
    finite = np.isfinite(alpha)
    assert finite[1:].all()
    Q = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    order = rng.permutation(14)
    for name, arguments, weights in (
        ("rotation", (X @ Q, Y, W @ Q), belief.weights @ Q),
        ("order", (X[order], Y[order], W), belief.weights),
        ("labels", (X, -Y, -W), -belief.weights),
        ("offset", (X + 7.0, Y, W), belief.weights),
    ):
        other, same = best(*arguments, gamma, labels=labels)
        np.testing.assert_allclose(other[1:], alpha[1:], rtol=1e-8, err_msg=name)
        np.testing.assert_allclose(same.weights, weights, rtol=1e-8, atol=1e-12, err_msg=name)


def test_more_features_of_nothing_change_nothing_but_the_shrinkage():
    X, Y, W = sample(9, 4, 1, 1, seed=3)
    wide = np.concatenate([X, np.zeros((9, 3))], axis=1)
    plain = believe(RidgePath(X), Y, W)
    padded = believe(RidgePath(wide), Y, np.concatenate([W, np.ones((1, 1, 3))], axis=2))
    np.testing.assert_allclose(padded.weights[:, :4], plain.weights, rtol=1e-10)
    assert padded.related == pytest.approx(plain.related, rel=1e-12)
    np.testing.assert_allclose(padded.weights[:, 4:], padded.source * np.ones(3), rtol=1e-12)  # as the source has it


# What says nothing.


@pytest.mark.parametrize("silent", ["zero", "outside the samples"])
def test_a_source_that_is_silent_on_the_samples(silent):
    X, Y, W = sample(5, 9, 2, 1, seed=4)
    path = RidgePath(X, fit_intercept=True)
    W[1] = 0.0 if silent == "zero" else 3.0 * null_space(X - X.mean(axis=0))[:, :1].T
    one, two = believe(path, Y, W[:1]), believe(path, Y, W)
    np.testing.assert_allclose(two.weights, one.weights, rtol=1e-12)
    assert two.source[0, 1] == 0.0
    assert two.source[0, 0] == pytest.approx(one.source[0, 0], rel=1e-12)
    assert two.related == pytest.approx(one.related, rel=1e-12)
    none = believe(path, Y, W[1:])
    np.testing.assert_allclose(none.weights, believe(path, Y, W[:0]).weights, rtol=1e-12)
    assert none.related == 0.0


@pytest.mark.parametrize("constant", [0.0, 0.3, -1e100, 1e-100])
def test_responses_that_do_not_vary(constant):
    X, Y, W = sample(7, 4, 1, 2, seed=5)
    Y[:, 1] = constant
    Y[2, 1] *= (0.1 + 0.2) / 0.3  # as rounding has it
    path = RidgePath(X, fit_intercept=True)
    belief = believe(path, Y, W)
    np.testing.assert_allclose(belief.weights[0], believe(path, Y[:, :1], W[:, :1]).weights[0], rtol=1e-12)
    assert not belief.weights[1].any()
    assert not belief.source[1].any()
    only = believe(path, Y[:, 1:], W[:, 1:])
    assert only.related == 0.25
    assert not only.weights.any()


def test_samples_without_features():
    Y, W = np.array([[1.0], [-1.0], [1.0]]), np.ones((1, 1, 2))
    path = RidgePath(np.ones((3, 2)), fit_intercept=True)
    belief = believe(path, Y, W)
    assert not belief.weights.any()
    assert belief.related == 0.0
    law = robust_margin_law(path, Y, W, belief, np.array([0.5]))
    assert not law.mean.any()
    assert not law.cov.any()


def test_an_uncorrelated_pair_of_sources_still_counts():
    """Their coefficients are 0, the probability that they matter is not."""
    X = np.eye(4)
    Y, W = np.array([[1.0], [0.0], [0.0], [0.0]]), np.eye(4)[1:3, None]
    belief = believe(RidgePath(X), Y, W)
    assert 0.0 < belief.related < 0.25
    assert belief.related == pytest.approx(list(believed(X, Y, W, False))[1], rel=1e-10)


def test_a_forgotten_source_has_no_part_in_the_law():
    """γ = 0 and features that depend on each other: what of w̃ is outside their span is rounding."""
    rng = np.random.default_rng(6)
    X = rng.standard_normal((12, 3))
    X = np.column_stack([X, X @ [1.0, -2.0, 0.5]])
    w = rng.standard_normal(12) @ X
    y = np.sign(rng.standard_normal((12, 1)))
    path = RidgePath(X)
    law = robust_margin_law(path, y, w[None, None], believe(path, y, w[None, None]), np.zeros(1))
    assert law.mean[0, 0, 1] == 0.0
    assert law.cov[0, 0, 1, 1] == 0.0


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((1e-160, 1e160, 1.0), "the weights that fit them exceed float64"),
        ((1e-160, 1.0, 1e-160), "the weights that fit them exceed float64"),
    ],
)
def test_beliefs_that_float64_does_not_hold(sizes, message):
    X, Y, W = sample(6, 4)
    with pytest.raises(ValueError, match=message):
        believe(RidgePath(X * sizes[0]), Y * sizes[1], W * sizes[2])


@pytest.mark.parametrize("sizes", [(1.0, 1e180, 1.0), (1.0, 1.0, 1e180), (1.0, 1.0, 1e-180), (1e-100, 1.0, 1e-100)])
def test_laws_that_float64_does_not_hold(sizes):
    X, Y, W = (array * size for array, size in zip(sample(6, 4), sizes, strict=True))
    path = RidgePath(X)
    belief = believe(path, Y, W)
    with pytest.raises(ValueError, match="float64 does not hold the squares"):
        robust_risk_law(path, Y, W, belief, np.ones(1))


def test_responses_that_features_do_not_reach_are_squared_as_well():
    Y, W, path = np.array([[0.0], [1e180], [-1e180]]), np.zeros((0, 1, 1)), RidgePath([[1.0], [0.0], [0.0]])
    with pytest.raises(ValueError, match="float64 does not hold the squares"):
        robust_risk_law(path, Y, W, believe(path, Y, W), np.ones(1))


# How good it is.


def test_rules_reach_the_best_accuracy_on_data_from_the_model():
    """THEORY §1 with n = 200, p = 400, β = .8, N = 2000: accuracy is exact, Φ of the margin of the known mean.

    Mean losses over 80 draws at γ = .1 and 1: robust .0061 and .0065, leave-one-out .0041 and .0031, each ± .0006;
    those of α = 0 are .054 and .060.
    """
    n, p, beta, draws = 200, 400, 0.8, 16
    rng, grid = np.random.default_rng(7), np.array([0.1, 1.0])
    losses = {"robust": np.empty((draws, 2)), "leave-one-out": np.empty((draws, 2))}
    for draw in range(draws):
        mu, other = np.eye(p)[:2]
        mean = beta * mu + (1 - beta**2) ** 0.5 * other
        y_source = rng.choice([-1.0, 1.0], 2000)
        X_source = rng.standard_normal((2000, p)) + np.outer(y_source, mu)
        w = np.linalg.solve(X_source.T @ X_source / 2000 + np.eye(p), X_source.T @ y_source / 2000)
        y = rng.choice([-1.0, 1.0], n)
        X = rng.standard_normal((n, p)) + np.outer(y, mean)
        path, Y, W = RidgePath(X), y[:, None], w[None, None]
        laws = {
            "robust": robust_margin_law(path, Y, W, believe(path, Y, W), grid)[:, 0],
            "leave-one-out": leave_one_out(X, y, w, grid).margin_law(),
        }
        w0, w1 = path.ridge(Y, grid)[:, 0], path.deviation(W[0], grid)[:, 0]
        parts = np.stack([w0, w1], axis=1)
        exact = MarginLaw(parts @ mean, parts @ np.swapaxes(parts, 1, 2))
        for rule, law in laws.items():
            losses[rule][draw] = exact.best_accuracy() - exact.accuracy(law.optimal_alpha())
    for loss in losses.values():
        assert loss.min() >= -1e-12
        assert (loss.mean(axis=0) < 0.01).all()
