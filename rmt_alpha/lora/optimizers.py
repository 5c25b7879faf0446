"""First-order methods: rules by which gradients move parameters, in place.

With g the gradient, ε and the decay rates those of the rule, ν the learning rate of the step t = 1, 2, …:

    SGD      v ← momentum v + g,    θ ← θ − ν v
    Adam     m ← β₁ m + (1−β₁) g,   v ← β₂ v + (1−β₂) g²,
             θ ← θ − ν m̂/(√v̂ + ε),  m̂ = m/(1−β₁ᵗ),  v̂ = v/(1−β₂ᵗ)
    AdamW    θ ← (1 − ν weight_decay) θ first, then Adam

An optimizer is a frozen description; `start` returns what it remembers of a set of parameters. The conventions are
those of PyTorch. Overflow gives inf or nan, without a warning: a g² beyond float64 makes v inf, and Adam would stand
still for ever, which `train` reports as divergence. References: Adam arXiv 1412.6980, AdamW 1711.05101.
"""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from rmt_alpha._validation import real, real_array
from rmt_alpha.lora.layers import Arrays


@dataclass
class State:
    """The state of a rule.

    Parameters
    ----------
    steps : int
        Number of steps made.
    first, second : dict of str to ndarray
        Averages of gradients and of their squares, shaped like the parameters.
    """

    steps: int = 0
    first: Arrays = field(default_factory=dict)
    second: Arrays = field(default_factory=dict)


@runtime_checkable
class Optimizer(Protocol):
    """A rule by which gradients move parameters."""

    @property
    def learning_rate(self) -> float:
        """Learning rate before any decay."""

    def start(self, parameters: Arrays) -> State:
        """Return the state of a rule that has not made a step.

        Parameters
        ----------
        parameters : dict of str to ndarray
            What it will move.

        Returns
        -------
        State
            To be given to every `step`.
        """

    def step(self, parameters: Arrays, grads: Arrays, state: State, learning_rate: float) -> None:
        """Move the parameters in place.

        Parameters
        ----------
        parameters, grads : dict of str to ndarray
            Parameters and their gradients.
        state : State
            What `start` returned, updated too.
        learning_rate : float
            Learning rate of this step.
        """


@dataclass(frozen=True)
class SGD:
    """Gradient descent with momentum.

    Parameters
    ----------
    learning_rate : float, default 0.01
        Positive learning rate.
    momentum : float, default 0
        In [0, 1).

    Raises
    ------
    ValueError
        If a parameter is outside its range.
    """

    learning_rate: float = 0.01
    momentum: float = 0.0

    def __post_init__(self) -> None:
        real("learning_rate", self.learning_rate, 0.0, open_low=True)
        real("momentum", self.momentum, 0.0, 1.0, open_high=True)

    def start(self, parameters: Arrays) -> State:
        """Return the state of a rule that has not made a step."""
        return State(first={name: np.zeros_like(array) for name, array in parameters.items()})

    @np.errstate(over="ignore", invalid="ignore")
    def step(self, parameters: Arrays, grads: Arrays, state: State, learning_rate: float) -> None:
        """Move the parameters in place."""
        state.steps += 1
        for name, array in parameters.items():
            velocity = state.first[name]
            velocity *= self.momentum
            velocity += grads[name]
            array -= learning_rate * velocity


@dataclass(frozen=True)
class Adam:
    """Adam: steps of the size of the learning rate, whatever the size of the gradient.

    Parameters
    ----------
    learning_rate : float, default 1e-3
        Positive learning rate.
    betas : tuple of float, default (0.9, 0.999)
        Decay rates of the averages of the gradient and of its square, in [0, 1).
    eps : float, default 1e-8
        Positive number that keeps the quotient finite.

    Raises
    ------
    ValueError
        If a parameter is outside its range.
    """

    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        real("learning_rate", self.learning_rate, 0.0, open_low=True)
        if real_array("betas", self.betas, 0.0, 1.0, open_high=True).shape != (2,):
            raise ValueError(f"betas must be two numbers, got {self.betas!r}")
        real("eps", self.eps, 0.0, open_low=True)

    def start(self, parameters: Arrays) -> State:
        """Return the state of a rule that has not made a step."""
        first, second = ({name: np.zeros_like(array) for name, array in parameters.items()} for _ in range(2))
        return State(first=first, second=second)

    @np.errstate(over="ignore", invalid="ignore")
    def step(self, parameters: Arrays, grads: Arrays, state: State, learning_rate: float) -> None:
        """Move the parameters in place."""
        state.steps += 1
        b1, b2 = self.betas
        c1, c2 = 1.0 - b1**state.steps, 1.0 - b2**state.steps
        for name, array in parameters.items():
            g, m, v = grads[name], state.first[name], state.second[name]
            m *= b1
            m += (1.0 - b1) * g
            v *= b2
            v += (1.0 - b2) * (g * g)
            array -= learning_rate / c1 * m / (np.sqrt(v / c2) + self.eps)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay.

    Parameters
    ----------
    learning_rate : float, default 1e-3
        Positive learning rate.
    betas : tuple of float, default (0.9, 0.999)
        Decay rates of the averages of the gradient and of its square, in [0, 1).
    eps : float, default 1e-8
        Positive number that keeps the quotient finite.
    weight_decay : float, default 0.01
        Shrinkage of the parameters at each step, at least 0, times the learning rate.

    Raises
    ------
    ValueError
        If a parameter is outside its range.
    """

    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        real("weight_decay", self.weight_decay, 0.0)

    @np.errstate(over="ignore", invalid="ignore")
    def step(self, parameters: Arrays, grads: Arrays, state: State, learning_rate: float) -> None:
        """Move the parameters in place."""
        for array in parameters.values():
            array *= 1.0 - learning_rate * self.weight_decay
        super().step(parameters, grads, state, learning_rate)
