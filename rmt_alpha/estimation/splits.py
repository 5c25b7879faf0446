r"""Splits of labelled data, and the scaling that the model asks for.

The isotropic model (THEORY §1) has samples ``x = y μ + z`` with z of unit variance in every direction. Two steps bring
real features near it, and both look at training rows only:

- centre: each domain by the midpoint ``(x̄₊ + x̄₋)/2`` of its own class means. The plain mean is ``(π₊ − π₋) μ`` away
  from the model's origin when the classes are unequal, the midpoint never is.
- scale: each feature by the root of one variance for both domains, since the source's weights are applied to the
  target. With σ_s² and σ_t² the variances within the classes of source and target, on N − 2 and n − 2 degrees of
  freedom, it is

      ((N−2) σ_s² + (n−2) σ_t²)/(N + n − 4)    where σ_t²/σ_s² is within the two-sided bounds of an F test,
      max(σ_s², σ_t²)                          where it is not: no feature varies more than the other domain explains.

  Pooled, because anything in which n rows weigh more than their share is correlated with what those rows are used for
  next: dividing ``m̂²`` (`plug_in`) by a scale that holds (σ_s² + σ_t²)/2 biases it by (p/n)·O(1/n), more than m² itself
  where n ≪ p. The exception, because domains do differ in what varies: a feature constant in N source rows would have
  variance N/n in n target rows if its variance were pooled. At level `_LEVEL` it is too rare among features that
  are alike in both domains to bring the bias back.

A feature that does not vary within the classes of either domain keeps its unit. A constant one is exactly 0 on the rows
that it was fitted on, hence has weight 0. Equal rows of one data set are so many samples: they may fall on both sides
of a split.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri

from rmt_alpha._validation import FloatArray, integer
from rmt_alpha.estimation.datasets import labelled

MIN_TRAINING, MIN_HELD_OUT = 4, 2
"""Rows of each label that a split must have: an unbiased estimate of tr Σ² takes four, a test of both labels two."""

_LEVEL = 1e-4  # of the F test for variances that differ between the domains


def split(
    y: FloatArray, n: int, stream: np.random.Generator, *, held_out: int = MIN_HELD_OUT, argument: str = "n"
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split rows at random into n training rows and the rest, each label in proportion.

    Parameters
    ----------
    y : ndarray
        Labels ±1.
    n : int
        Number of training rows; label +1 gets ``n·(share of +1)`` of them, rounded.
    stream : numpy.random.Generator
        Where the order of the rows comes from.
    held_out : int, default 2
        Rows of each label that must remain.
    argument : str, default "n"
        What messages call n.

    Returns
    -------
    training, rest : ndarray of int
        Row numbers, increasing.

    Raises
    ------
    ValueError
        If a label would get fewer than 4 training rows, or leave fewer than `held_out`.

    Examples
    --------
    >>> y = np.repeat([-1.0, 1.0], [12, 6])
    >>> training, rest = split(y, 12, np.random.default_rng(0))
    >>> y[training].sum(), y[rest].sum()
    (np.float64(-4.0), np.float64(-2.0))
    """
    n = integer(argument, n)
    if not y.size:
        raise ValueError("there are no rows to split")
    positive = round(n * float((y == 1.0).mean()))
    training = []
    for sign, count in ((-1.0, n - positive), (1.0, positive)):
        rows = np.flatnonzero(y == sign)
        if count < MIN_TRAINING or rows.size - count < held_out:
            raise ValueError(
                f"{argument} must give each label at least {MIN_TRAINING} rows for training and leave {held_out}: "
                f"{argument}={n} takes {count} of the {rows.size} rows with label {sign:+g}"
            )
        training.append(stream.permutation(rows)[:count])
    chosen = np.zeros(y.size, dtype=bool)
    chosen[np.concatenate(training)] = True
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def within_classes(X: FloatArray, y: FloatArray) -> tuple[FloatArray, tuple[FloatArray, FloatArray]]:
    """Return the two class means, and what is left of each class's rows after subtracting its own.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Samples in rows.
    y : ndarray, shape (n,)
        Labels ±1, both present.

    Returns
    -------
    means : ndarray, shape (2, p)
        Of label -1, then +1.
    residuals : tuple of two ndarray, shapes (n₋, p) and (n₊, p)
        In the same order; exactly 0 where a feature is constant within the class.

    Examples
    --------
    >>> means, (minus, plus) = within_classes(np.array([[0.0], [2.0], [5.0]]), np.array([-1.0, -1.0, 1.0]))
    >>> means.tolist(), minus.tolist(), plus.tolist()
    ([[1.0], [5.0]], [[-1.0], [1.0]], [[0.0]])
    """
    means, residuals = [], []
    for sign in (-1.0, 1.0):
        rows = X[y == sign]
        first = rows[0]
        difference = rows - first  # so that the mean of equal numbers is that number: no rounding
        shift = difference.mean(axis=0)
        means.append(first + shift)
        difference -= shift
        residuals.append(difference)
    return np.array(means), (residuals[0], residuals[1])


