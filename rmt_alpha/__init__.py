"""Random matrix theory for transfer learning: how much of a pre-trained model to keep.

The public names are loaded when first used, so that ``import rmt_alpha`` costs next to nothing.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmt_alpha import lora
    from rmt_alpha.estimate import Estimate
    from rmt_alpha.estimation.estimators import AlphaRidge, AlphaRidgeClassifier
    from rmt_alpha.estimation.leave_one_out import LOOResult, leave_one_out
    from rmt_alpha.estimation.plug_in import estimate_problem
    from rmt_alpha.laws import MarginLaw, RiskLaw
    from rmt_alpha.problem import FixedSource, GaussianMixture, Isotropic, RegressionTask, RidgeSource
    from rmt_alpha.regression import RegressionTransfer
    from rmt_alpha.simulation.experiment import Simulation, simulate
    from rmt_alpha.simulation.regression import RegressionSimulation
    from rmt_alpha.spread import Fluctuations
    from rmt_alpha.sweeps import Sweep, sweep
    from rmt_alpha.theory import symbolic
    from rmt_alpha.theory.choice import JointChoice, effective_sample_gain, limit_accuracy, optimal_alpha_gamma
    from rmt_alpha.theory.fluctuations import accuracy_std, fluctuations
    from rmt_alpha.theory.isotropic import accuracy, margin_law, optimal_alpha, risk, worst_alpha
    from rmt_alpha.theory.trained import trained_alpha
    from rmt_alpha.transfer import Transfer

__version__ = "0.1.0"

_PUBLIC = {
    "AlphaRidge": "estimation.estimators",
    "AlphaRidgeClassifier": "estimation.estimators",
    "Estimate": "estimate",
    "FixedSource": "problem",
    "Fluctuations": "spread",
    "GaussianMixture": "problem",
    "Isotropic": "problem",
    "JointChoice": "theory.choice",
    "LOOResult": "estimation.leave_one_out",
    "MarginLaw": "laws",
    "RegressionSimulation": "simulation.regression",
    "RegressionTask": "problem",
    "RegressionTransfer": "regression",
    "RidgeSource": "problem",
    "RiskLaw": "laws",
    "Simulation": "simulation.experiment",
    "Sweep": "sweeps",
    "Transfer": "transfer",
    "accuracy": "theory.isotropic",
    "accuracy_std": "theory.fluctuations",
    "effective_sample_gain": "theory.choice",
    "estimate_problem": "estimation.plug_in",
    "fluctuations": "theory.fluctuations",
    "leave_one_out": "estimation.leave_one_out",
    "limit_accuracy": "theory.choice",
    "lora": "lora",
    "margin_law": "theory.isotropic",
    "optimal_alpha": "theory.isotropic",
    "optimal_alpha_gamma": "theory.choice",
    "risk": "theory.isotropic",
    "simulate": "simulation.experiment",
    "sweep": "sweeps",
    "symbolic": "theory.symbolic",
    "trained_alpha": "theory.trained",
    "worst_alpha": "theory.isotropic",
}

__all__ = [
    "AlphaRidge",
    "AlphaRidgeClassifier",
    "Estimate",
    "FixedSource",
    "Fluctuations",
    "GaussianMixture",
    "Isotropic",
    "JointChoice",
    "LOOResult",
    "MarginLaw",
    "RegressionSimulation",
    "RegressionTask",
    "RegressionTransfer",
    "RidgeSource",
    "RiskLaw",
    "Simulation",
    "Sweep",
    "Transfer",
    "__version__",
    "accuracy",
    "accuracy_std",
    "effective_sample_gain",
    "estimate_problem",
    "fluctuations",
    "leave_one_out",
    "limit_accuracy",
    "lora",
    "margin_law",
    "optimal_alpha",
    "optimal_alpha_gamma",
    "risk",
    "simulate",
    "sweep",
    "symbolic",
    "trained_alpha",
    "worst_alpha",
]

if importlib.util.find_spec("sklearn") is None:  # an extra: `import *` is to work without it
    __all__ = [name for name in __all__ if _PUBLIC.get(name) != "estimation.estimators"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f"{__name__}.{_PUBLIC[name]}")
    value = getattr(home, name, home)  # a public module is its own home
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
