"""The numbers of fixed seeds: what checkpoints hold must be what the same seed draws today.

``python -m tests.simulation.test_golden`` prints the table as it would be now.
"""

import numpy as np
import pytest

from rmt_alpha.problem import Experiment, FixedSource, GaussianMixture, RidgeSource
from rmt_alpha.simulation import dense, streaming
from rmt_alpha.simulation.noise import Noise
from rmt_alpha.simulation.runner import Job, run

ORACLE = {"beta": [0.6, -0.3], "gamma": 0.3, "mu": 1.2, "mu_perp": 0.8}
TRAINED = ORACLE | {"gamma_source": 0.7}
NOISY = TRAINED | {"label_noise": 0.2, "label_noise_source": 0.1}
FULL = GaussianMixture([1.0, 0.5, -0.2], [[2.0, 0.3, 0.1], [0.3, 1.0, 0.2], [0.1, 0.2, 0.5]], label_noise=0.1)
ROUND = GaussianMixture([1.0, 0.5, -0.2], 2.0, label_noise=0.1)
FIXED = FixedSource([0.4, 0.1, 0.3])


def streamed(n, p, n_source=None, **setting):
    return streaming.isotropic(Experiment(n=n, p=p, n_source=n_source, **setting))


def made(n, p, n_source=None, name="gaussian", dof=None, **setting):
    noise = Noise(name, dof)
    return dense.isotropic(Experiment(n=n, p=p, n_source=n_source, **setting), noise, None if noise.gaussian else 5)


SAMPLERS = {
    "streaming, oracle, p > n": lambda: streamed(5, 9, **ORACLE),
    "streaming, oracle, p < n": lambda: streamed(9, 5, **ORACLE),
    "streaming, trained, p > n": lambda: streamed(150, 200, 170, **TRAINED),  # several blocks of columns
    "streaming, trained, p < n": lambda: streamed(200, 150, 170, **TRAINED),
    "streaming, label noise, p > n": lambda: streamed(70, 90, 40, **NOISY),
    "streaming, label noise, p < n": lambda: streamed(90, 70, 80, **NOISY),
    "streaming, one sample": lambda: streamed(1, 4, 1, **NOISY),
    "streaming, two sources": lambda: streaming.isotropic_mixtures(ROUND, 6, 0.3, [FIXED, RidgeSource(ROUND, 4, 0.2)]),
    "dense, oracle, p > n": lambda: made(5, 9, **ORACLE),
    "dense, oracle, p < n": lambda: made(9, 5, **ORACLE),
    "dense, trained, p > n": lambda: made(20, 30, 25, **TRAINED),
    "dense, trained, p < n": lambda: made(600, 400, 500, **TRAINED),  # several blocks of rows
    "dense, label noise, p > n": lambda: made(20, 30, 25, **NOISY),
    "dense, label noise, p < n": lambda: made(30, 20, 25, **NOISY),
    "dense, rademacher": lambda: made(7, 5, 4, "rademacher", **NOISY),
    "dense, uniform": lambda: made(7, 5, 4, "uniform", **NOISY),
    "dense, laplace": lambda: made(7, 5, 4, "laplace", **NOISY),
    "dense, student": lambda: made(7, 5, 4, "student", 5.5, **NOISY),
    "dense, two sources": lambda: dense.Dense(FULL, 6, 0.3, [FIXED, RidgeSource(FULL, 4, 0.2)]),
}

# Trials per chunk; of the second trial, and the last target mean, the first and last numbers of each array.
GOLDEN = {
    "streaming, oracle, p > n": (4096, [0.324071972796, 0.0406904795147, 0.365502994397, 0.418403081344]),
    "streaming, oracle, p < n": (4096, [0.51358994549, -0.138813567534, 0.359335732537, 0.15985673126]),
    "streaming, trained, p > n": (2978, [0.246718257697, -0.0490227759971, 0.437646350034, 0.0788991919852]),
    "streaming, trained, p < n": (3158, [0.336971892989, -0.0371931639954, 0.353966492688, 0.0466134590438]),
    "streaming, label noise, p > n": (4096, [0.147407192432, -0.0507709804144, 0.52078328749, 0.116483983512]),
    "streaming, label noise, p < n": (4096, [0.0837807248017, -0.00994586079702, 0.444006234304, 0.0430608606452]),
    "streaming, one sample": (4096, [-0.324968496408, 0.0265120650527, 0.180195798093, 0.116797495371]),
    "streaming, two sources": (4096, [0.250667691574, 0.0576655702081, 0.213769663036, 0.0118604320549]),
    "dense, oracle, p > n": (256, [0.422051012882, -0.298498732374, 0.438171131135, 1.13069422877]),
    "dense, oracle, p < n": (256, [0.453866685433, -0.0742163144104, 0.384408363608, 0.225845271256]),
    "dense, trained, p > n": (256, [0.299803059499, 0.00859208471601, 0.422915247423, 0.0496627368822]),
    "dense, trained, p < n": (16, [0.393637187931, -0.0282792077045, 0.381595046037, 0.0366294054687]),
    "dense, label noise, p > n": (256, [0.197615828464, -0.0119811454454, 0.4753395373, 0.0645782787714]),
    "dense, label noise, p < n": (256, [0.251966588626, -0.0411170457216, 0.379099286066, 0.0531656808313]),
    "dense, rademacher": (
        256,
        [0.214792869517, -0.0127602374243, 0.311375143642, 0.0114509009896, 0.472216876638, -0.165567856133],
    ),
    "dense, uniform": (
        256,
        [0.248738042746, 0.0294943734623, 0.487287274478, 0.0193128718174, 0.496265891899, 0.149658215034],
    ),
    "dense, laplace": (
        256,
        [0.18318087579, 0.0385588099396, 0.253452365239, 0.0210550664964, 0.399491621281, 0.149516476469],
    ),
    "dense, student": (
        256,
        [0.376695122574, 0.0156368748613, 0.580690336817, 0.00729888942257, 1.59473538723, 0.10861982713],
    ),
    "dense, two sources": (256, [0.359714770187, 0.0701506922927, 0.380053602824, 0.0404067807892]),
}


def numbers(case):
    """Return a row of the table."""
    sampler = SAMPLERS[case]()
    (records,) = run([Job(sampler, np.random.SeedSequence(7, spawn_key=(3,)))], 2, workers=1)
    ends = [float(array[-1].ravel()[place]) for array in records.values() for place in (0, -1)]
    return sampler.chunk, ends


@pytest.mark.parametrize("case", SAMPLERS)
def test_a_seed_draws_what_it_always_drew(case):
    chunk, ends = numbers(case)
    changed = (
        "the same seed draws other numbers than before. If a change of NumPy or Numba did it, tell its users. If a "
        "change of this package did, and is meant: raise runner.STREAM_VERSION, so that no checkpoint mixes the two, "
        "and put what `python -m tests.simulation.test_golden` prints into GOLDEN"
    )
    assert chunk == GOLDEN[case][0], changed
    np.testing.assert_allclose(ends, GOLDEN[case][1], rtol=1e-9, err_msg=changed)


if __name__ == "__main__":
    for case in SAMPLERS:
        chunk, ends = numbers(case)
        print(f'    "{case}": ({chunk}, [{", ".join(format(end, ".12g") for end in ends)}]),')
