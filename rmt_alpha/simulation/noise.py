r"""Laws of the noise z: independent entries, symmetric about 0, of variance 1.

Theory asks only for the first two moments (universality); which law they come from is what these are for. Fourth
moments, which fluctuations see: gaussian 3, rademacher (±1) 1, uniform on ±√3 9/5, laplace 6, student with ν degrees of
freedom ``3 + 6/(ν−4)``, so that ν must exceed 4.
"""

import math
from dataclasses import dataclass

import numpy as np

from rmt_alpha._validation import FloatArray, real

LAWS = ("gaussian", "rademacher", "uniform", "laplace", "student")


@dataclass(frozen=True)
class Noise:
    """A law of standardised noise.

    Parameters
    ----------
    name : {"gaussian", "rademacher", "uniform", "laplace", "student"}
        The law.
    dof : float, optional
        Degrees of freedom ν > 4 of "student"; required there, forbidden elsewhere.

    Raises
    ------
    ValueError
        If the name is unknown, or `dof` is missing, out of range or out of place.

    Examples
    --------
    >>> Noise("rademacher").sample(np.random.default_rng(0), (2, 4))
    array([[-1.,  1., -1.,  1.],
           [ 1.,  1.,  1.,  1.]])
    """

    name: str = "gaussian"
    dof: float | None = None

    def __post_init__(self) -> None:
        if str(self.name) not in LAWS:
            raise ValueError(f"noise must be one of {', '.join(LAWS)}, got {self.name!r}")
        if self.name == "student":
            if self.dof is None:
                raise ValueError('dof is required with noise="student", a number above 4')
            object.__setattr__(self, "dof", real("dof", self.dof, 4.0, open_low=True))
        elif self.dof is not None:
            raise ValueError(f'dof needs noise="student", got {self.dof!r} with noise={self.name!r}')

    @property
    def gaussian(self) -> bool:
        """Whether the margin of a test point is Gaussian, so that no test set is needed."""
        return self.name == "gaussian"

    def sample(self, stream: np.random.Generator, shape: int | tuple[int, ...]) -> FloatArray:
        """Draw an array of independent entries.

        Parameters
        ----------
        stream : numpy.random.Generator
            Where the random numbers come from.
        shape : int or tuple of int
            Shape of the result.

        Returns
        -------
        ndarray
            float64.
        """
        out = np.empty(shape)
        self.fill(stream, out)
        return out

    def fill(self, stream: np.random.Generator, out: FloatArray) -> None:
        """Draw into an array.

        Parameters
        ----------
        stream : numpy.random.Generator
            Where the random numbers come from.
        out : ndarray
            Filled; C-contiguous, float64.
        """
        match self.name:
            case "gaussian":
                stream.standard_normal(out=out)
            case "rademacher":
                bits = np.frombuffer(stream.bytes(-(-out.size // 8)), np.uint8)
                np.multiply(np.unpackbits(bits, count=out.size).reshape(out.shape), 2.0, out=out)
                out -= 1.0
            case "uniform":
                stream.random(out=out)
                out -= 0.5
                out *= math.sqrt(12.0)
            case "laplace":
                out[...] = stream.laplace(0.0, math.sqrt(0.5), out.shape)
            case "student":
                assert self.dof is not None
                out[...] = stream.standard_t(self.dof, out.shape)
                out *= math.sqrt((self.dof - 2.0) / self.dof)


GAUSSIAN = Noise()
