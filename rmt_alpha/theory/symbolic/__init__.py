r"""The theory that proves itself: every formula as a SymPy expression, its derivation, and its limits.

    from rmt_alpha.theory import symbolic

    symbolic.optimal_alpha()                     α* in η, κ, m, s, w⊥, t; also "oracle" and "ridge" sources
    symbolic.proofs.optimum()                    its derivation, carried out and shown
    symbolic.verify()                            all derivations
    symbolic.limit("accuracy", "gamma->oo")      closed forms of limits
    symbolic.to_callable(…), to_latex(…), to_javascript(…), to_text(…)

The expressions and their letters are in `rmt_alpha.theory.symbolic.expressions`, the derivations and what they take as
known in `rmt_alpha.theory.symbolic.proofs`, and in `rmt_alpha.theory.symbolic.chain_proofs` for the fluctuations.
"""

from rmt_alpha.theory.symbolic import expressions, limits, printing, proofs
from rmt_alpha.theory.symbolic.expressions import (
    Phi,
    above_one,
    accuracy,
    best_snr2,
    definitions,
    five_numbers,
    kappa,
    letters,
    margin_mean,
    margin_variance,
    optimal_alpha,
    risk,
    risk_optimal_alpha,
    spell_out,
    worst_alpha,
)
from rmt_alpha.theory.symbolic.limits import limit
from rmt_alpha.theory.symbolic.printing import to_callable, to_javascript, to_latex, to_text
from rmt_alpha.theory.symbolic.proofs import verify
from rmt_alpha.theory.symbolic.proving import Proof, ProofError

__all__ = [
    "Phi",
    "Proof",
    "ProofError",
    "above_one",
    "accuracy",
    "best_snr2",
    "definitions",
    "expressions",
    "five_numbers",
    "kappa",
    "letters",
    "limit",
    "limits",
    "margin_mean",
    "margin_variance",
    "optimal_alpha",
    "printing",
    "proofs",
    "risk",
    "risk_optimal_alpha",
    "spell_out",
    "to_callable",
    "to_javascript",
    "to_latex",
    "to_text",
    "verify",
    "worst_alpha",
]
