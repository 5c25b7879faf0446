r"""Sweeps: theory and simulation over a grid of isotropic problems, as one labelled table.

The grid is the outer product of the arguments that are sequences, in the order of the arguments; those that vary in
step share an axis. α is the last axis, and costs no simulation: a trial is a margin law, good for every α.

Randomness. All β of otherwise equal points are one experiment, and share each trial's source and noise (unless β varies
in step with something else). These experiments are counted in the order of the grid, and number i draws from the child
``spawn_key + (i,)`` of the sweep's seed, so that each can be repeated alone.

The standard score ``z = (simulated − theoretical accuracy)/stderr`` is not free of bias: theory is the limit of large n
and p, off by O(1/n), and enough trials make that show. With ``order=2`` it is the mean accuracy of draws to
second order (THEORY §8), off by O(1/n²). `rmt_alpha.comparison` allows for both.

This module stands beside the rooms because it sees two of them, theory and simulation. It is not called ``sweep`` lest
the module hide the function of that name in the package.
"""

import csv
import math
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, fields
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rmt_alpha
from rmt_alpha import _tables
from rmt_alpha._random import Seed, child, seed_sequence
from rmt_alpha._validation import FloatArray, check_memory, integer, plain, real, real_array
from rmt_alpha.laws import MarginLaw
from rmt_alpha.problem import Experiment, Isotropic
from rmt_alpha.simulation.checkpoint import checkpoint_path, stored_seeds
from rmt_alpha.simulation.dense import Dense
from rmt_alpha.simulation.experiment import Simulation, sampler_of
from rmt_alpha.simulation.noise import GAUSSIAN, Noise
from rmt_alpha.simulation.runner import Job, run
from rmt_alpha.spread import precise_optimal_alpha
from rmt_alpha.theory.fluctuations import checked_order, fluctuations
from rmt_alpha.theory.isotropic import margin_law, optimal_alpha, worst_alpha

ARGUMENTS = tuple(f.name for f in fields(Isotropic) if f.init)
"""The arguments of a problem, each of which can be an axis."""

COUNTS = ("n", "p", "n_source")
"""Those that count something: whole numbers where they are simulated."""

OPTIMAL = "optimal"
"""Stands for α*, the best α of each point in theory."""

_ROW = 1500.0
"""Bytes of a row of the table, in all the forms it takes."""

_PROBLEM = 20_000.0
"""Bytes of an experiment with its seed, sampler and results, save its arrays."""

_MEANINGS = {
    "alpha_value": "α",
    "optimal_alpha": "α*, theory",
    "worst_alpha": "worst α, theory",
    "accuracy": "accuracy, theory",
    "risk": "risk, theory",
    "mean_accuracy": "mean accuracy of draws, theory to second order",
    "mean_risk": "mean risk of draws, theory to second order",
    "simulated_accuracy": "accuracy, simulated",
    "stderr_accuracy": "standard error of the simulated accuracy",
    "simulated_risk": "risk, simulated",
    "stderr_risk": "standard error of the simulated risk",
    "z": "(simulated − theory)/standard error, accuracy",
    "method": "how trials were sampled",
}

_Variable = tuple[tuple[str, ...], NDArray[Any]]
"""An array with the names of its axes."""