@dataclass(frozen=True, eq=False)
class Standardiser:
    """Centre and scale of two domains, as the module describes.

    Parameters
    ----------
    source_centre, target_centre : ndarray, shape (p,)
        Midpoints of the class means.
    scale : ndarray, shape (p,)
        Common to both domains, positive.

    Examples
    --------
    >>> X, y = np.array([[0.0, 7.0], [2.0, 7.0], [4.0, 7.0], [6.0, 7.0]]), np.array([-1.0, -1.0, 1.0, 1.0])
    >>> Standardiser.fit(X, y, 2 * X, y).source(X)
    array([[-1.34164079,  0.        ],
           [-0.4472136 ,  0.        ],
           [ 0.4472136 ,  0.        ],
           [ 1.34164079,  0.        ]])
    """

    source_centre: FloatArray
    target_centre: FloatArray
    scale: FloatArray

    @classmethod
    def fit(
        cls, source_X: FloatArray, source_y: FloatArray, target_X: FloatArray, target_y: FloatArray
    ) -> "Standardiser":
        """Fit on the training rows of both domains.

        Parameters
        ----------
        source_X, target_X : ndarray, shapes (N, p) and (n, p)
            Training rows.
        source_y, target_y : ndarray
            Their labels ±1, at least two rows of each.

        Returns
        -------
        Standardiser
            The fit.

        Raises
        ------
        ValueError
            If the rows are no such samples, or have different numbers of features.
        """
        centres: list[FloatArray] = []
        squares, degrees = [], []
        for domain, rows, labels in (("source", source_X, source_y), ("target", target_X, target_y)):
            try:
                X, y = labelled(rows, labels)
                if (fewest := min(int((y == sign).sum()) for sign in (-1.0, 1.0))) < 2:
                    raise ValueError(f"y must have at least two rows of each label, got {fewest} of one")
                if centres and X.shape[1] != len(centres[0]):
                    raise ValueError(f"X must have the {len(centres[0])} features of the source, got {X.shape[1]}")
            except ValueError as error:
                raise ValueError(f"{domain}_{error}") from None
            means, residuals = within_classes(X, y)
            centres.append(means.mean(axis=0))
            squares.append(np.sum([np.square(r).sum(axis=0) for r in residuals], axis=0))
            degrees.append(len(y) - 2)
        ours, theirs = squares[1] / degrees[1], squares[0] / degrees[0]
        low, high = (fdtri(degrees[1], degrees[0], level) for level in (0.5 * _LEVEL, 1.0 - 0.5 * _LEVEL))
        alike = (low * theirs <= ours) & (ours <= high * theirs)
        variance = np.where(alike, (squares[0] + squares[1]) / sum(degrees), np.maximum(ours, theirs))
        return cls(centres[0], centres[1], np.sqrt(np.where(variance > 0.0, variance, 1.0)))

    def source(self, X: FloatArray) -> FloatArray:
        """Standardise rows of the source.

        Parameters
        ----------
        X : ndarray, shape (..., p)
            Rows.

        Returns
        -------
        ndarray
            As `X`.
        """
        Z = X - self.source_centre
        Z /= self.scale  # in place: the time of large data sets is that of their copies
        return Z

    def target(self, X: FloatArray) -> FloatArray:
        """Standardise rows of the target.

        Parameters
        ----------
        X : ndarray, shape (..., p)
            Rows.

        Returns
        -------
        ndarray
            As `X`.
        """
        Z = X - self.target_centre
        Z /= self.scale  # in place: the time of large data sets is that of their copies
        return Z
