"""A Monte-Carlo mean with its standard error, the form in which every measured number of this package comes."""

from dataclasses import dataclass

import numpy as np

from rmt_alpha import _tables
from rmt_alpha._validation import FloatArray, real_array


def counted_trials(n: int, how: str = "") -> str:
    """Write what a table in a notebook says of a mean over trials.

    Parameters
    ----------
    n : int
        How many.
    how : str, optional
        What is to be said of them.

    Returns
    -------
    str
        With what follows ±, or that nothing does.
    """
    error = ": no standard error" if n == 1 else "; mean ± standard error"
    return f"{_tables.counted(n, 'trial')}{how}{error}"


@dataclass(frozen=True, eq=False)
class Estimate:
    """A Monte-Carlo mean with its standard error.

    Parameters
    ----------
    value : float or ndarray
        Mean over the trials.
    stderr : float or ndarray
        Standard error of `value`: the standard deviation between trials over √n; nan for a single trial.
    n : int
        Number of trials.
    """

    value: float | FloatArray
    stderr: float | FloatArray
    n: int

    def _repr_html_(self) -> str:
        def cells(index: _tables.Index) -> _tables.Cells:
            return {"mean": (np.asarray(self.value)[index], np.asarray(self.stderr)[index])}

        return _tables.show("Estimate", np.shape(self.value), counted_trials(self.n), cells)

    @classmethod
    def of(cls, samples: FloatArray) -> "Estimate":
        """Average over the leading axis.

        Parameters
        ----------
        samples : ndarray, shape (n, ...)
            One entry per trial.

        Returns
        -------
        Estimate
            Shaped like one sample; Python floats for scalars.

        Raises
        ------
        ValueError
            If there is no sample, or one is not a number.

        Examples
        --------
        >>> Estimate.of(np.array([1.0, 2.0, 3.0, 4.0]))
        Estimate(value=2.5, stderr=0.6454972243679028, n=4)
        """
        samples = real_array("samples", samples, infinite=True, nan=True)
        if samples.ndim == 0 or len(samples) == 0:
            raise ValueError(f"samples must have a leading axis with at least one entry, got shape {samples.shape}")
        n = len(samples)
        with np.errstate(over="ignore", invalid="ignore"):  # infinite samples have an infinite mean, and no error
            value = samples.mean(axis=0)
            stderr = samples.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.full_like(value, np.nan)
        if value.ndim == 0:
            return cls(float(value), float(stderr), n)
        return cls(value, stderr, n)