@dataclass(frozen=True, eq=False, repr=False)
class Sweep:
    """Theory and simulation at every point of a grid, and every α.

    ``sweep[name]`` is one quantity as an array over the whole grid; `columns`, `rows`, `to_csv` and `to_pandas` give
    the long table, one row per point and α; `to_xarray` keeps the axes.

    The quantities are the ten arguments (n_source and gamma_source nan without a trained source), alpha (its label),
    alpha_value, and of theory: optimal_alpha, worst_alpha, accuracy, risk. With trials also simulated_accuracy and
    simulated_risk, each with its standard error stderr_accuracy, stderr_risk; z, the difference of the accuracies in
    standard errors, in which the theory's own O(1/n) bias shows when there are many trials; trials; and method. What is
    taken at α* is nan where there is no α*.

    Of order 2, theory's quantities are those of the mean numbers of a draw, M and V. The mean of the draws' accuracies
    is another number again, by the curvature of Φ: mean_accuracy, which z then takes for the theory, off by O(1/n²). So
    is the mean of their risks, mean_risk.

    Parameters
    ----------
    dims : tuple of str
        Names of the axes; the last is "alpha". Arguments that vary in step share an axis, called by their names joined
        with underscores.
    coords : dict
        The ten arguments and alpha, each with the names of its own axes: ``(dims, values)``.
    data : dict
        What was computed, likewise.
    simulations : tuple of Simulation
        The experiments behind it, in the order of the grid without β; see `simulation`.
    noise : Noise
        Law of the noise that was simulated.
    seed : SeedSequence or None
        Reproduces the sweep; None if nothing was simulated.
    order : {1, 2}, default 1
        Of theory's quantities: 1 the limit of many samples and dimensions, 2 with its O(1/n) correction.
    """

    dims: tuple[str, ...]
    coords: dict[str, _Variable]
    data: dict[str, _Variable]
    simulations: tuple[Simulation, ...] = ()
    noise: Noise = GAUSSIAN
    seed: np.random.SeedSequence | None = None
    order: int = 1

    def __post_init__(self) -> None:
        for _, array in (*self.coords.values(), *self.data.values()):
            array.flags.writeable = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values along each axis."""
        sizes = {dim: n for dims, array in self.coords.values() for dim, n in zip(dims, array.shape, strict=True)}
        return tuple(sizes[dim] for dim in self.dims)

    @property
    def trials(self) -> int:
        """Number of experiments at each point; 0 for theory alone."""
        return len(self.simulations[0].law) if self.simulations else 0

    def __repr__(self) -> str:
        axes = ", ".join(f"{dim}: {n}" for dim, n in zip(self.dims, self.shape, strict=True))
        how = f"trials={self.trials}, entropy={self.seed.entropy}" if self.seed is not None else "theory alone"
        return f"Sweep({axes}; {how}{', order=2' if self.order == 2 else ''})"

    def _repr_html_(self) -> str:
        """Show the first rows of what a person reads in a notebook; what is the same everywhere is in the caption."""
        variables = {name: variable for name, variable in {**self.coords, **self.data}.items() if name != "trials"}
        same = {name: array.item() for name, (dims, array) in variables.items() if not dims}
        index, more = _tables.first(self.shape)
        columns: dict[str, Any] = {n: self[n][index] for n, (dims, _) in self.coords.items() if dims and n != "alpha"}
        at, labels = self["alpha_value"][index], self["alpha"][index]
        scales = zip(at, labels, strict=True)
        columns["α"] = [f"{_tables.text(x)} (α*)" if label == "optimal" else x for x, label in scales]
        accuracy = "mean_accuracy" if "mean_accuracy" in self.data else "accuracy"
        columns[accuracy.replace("_", " ")] = self[accuracy][index]
        if self.simulations:
            simulated = self["simulated_accuracy"][index], self["stderr_accuracy"][index]
            columns |= {
                "simulated ± s.e.": list(zip(*simulated, strict=True)),
                "z": [f"{z:z.1f}" for z in self["z"][index]],
            }
        constants = "".join(f"; {name} = {_tables.text(x)}" for name, x in same.items() if x == x)
        rows = zip(*columns.values(), strict=True)
        return _tables.table(f"{self!r}{constants}", tuple(columns), rows, more=more)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return one quantity over the whole grid: read-only, the shape of the sweep."""
        variable = self.coords[name] if name in self.coords else self.data[name]
        return np.broadcast_to(_lift(variable, self.dims), self.shape)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the long table by columns.

        Returns
        -------
        dict of ndarray
            One-dimensional arrays of equal length, the last axis of the grid running fastest.
        """
        return {name: self[name].ravel() for name in (*self.coords, *self.data)}

    def rows(self) -> Iterator[dict[str, Any]]:
        """Go through the long table row by row.

        Yields
        ------
        dict
            Python numbers and words by column.
        """
        columns = self.columns()
        for values in zip(*(column.tolist() for column in columns.values()), strict=True):
            yield dict(zip(columns, values, strict=True))

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write the long table as CSV.

        Numbers have all their digits, so that reading them gives the same bits; what is undefined is written as nan.

        Parameters
        ----------
        path : str or path
            The file; it is replaced if it is there.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        columns = self.columns()
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))

    def to_pandas(self) -> Any:
        """Return the long table as a pandas DataFrame.

        Returns
        -------
        pandas.DataFrame
            The columns of `columns`.

        Raises
        ------
        ImportError
            If pandas is not installed: it comes with ``pip install 'rmt_alpha[table]'``.
        """
        return _tables.extra("pandas").DataFrame(self.columns())

    def to_xarray(self) -> Any:
        """Return the grid as an xarray Dataset.

        Returns
        -------
        xarray.Dataset
            With the axes of `dims`; the arguments and alpha are coordinates, and what does not depend on an axis has
            none. Its attributes tell trials, order, noise and seed.

        Raises
        ------
        ImportError
            If xarray is not installed: it comes with ``pip install 'rmt_alpha[table]'``.
        """
        attributes: dict[str, Any] = {"rmt_alpha": rmt_alpha.__version__, "trials": self.trials, "order": self.order}
        if self.seed is not None:
            attributes |= {"noise": self.noise.name, "entropy": str(self.seed.entropy)}
            attributes |= {"dof": self.noise.dof} if self.noise.dof is not None else {}
            attributes |= {"spawn_key": list(self.seed.spawn_key)} if self.seed.spawn_key else {}
        data = {
            name: (*variable, {"long_name": _MEANINGS[name]} if name in _MEANINGS else {})
            for name, variable in self.data.items()
            if name != "trials"
        }
        return _tables.extra("xarray").Dataset(data, self.coords, attributes)

    def simulation(self, *index: int) -> Simulation:
        """Return the experiments of one point, for every question that a `Simulation` answers.

        Parameters
        ----------
        *index : int
            The point's place on each axis but alpha's.

        Returns
        -------
        Simulation
            Its seed repeats the point alone: ``simulate(…, seed=point.seed)``, with all β of its axis at once.

        Raises
        ------
        IndexError
            If there is no such point.
        ValueError
            If nothing was simulated.

        Examples
        --------
        >>> import rmt_alpha as ra
        >>> table = ra.sweep([0.2, 0.8], n=[20, 40], p=30, gamma=0.1, trials=5, seed=0)
        >>> point = table.simulation(1, 0)
        >>> float(point.experiment.beta), point.experiment.n, point.seed.spawn_key
        (0.8, 20, (0,))
        """
        if not self.simulations:
            raise ValueError("this sweep was made with trials=0: there is no simulation")
        shape = self.shape[:-1]
        legal = len(index) == len(shape) and all(isinstance(i, int | np.integer) for i in index)
        if not legal or not all(-n <= i < n for i, n in zip(index, shape, strict=True)):
            raise IndexError(
                f"a point of this sweep has one integer for each of the axes ({', '.join(self.dims[:-1])}) of lengths "
                f"{shape}, got {index}"
            )
        if self.dims[0] != "beta":
            return self.simulations[int(np.arange(len(self.simulations)).reshape(shape)[index])]
        number = np.arange(len(self.simulations)).reshape(shape[1:])[index[1:]]
        return self.simulations[int(number)][index[0]]


def sweep(
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
    alpha: Any = (0.0, 1.0, OPTIMAL),
    order: int = 1,
    together: Iterable[Iterable[str]] = (),
    trials: int = 100,
    seed: Seed = None,
    method: str = "auto",
    noise: str = "gaussian",
    dof: float | None = None,
    test_size: int | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    progress: bool = False,
    checkpoint: str | PathLike[str] | None = None,
) -> Sweep:
    """Theory and simulation over a grid of problems.

    Parameters
    ----------
    beta, n, p, gamma, mu, mu_perp, n_source, gamma_source, label_noise, label_noise_source
        As in `optimal_alpha`, each a number or a one-dimensional sequence. The grid is the outer product of the
        sequences, in the order of the arguments.
    alpha : float, "optimal", or sequence of them, default (0, 1, "optimal")
        Scales of the source, the last axis. "optimal" is α* of theory at each point; ±inf the limit.
    order : {1, 2}, default 1
        Order of theory, as in `accuracy`: of optimal_alpha, worst_alpha, accuracy and risk, and of what is taken at α*.
        2 adds the columns mean_accuracy, which z is then measured from, and mean_risk, and costs some 0.01 ms a point.
    together : sequence of sequences of str, default ()
        Groups of arguments that vary in step, such as ``[("n", "p")]``: sequences of equal lengths, which share an axis
        at the place of the first of them.
    trials : int, default 100
        Number of experiments at each point. 0: theory alone, at no cost to speak of and for any real n, p, n_source.
    seed : int, SeedSequence, Generator or None
        As in `simulate`. The experiments of a sweep, which all β of otherwise equal points share, are counted in the
        order of the grid; number i has the child ``spawn_key + (i,)``.
    method, noise, dof, test_size, executor, workers, progress
        As in `simulate`; the points are worked on at the same time.
    checkpoint : str or path, optional
        As in `simulate`, one file for the whole sweep; alpha and trials may change when it is continued.

    Returns
    -------
    Sweep
        A labelled table.

    Raises
    ------
    ValueError
        If an argument is outside its range at any point, if `together` does not fit, or if the grid would not fit in
        memory: all before any work. And as in `simulate`.
    OSError, RuntimeError
        As in `simulate`.

    See Also
    --------
    simulate : one point, or several β.

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> table = ra.sweep([0.2, 0.8], n=[50, 100], p=150, gamma=0.1, trials=20, seed=0)
    >>> table
    Sweep(beta: 2, n: 2, alpha: 3; trials=20, entropy=0)
    >>> table["optimal_alpha"][:, :, 0].round(3)
    array([[0.214, 0.263],
           [1.031, 1.455]])
    >>> bool((abs(table["z"]) < 5).all())
    True
    """
    given = {"beta": beta, "n": n, "p": p, "gamma": gamma, "mu": mu, "mu_perp": mu_perp, "n_source": n_source}
    given |= {"gamma_source": gamma_source, "label_noise": label_noise, "label_noise_source": label_noise_source}
    values = {name: _values(name, value) for name, value in given.items()}
    grid = _Grid(values, _axes(values, together))
    labels, numbers = _alphas(alpha)
    trials = integer("trials", trials, 0)
    order, law = checked_order(order), Noise(noise, dof)
    if trials == 0 and checkpoint is not None:
        raise ValueError("checkpoint needs trials of at least 1: theory alone has nothing to keep")
    dims, shape = (*grid.sizes, "alpha"), (*grid.sizes.values(), len(labels))
    problems = math.prod(grid.outer.values()) if trials else 0
    check_memory(f"a grid of {shape} ({', '.join(dims)})", _ROW * math.prod(shape) + _PROBLEM * problems)
    grid.require_legal()

    coords = {**grid.coords(), "alpha": (("alpha",), labels)}
    if not trials:
        return Sweep(dims, coords, _theory(grid, dims, numbers, order), order=order)
    root = _root(seed, checkpoint)
    experiments = grid.experiments()
    jobs = _jobs(experiments, method, law, test_size, root)
    data = _theory(grid, dims, numbers, order)
    records = run(jobs, trials, executor=executor, workers=workers, progress=progress, checkpoint=checkpoint)
    for record in records:
        for array in record.values():
            array.flags.writeable = False
    simulations = tuple(
        Simulation(
            MarginLaw._trusted(record["mean"], record["cov"]),
            experiment,
            job.root,
            record.get("margins"),
            job.sampler.specification["method"],
        )
        for record, experiment, job in zip(records, experiments, jobs, strict=True)
    )
    mean = "accuracy" if order == 1 else "mean_accuracy"
    alphas, theory = (np.broadcast_to(_lift(data[name], dims), shape) for name in ("alpha_value", mean))
    simulated = _estimates(simulations, alphas, shared=grid.shared)
    simulated["z"] = _scores(theory, simulated["simulated_accuracy"], simulated["stderr_accuracy"])
    methods = np.array([simulation.method for simulation in simulations]).reshape(tuple(grid.outer.values()))
    data |= {name: (dims, array) for name, array in simulated.items()}
    data |= {"trials": ((), np.array(trials)), "method": (tuple(grid.outer), methods)}
    return Sweep(dims, coords, data, simulations, law, root, order)


# The grid.


@dataclass(frozen=True, eq=False)
class _Grid:
    """The values of the arguments, single or in a row, and the names of the axes that they have."""

    values: dict[str, FloatArray | None]
    axis_of: dict[str, str]

    @property
    def sizes(self) -> dict[str, int]:
        """Lengths of the axes."""
        return {axis: np.size(self.values[name]) for name, axis in self.axis_of.items()}  # type: ignore[arg-type]

    @property
    def shared(self) -> bool:
        """Whether β has an axis of its own, the first: its points share their experiments."""
        return self.axis_of.get("beta") == "beta"

    @property
    def outer(self) -> dict[str, int]:
        """Lengths of the axes whose points are experiments of their own."""
        return {axis: size for axis, size in self.sizes.items() if axis != "beta"}

    def require_legal(self) -> None:
        """Check the values of each argument with the first of the others: ranges do not depend on one another."""
        first: dict[str, Any] = {name: None if a is None else a.flat[0] for name, a in self.values.items()}
        for name, array in self.values.items():
            Isotropic(**first | {name: array})

    def coords(self) -> dict[str, _Variable]:
        """Return the arguments as the table shows them: counts as integers where all of them are, nan for None."""
        coords: dict[str, _Variable] = {}
        for name, array in self.values.items():
            shown: NDArray[Any] = np.array(math.nan) if array is None else array
            if name in COUNTS and ((shown == np.round(shown)) & (shown < 2.0**53)).all():
                shown = shown.astype(np.int64)
            coords[name] = (self.axis_of[name],) if name in self.axis_of else (), shown
        return coords

    def experiments(self) -> list[Experiment]:
        """Return the experiments, in order."""
        experiments = []
        for place in np.ndindex(*self.outer.values()):
            at = dict(zip(self.outer, place, strict=True))
            point: dict[str, Any] = dict(self.values)
            for name, axis in self.axis_of.items():
                if axis in at:
                    point[name] = point[name][at[axis]].item()
            experiments.append(Experiment(**point))
        return experiments


def _values(name: str, value: Any) -> FloatArray | None:
    """Return an argument as a number or a sequence of them; None for what only a trained source has."""
    if value is None and name in ("n_source", "gamma_source"):
        return None
    plain(name, value)
    array = real_array(name, value)
    if array.ndim > 1 or array.size == 0:
        raise ValueError(f"{name} must be a number or a one-dimensional sequence of them, got shape {array.shape}")
    return array.copy()


def _alphas(alpha: Any) -> tuple[NDArray[Any], FloatArray]:
    """Return the labels of the α axis and its numbers, nan for the optimal one.

    Labels are words only where one of them is: as numbers they make an axis that can be plotted.
    """
    plain("alpha", alpha)
    entries = [alpha] if isinstance(alpha, str) or not np.iterable(alpha) else list(alpha)
    if not entries:
        raise ValueError("alpha must have at least one entry")
    for entry in entries:
        if isinstance(entry, str) and entry != OPTIMAL:
            raise ValueError(f"alpha must be numbers or {OPTIMAL!r}, got {entry!r}")
    numbers = np.array([math.nan if isinstance(a, str) else real("alpha", a, infinite=True) for a in entries])
    if not np.isnan(numbers).any():
        return numbers.copy(), numbers
    words = [OPTIMAL if math.isnan(a) else repr(a).removesuffix(".0") for a in numbers.tolist()]
    return np.array(words), numbers


def _axes(values: dict[str, FloatArray | None], together: Any) -> dict[str, str]:
    """Return the axis of each argument that has one, in order."""
    lengths = {name: len(array) for name, array in values.items() if array is not None and array.ndim}
    axis_of = {name: name for name in lengths}
    seen: set[str] = set()
    for group in _groups(together):
        for name in group:
            if name not in ARGUMENTS:
                raise ValueError(f"together must name arguments of the problem ({', '.join(ARGUMENTS)}), got {name!r}")
            if name not in lengths:
                raise ValueError(f"together: {name} is a single value, only sequences vary")
            if name in seen:
                raise ValueError(f"together must name each argument once, got {name!r} again")
            seen.add(name)
        if len(group) < 2:
            raise ValueError(f"together must have groups of at least two arguments, got {group}")
        group.sort(key=ARGUMENTS.index)
        if len({lengths[name] for name in group}) > 1:
            differ = ", ".join(f"{name} has {lengths[name]}" for name in group)
            raise ValueError(f"together: arguments that vary in step must have equally many values, {differ}")
        axis_of |= dict.fromkeys(group, "_".join(group))
    return axis_of


def _groups(together: Any) -> list[list[str]]:
    if np.iterable(together) and not isinstance(together, str):
        groups = list(together)
        if all(np.iterable(group) and not isinstance(group, str) for group in groups):
            return [list(group) for group in groups]
    raise ValueError(f'together must be a sequence of groups such as [("n", "p")], got {together!r}')


def _lift(variable: _Variable, dims: tuple[str, ...]) -> NDArray[Any]:
    """Give an array an axis of length 1 for each of `dims` that it lacks."""
    own, array = variable
    return np.asarray(array[tuple(slice(None) if dim in own else None for dim in dims)])


# Theory.


def _theory(grid: _Grid, dims: tuple[str, ...], numbers: FloatArray, order: int) -> dict[str, _Variable]:
    """Return what theory says on the grid; at α*, nan where there is none."""
    problem: dict[str, Any] = {
        name: _lift(variable, dims) for name, variable in grid.coords().items() if grid.values[name] is not None
    }
    if order == 1:
        law, spread = margin_law(**problem), None
        best, worst = np.asarray(optimal_alpha(**problem)), np.asarray(worst_alpha(**problem))
    else:
        spread = fluctuations(**problem)
        law = spread.corrected_law
        best, worst = precise_optimal_alpha(law), np.asarray(law.worst_alpha())
    best, worst = best[..., 0], worst[..., 0]
    optimal = np.isnan(numbers)
    alpha = np.where(optimal, best[..., None], numbers)
    undefined = np.isnan(alpha)
    at = np.where(undefined, 0.0, alpha)
    of_alpha = {"accuracy": law.accuracy, "risk": law.risk}
    if spread is not None:
        of_alpha |= {"mean_accuracy": spread.mean_accuracy, "mean_risk": spread.mean_risk}
    return {
        "alpha_value": (dims, alpha) if optimal.any() else (("alpha",), numbers),
        "optimal_alpha": (dims[:-1], best),
        "worst_alpha": (dims[:-1], worst),
        **{name: (dims, np.where(undefined, math.nan, value(at))) for name, value in of_alpha.items()},
    }


# Simulation.


def _root(seed: Seed, checkpoint: str | PathLike[str] | None) -> np.random.SeedSequence:
    """Return the seed of the sweep: as given, or that of the checkpoint, which holds its children."""
    stored = stored_seeds(checkpoint_path(checkpoint)) if seed is None and checkpoint is not None else None
    if not stored:
        return seed_sequence(seed)
    first = stored[0]
    return np.random.SeedSequence(first.entropy, spawn_key=first.spawn_key[:-1], pool_size=first.pool_size)


def _jobs(
    experiments: list[Experiment], method: str, noise: Noise, test_size: int | None, root: np.random.SeedSequence
) -> list[Job]:
    """Return the experiments with their samplers and seeds."""
    jobs, held = [], 0.0
    for i, experiment in enumerate(experiments):
        sampler = sampler_of(experiment, method, noise, test_size)
        if isinstance(sampler, Dense):  # the others hold no vectors of length p
            held += 8.0 * (np.size(experiment.beta) + 4) * experiment.p
            check_memory(f"the means of a grid of {len(experiments)} problems up to p={experiment.p}", held)
        jobs.append(Job(sampler, child(root, i)))
    return jobs


def _estimates(simulations: tuple[Simulation, ...], alpha: FloatArray, *, shared: bool) -> dict[str, FloatArray]:
    """Return the means over the trials at each point and α, with their standard errors."""
    names = ("simulated_accuracy", "stderr_accuracy", "simulated_risk", "stderr_risk")
    results = {name: np.empty(alpha.shape) for name in names}
    places = np.ndindex(alpha.shape[1:-1] if shared else alpha.shape[:-1])
    for place, simulation in zip(places, simulations, strict=True):
        at = (slice(None), *place) if shared else place
        undefined = np.isnan(alpha[at])
        a = np.where(undefined, 0.0, alpha[at]).T  # α in front of β, as a simulation takes them
        estimates = simulation.accuracy(a), simulation.risk(a)
        arrays = [array for e in estimates for array in (e.value, e.stderr)]
        for name, array in zip(names, arrays, strict=True):
            results[name][at] = np.where(undefined, math.nan, np.transpose(array))
    return results


def _scores(theory: FloatArray, simulated: FloatArray, stderr: FloatArray) -> FloatArray:
    """Return the differences in standard errors; those within rounding error are 0."""
    difference = simulated - theory
    difference[np.abs(difference) <= 1e-12 * np.abs(theory)] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        score = difference / stderr
    return np.where((difference == 0.0) & (stderr == 0.0), 0.0, score)
