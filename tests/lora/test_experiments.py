"""Trained layers are the ridge classifiers of the theory, and a trained α rests where the theory says."""

import numpy as np
import pytest
from scipy import special

import rmt_alpha as ra
from rmt_alpha.lora import experiments
from rmt_alpha.lora.experiments import (
    THEORIES,
    Sample,
    adapter_free_alpha,
    draw,
    fixed_alpha_study,
    judge,
    learned_alpha,
    theories,
    trained_alpha_study,
    trained_classifiers,
)
from rmt_alpha.lora.optimizers import SGD, Adam, AdamW
from rmt_alpha.problem import Experiment

WIDE = {"beta": 0.5, "n": 30, "p": 90, "gamma": 0.3, "mu": 0.8, "mu_perp": 1.1, "n_source": 150, "gamma_source": 2.0}
TALL = {"beta": -0.7, "n": 130, "p": 40, "gamma": 0.2, "mu": 1.3, "mu_perp": 0.7, "label_noise": 0.1}
RESTS = {"beta": 0.6, "p": 100, "gamma": 1.0, "mu": 1.5, "mu_perp": 1.2, "n_source": 200, "gamma_source": 0.5}


def minimiser(sample, alpha):
    """Solve the normal equations of the fine-tuning, as THEORY §1 states it."""
    X, n = sample.inputs, len(sample.labels)
    residual = sample.labels - X @ (alpha * sample.source)
    a = np.linalg.solve(X.T @ X / n + sample.gamma * np.eye(X.shape[1]), X.T @ residual / n)
    return alpha * sample.source + a


@pytest.mark.slow
@pytest.mark.parametrize(
    ("problem", "adapter"),
    [
        (WIDE, {"rank": 1}),
        (WIDE, {"rank": 4, "lora_alpha": 7.0}),
        (TALL, {"rank": 3, "lora_alpha": 2.0, "rank_stabilized": True, "init": "gaussian"}),
    ],
)
def test_a_trained_layer_is_the_ridge_classifier(problem, adapter):
    sample = draw(Experiment(**problem), seed=3)
    alphas = [2.0 * ra.worst_alpha(**problem), 0.0, ra.optimal_alpha(**problem), 6.0]
    layers = trained_classifiers(sample, alphas, steps=1500, seed=4, **adapter)
    for alpha, weights in zip(alphas, layers, strict=True):
        solved = minimiser(sample, alpha)
        assert np.linalg.norm(weights - solved) < 1e-6 * np.linalg.norm(solved)
        accuracy = special.ndtr(solved @ sample.mean / np.linalg.norm(solved))
        assert sample.accuracy(weights) == pytest.approx(accuracy, abs=1e-7)
    np.testing.assert_allclose(sample.classifier(alphas), [minimiser(sample, a) for a in alphas], atol=1e-10)


@pytest.mark.slow
def test_gradient_descent_finds_the_same_classifier():
    sample = draw(Experiment(**TALL), seed=5)
    layers = trained_classifiers(sample, [-1.5, 2.5], steps=1500, optimizer=SGD(0.03, momentum=0.9), rank=2)
    np.testing.assert_allclose(layers, sample.classifier([-1.5, 2.5]), atol=1e-8)


def test_an_update_that_is_not_penalised_as_a_whole_is_another_classifier():
    """What the equality hangs on: without the ridge on sBA it fails."""
    sample = draw(Experiment(**TALL), seed=5)
    decay = AdamW(0.03, weight_decay=0.2)
    layers = trained_classifiers(sample, [2.5], steps=1000, optimizer=decay, rank=2)
    assert np.linalg.norm(layers - sample.classifier([2.5])) > 1e-2


def test_data_follow_the_model():
    """Means, label noise and the source's own training, by averages over draws."""
    problem = {**WIDE, "n": 4000, "p": 3, "n_source": 5, "gamma_source": 0.5, "label_noise": 0.2, "mu": 1.4}
    e = Experiment(**problem)
    sample = draw(e, seed=0)
    along = np.mean(sample.labels[:, None] * sample.inputs, axis=0)
    mean = np.array([0.5 * 1.4, np.sqrt(0.75) * 1.1, 0.0])
    np.testing.assert_allclose(sample.mean, mean)
    assert np.abs(along - 0.6 * mean).max() < 5 * np.sqrt(2.5 / 4000)
    assert np.abs(np.cov(sample.inputs.T) - np.eye(3) - np.outer(mean, mean)).max() < 0.15
    X, y = sample.fresh(50_000)(np.random.default_rng(0))
    assert np.abs(np.mean(y[:, None] * X, axis=0) - 0.6 * mean).max() < 5 * np.sqrt(2.5 / 50_000)
    assert abs(np.mean(y)) < 5 / np.sqrt(50_000)
    sources = np.array([draw(e, seed=s).source for s in range(3)])
    assert (np.ptp(sources, axis=0) > 0.0).all()
    np.testing.assert_array_equal(draw(Experiment(0.5, 9, 4, 0.1, mu=1.7), seed=0).source, [1.7, 0.0, 0.0, 0.0])


def test_draws_repeat_with_the_seed():
    one, same, other = (draw(Experiment(**WIDE), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.inputs, same.inputs)
    np.testing.assert_array_equal(one.source, same.source)
    assert (one.inputs != other.inputs).all()
    assert learned_alpha(one, steps=40, seed=7)[0] == learned_alpha(same, steps=40, seed=7)[0]
    assert learned_alpha(one, steps=40, seed=7)[0] != learned_alpha(one, steps=40, seed=8)[0]


@pytest.mark.slow
def test_the_resting_alpha_is_orthogonal_to_fresh_residuals():
    sample = draw(Experiment(**TALL), seed=1)
    weights = minimiser(sample, sample.resting_alpha())
    X, y = sample.fresh(400_000)(np.random.default_rng(1))
    products = (X @ sample.source) * (y - X @ weights)
    assert abs(products.mean()) < 4 * products.std() / np.sqrt(products.size)
    away = (X @ sample.source) * (y - X @ minimiser(sample, sample.resting_alpha() + 0.5))
    assert abs(away.mean()) > 10 * away.std() / np.sqrt(away.size)

    batch = sample.fresh(50)(np.random.default_rng(2))
    weights = minimiser(sample, sample.resting_alpha(batch))
    assert abs((batch[0] @ sample.source) @ (batch[1] - batch[0] @ weights)) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [-0.5, 1.0])
def test_on_a_fixed_batch_training_rests_exactly_there(alpha):
    """From two starts, with α every second and every tenth step, and on the training batch itself."""
    sample = draw(Experiment(**{**RESTS, "n": 40, "p": 30}), seed=2)
    held_out = sample.fresh(90)(np.random.default_rng(0))
    for batch, every in ((held_out, 2), (held_out, 10), ((sample.inputs, sample.labels), 5)):
        _, history = learned_alpha(
            sample,
            held_out=batch,
            alpha=alpha,
            steps=2500,
            optimizer=Adam(0.02),
            alpha_optimizer=Adam(0.03),
            alpha_decay="linear",
            alpha_every=every,
            rank=2,
        )
        assert history.alpha["alpha"][-1] == pytest.approx(sample.resting_alpha(batch), abs=1e-4)


def verdict(n, trials=6, draws=400):
    return trained_alpha_study(Experiment(**RESTS, n=n), trials, seed=11, draws=draws)


@pytest.mark.slow
def test_a_trained_alpha_rests_where_its_theory_says_and_not_where_accuracy_or_risk_are_best():
    result = verdict(100)
    assert [result.refused(name) for name in THEORIES] == [False, True, True]
    assert result.tolerance < 0.1  # so that agreement means something


@pytest.mark.slow
@pytest.mark.parametrize("n", [50, 200])
def test_more_of_the_same(n):
    result = verdict(n, trials=16, draws=2000)
    assert [result.refused(name) for name in THEORIES] == [False, True, True]
    assert abs(float(result.plain.value) - result.theory["trained"]) < 5 * float(result.plain.stderr)


@pytest.mark.slow
def test_the_mean_of_the_resting_alpha_is_the_theory_also_on_the_training_batch():
    e = Experiment(**{**RESTS, "n": 60, "p": 50, "n_source": 100, "gamma": 2.0, "label_noise": 0.1})
    samples = [draw(e, seed=np.random.SeedSequence(5, spawn_key=(i,))) for i in range(250)]
    theory = ra.trained_alpha(**vars(e))
    for alphas in (
        np.array([s.resting_alpha() for s in samples]),
        np.array([s.resting_alpha((s.inputs, s.labels)) for s in samples]),
    ):
        assert abs(alphas.mean() - theory) < 4 * alphas.std() / 250**0.5 + 0.5 * theory / 15
        assert abs(alphas.mean() - ra.optimal_alpha(**vars(e))) > 0.1


@pytest.mark.slow
def test_a_slow_adapter_leaves_alpha_at_the_best_scale_of_the_source_alone():
    e = Experiment(**RESTS, n=50)
    found, source = [], []
    for i in range(6):
        sample = draw(e, seed=i)
        alpha, _ = learned_alpha(
            sample,
            alpha=0.5,
            steps=400,
            optimizer=Adam(1e-6),
            alpha_every=1,
            seed=i,
        )
        s = sample.source @ sample.mean
        source.append(s / (sample.source @ sample.source + s**2))
        found.append(alpha)
    assert np.abs(np.array(found) - source).max() < 0.05
    assert np.mean(source) == pytest.approx(adapter_free_alpha(e), abs=0.05)
    assert adapter_free_alpha(Experiment(0.8, 60, 120, 0.5)) == pytest.approx(0.8 / 1.64, rel=1e-9)
    assert adapter_free_alpha(e) > theories(e)["trained"] + 0.15


@pytest.mark.parametrize(
    "problem",
    [
        {**WIDE, "label_noise": 0.1, "label_noise_source": 0.2},
        {**WIDE, "n_source": 60, "gamma_source": 0.0, "beta": -0.3},
        TALL,
    ],
)
def test_the_scale_of_the_source_alone_is_the_limit_of_a_stiff_adapter(problem):
    e = Experiment(**problem)
    assert adapter_free_alpha(e) == pytest.approx(ra.trained_alpha(**{**problem, "gamma": 1e12}), rel=1e-9)


@pytest.mark.slow
def test_the_scale_of_the_source_alone_is_that_of_the_drawn_sources():
    e = Experiment(**{**WIDE, "label_noise": 0.1, "label_noise_source": 0.2})
    overlap, length2 = np.transpose(
        [[x.source @ x.mean, x.source @ x.source] for x in (draw(e, seed=i) for i in range(300))]
    )
    drawn = 0.8 * overlap.mean() / (length2.mean() + overlap.mean() ** 2)
    assert adapter_free_alpha(e) == pytest.approx(drawn, rel=0.05)
    assert abs(0.8 / overlap.mean() * drawn - adapter_free_alpha(e)) > 0.5  # the power of the above


def test_theories_are_those_of_the_package():
    e = Experiment(**TALL)
    found, law = theories(e), ra.margin_law(**TALL)
    assert found["optimal"] == pytest.approx(law.optimal_alpha())
    assert found["trained"] == ra.trained_alpha(**TALL)
    grid = np.linspace(-2, 2, 400_001)
    mean, variance = law.moments(grid)
    assert found["risk_optimal"] == pytest.approx(grid[np.argmin(1 - 2 * 0.8 * mean + mean**2 + variance)], abs=2e-5)


def test_the_control_variate_is_right_also_where_training_is_not():
    """Learned α that have nothing to do with the resting ones: the estimate is unbiased, and its error honest."""
    rng, e = np.random.default_rng(0), Experiment(**RESTS, n=50)
    scores, plain = [], []
    for _ in range(300):
        rest = rng.normal(0.8, 0.1, 8)
        result = judge(e, 0.5 * rest + rng.normal(0.1, 0.02, 8), rest, rng.normal(0.8, 0.1, 500))
        scores.append((result.estimate.value - 0.5) / result.estimate.stderr)
        plain.append((result.plain.value - 0.5) / result.plain.stderr)
    assert abs(np.mean(scores)) < 4 * np.std(scores) / 300**0.5
    assert 0.85 < np.std(scores) < 1.5  # Student's with 7 degrees of freedom: 1.18


def test_judge_counts_and_refuses():
    e = Experiment(**RESTS, n=50)
    rest = np.array([0.8, 0.9, 0.85, 0.82])
    theory = theories(e)["trained"]
    near = judge(e, rest, rest, np.linspace(theory - 0.01, theory + 0.01, 50))
    assert near.estimate.n == 4
    assert not near.refused("trained")
    assert near.refused("optimal")
    assert judge(e, rest + np.array([0.1, 0.101, 0.1, 0.1]), rest, np.full(50, theory)).refused("trained")
    assert near.tolerance > near.allowance > 0.0
    for arguments in ((rest[:2], rest[:2], rest), (rest, rest[:3], rest), (rest, rest, rest[:1])):
        with pytest.raises(ValueError, match="learned and resting"):
            judge(e, *arguments)
    with pytest.raises(ValueError, match="level"):
        judge(e, rest, rest, rest, level=0.0)


def test_chance_is_student_s_and_bias_counts_the_samples_that_are_worth_something():
    """Of 4 draws, the two-sided 0.1 % quantile of tables: 12.924."""
    problem = {**WIDE, "label_noise": 0.1, "label_noise_source": 0.2}
    rest = np.array([0.8, 0.9, 0.85, 0.82])
    result = judge(Experiment(**problem), rest + np.array([0.0, 0.1, -0.1, 0.05]), rest, np.linspace(0.5, 0.7, 30))
    inverse = 1.0 / 90
    for n, gamma, t in ((30, 0.3, 0.8), (150, 2.0, 0.6)):
        kappa = max(np.roots([1.0, 1.0 - 90 / n - gamma, -gamma]))
        inverse += 1.0 / (t**2 * n * (1.0 - 90 / n / (1.0 + kappa) ** 2))
    assert result.allowance == pytest.approx(0.5 * ra.trained_alpha(**problem) * inverse, rel=1e-9)
    assert result.tolerance - result.allowance == pytest.approx(12.924 * result.estimate.stderr, rel=1e-4)
    half = judge(Experiment(**problem), rest, rest + np.array([0.0, 0.1, -0.1, 0.05]), np.linspace(0.5, 0.7, 30), 0.002)
    assert half.tolerance - half.allowance == pytest.approx(10.215 * half.estimate.stderr, rel=1e-4)


def test_a_study_of_fixed_alpha_takes_the_worst_distance_and_the_mean_accuracy(monkeypatch):
    e, alphas, seen = Experiment(**WIDE), [-1.0, 0.0, 2.5], []

    def off(sample, values, **options):
        seen.append((sample, options))
        return sample.classifier(values) * (1.0 + 0.1 * np.array([[3.0, 1.0, 2.0][len(seen) - 1], 1.0, -4.0])[:, None])

    monkeypatch.setattr(experiments, "trained_classifiers", off)
    distances, accuracy = fixed_alpha_study(e, alphas, 3, seed=5, steps=77, adapters=[{"rank": 1}, {"rank": 2}])
    np.testing.assert_allclose(distances, [0.3, 0.1, 0.4])
    assert [options["rank"] for _, options in seen] == [1, 2, 1]
    assert {options["steps"] for _, options in seen} == {77}
    assert len({sample.inputs[0, 0] for sample, _ in seen}) == 3
    solved = [[special.ndtr(w @ x.mean / np.linalg.norm(w)) for w in x.classifier(alphas)] for x, _ in seen]
    np.testing.assert_allclose(accuracy.value, np.mean(solved, axis=0))


def test_a_study_of_trained_alpha_holds_out_fresh_batches(monkeypatch):
    e, seen, train = Experiment(**{**RESTS, "n": 30, "p": 20}), [], experiments.train

    def watched(model, inputs, labels, **options):
        drawn = options["held_out"](np.random.default_rng(len(seen)))
        seen.append((inputs, *drawn, options["steps"], options["ridge"], model.parameters()["alpha"].item()))
        return train(model, inputs, labels, **options)

    monkeypatch.setattr(experiments, "train", watched)
    result = trained_alpha_study(e, 3, seed=1, draws=20, steps=60, level=0.02)
    assert (result.level, result.estimate.n) == (0.02, 3)
    for inputs, X, y, steps, ridge, alpha in seen:
        assert X.shape == inputs.shape == (30, 20)
        assert not np.isin(X[:, 0], inputs[:, 0]).any()
        assert (y.shape, steps, ridge, alpha) == ((30,), 60, 1.0, 1.0)
    assert not np.isin(seen[0][0][:, 0], seen[1][0][:, 0]).any()
    assert trained_alpha_study(e, 3, seed=1, draws=20, steps=60).plain.value == result.plain.value


def test_what_is_undefined_is_nan_and_not_judged():
    none, forgotten = Experiment(0.5, 20, 10, 0.5, mu=0.0), Experiment(0.5, 20, 10, 0.0)
    for e in (none, forgotten):
        sample = draw(e, seed=0)
        assert np.isnan(sample.resting_alpha())
        assert np.isnan(sample.resting_alpha(sample.fresh(8)(np.random.default_rng(0))))
    sample = draw(Experiment(0.5, 10, 20, 0.0), seed=0)  # an interpolator: fresh data tell, its own do not
    assert np.isfinite(sample.resting_alpha())
    assert np.isnan(sample.resting_alpha((sample.inputs, sample.labels)))
    assert np.isnan(sample.resting_alpha((np.zeros((4, 20)), np.ones(4))))
    assert np.isnan(sample.accuracy(np.zeros(20)))

    ratio_one = Experiment(0.5, 30, 20, 0.5, n_source=20, gamma_source=0.0)
    for e in (none, forgotten, ratio_one, Experiment(0.5, 20, 20, 0.0)):
        result = judge(e, [0.1, 0.2, 0.4], [0.1, 0.2, 0.3], [0.1, 0.2])
        assert np.isnan([*result.theory.values(), *result.z.values(), result.tolerance]).all()
        assert not any(result.refused(name) for name in THEORIES)
    assert np.isnan([adapter_free_alpha(none), adapter_free_alpha(ratio_one)]).all()
    assert adapter_free_alpha(forgotten) == pytest.approx(0.4)

    equal = judge(Experiment(0.5, 30, 20, 0.5), [0.5] * 3, [0.5] * 3, [0.5] * 3)
    assert {abs(z) for z in equal.z.values()} == {np.inf}
    assert equal.refused("optimal")


GOOD = {
    "inputs": [[1, 2.0], [3, 4.0], [0, 1]],
    "labels": [1, -1, 1],
    "source": [1, 0],
    "mean": [1, 1],
    "gamma": 1,
    "label_noise": 0.1,
}


def test_a_sample_takes_lists_and_keeps_them_from_change():
    sample = Sample(**GOOD)
    assert sample.resting_alpha(([[1, 0], [0, 1]], [[1], [-1]])) == sample.resting_alpha((np.eye(2), [1.0, -1.0]))
    for name in ("inputs", "labels", "source", "mean"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(sample, name)[...] = 0.0


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": [1.0, 2.0]},
        {"inputs": np.zeros((0, 2))},
        {"inputs": [["a", "b"]] * 3},
        {"labels": [1, -1]},
        {"labels": ["a", "b", "c"]},
        {"source": [1, 0, 0]},
        {"mean": [[1, 0]]},
        {"mean": [np.nan, 0]},
        {"gamma": -1.0},
        {"label_noise": 7},
        {"label_noise": 0.5},
    ],
)
def test_a_sample_that_does_not_fit_is_refused(change):
    with pytest.raises(ValueError, match=rf"^{next(iter(change))} must"):
        Sample(**{**GOOD, **change})


def test_bad_arguments_are_refused_by_name():
    sample, e = Sample(**GOOD), Experiment(0.2, 10, 20, 0.1)
    for name, call in (
        ("size", lambda: sample.fresh(2.5)),
        ("weights", lambda: sample.accuracy([1.0, 2.0, 3.0])),
        ("weights", lambda: sample.accuracy(1.0)),
        ("alphas", lambda: trained_classifiers(sample, 1.0)),
        ("alphas", lambda: fixed_alpha_study(e, [], 2)),
        ("trials", lambda: fixed_alpha_study(e, [1.0], 0)),
        ("adapters", lambda: fixed_alpha_study(e, [1.0], 2, adapters=[])),
        ("progress", lambda: fixed_alpha_study(e, [1.0], 2, progress=1)),
        ("layer", lambda: learned_alpha(sample, layer={"rank": 2})),
        ("layer", lambda: learned_alpha(sample, layer="gaussian")),
        ("held_out", lambda: learned_alpha(sample, held_out=(np.zeros((0, 2)), []))),
        ("trials", lambda: trained_alpha_study(e, 2)),
        ("draws", lambda: trained_alpha_study(e, 3, draws=1)),
        ("experiment", lambda: trained_alpha_study(Experiment(0.2, 20, 10, 0.0), 3, draws=2)),
        ("name", lambda: judge(e, [1, 2, 3], [1, 2, 3], [1, 2]).refused("foo")),
        ("resting", lambda: judge(e, [1, 2, 3], [1, 2, np.nan], [1, 2])),
        *(("held_out", lambda batch=batch: sample.resting_alpha(batch)) for batch in BATCHES),
    ):
        with pytest.raises(ValueError, match=rf"^{name} must"):
            call()


BATCHES = (
    3,
    (np.eye(2),),
    ([], []),
    (np.zeros((0, 2)), []),
    (np.eye(2), [1.0]),
    (np.eye(2), ["a", "b"]),
    (np.eye(3), [1] * 3),
)


def test_several_beta_are_refused():
    e = Experiment([0.2, 0.8], 10, 20, 0.1)
    for function in (draw, theories, adapter_free_alpha):
        with pytest.raises(ValueError, match="beta must be a single number"):
            function(e)
    with pytest.raises(ValueError, match="trials"):
        experiments.resting_alphas(Experiment(0.2, 10, 20, 0.1), 0)


def test_accuracy_depends_on_the_direction_alone():
    sample = Sample(np.eye(2), [1, -1], [1, 0], [1, 0], 1.0, 0.0)
    expected = sample.accuracy([1.0, 1.0])
    for size in (1e-300, 1e-163, 1e163, 1e300):
        np.testing.assert_allclose(sample.accuracy(np.full(2, size)), expected, rtol=1e-14)
    assert np.isnan(sample.accuracy([0.0, 0.0]))
