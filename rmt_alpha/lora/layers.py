r"""Linear layers with frozen pre-trained weights and a small trained adapter, in NumPy.

Notation. The frozen layer is ``x ↦ W₀x + b`` with W₀ of shape (out, in). A (r, in) and B (out, r) are the low-rank
factors, s their scaling: ``lora_alpha/r``, or ``lora_alpha/√r`` where it is rank-stabilised. Vectors before a matrix
scale its rows. The layers compute ``y = Wx + b′`` with

    LoRALinear         W = W₀ + s BA                           b′ = b
    AlphaLoRALinear    W = diag(α) W₀ + s BA                   b′ = b, or α b        α a number or one for each row
    DoRALinear         W = diag(m/c) (W₀ + s BA)               b′ = b                c the row norms of W₀ + s BA

and with ``ia3`` a trained vector l scales what goes in, ``x ↦ layer(l x)``, or what comes out, ``x ↦ l layer(x)``;
at rank 0 that is IA³. All start as the frozen layer: B = 0, α = 1 unless given, m = the row norms of W₀, l = 1.

Gradients. With g the gradient at y, ``z = W₀x`` and ``u = Ax`` kept from the forward pass, sums over the batch:

    LoRA      ∂B = s Σ g uᵀ,       ∂A = s Σ (Bᵀg) xᵀ,      ∂x = W₀ᵀg + s AᵀBᵀg
    α-LoRA    W₀ᵀg becomes W₀ᵀ(α g);    ∂α = Σ g z  or  Σ g (z + b)
    DoRA      g becomes (m/c) g;  with v = z + s Bu:  ∂m = Σ g v / c,  ∂c = −(m/c²) Σ g v,
              and since ∂c/∂V = V/c row by row, V = W₀ + s BA:  ∂B += s diag(∂c/c) VAᵀ,  ∂A += s Bᵀ diag(∂c/c) V

(`detach_norm` drops the last line.) No matrix of the shape of W₀ is formed but by `merge` and `update`: an adapter of
rank r costs O(r (in + out)) a sample beside the frozen layer, and DoRA's norm O(r in out) a pass, since

    BA = PQᵀ  with  Aᵀ = QR,  P = BRᵀ,  QᵀQ = 1:
    VAᵀ = W₀Aᵀ + sPR,    c² = ‖W₀‖² + 2s Σ B ∘ (W₀Aᵀ) + s²‖P‖²,    ∂A += s (∂c/c B)ᵀW₀ + s² ((∂c/c B)ᵀP)Qᵀ,

norms row by row. The products AAᵀ and BᵀB would do as well, but squared: where rows of A are nearly the same and B is
large, they lose twice the digits. The sum for c² cancels where V ≪ W₀ and overflows where V is large, so that rows with
c < ‖W₀‖/10 or c² = inf are formed after all: then c is nearly as accurate as it is from V.

Where the arithmetic overflows, or DoRA divides by the norm of a row that has become 0, outputs and gradients are inf or
nan, without a warning. A network cannot pass them on: there it is a `ValueError`.

References: LoRA arXiv 2106.09685, rank-stabilised LoRA 2312.03732, DoRA 2402.09353, IA³ 2205.05638, α-LoRA 2510.21345.
"""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from rmt_alpha._random import Seed, seed_sequence, stream
from rmt_alpha._validation import FloatArray, boolean, check_memory, integer, lengths, real, real_array

Arrays = dict[str, FloatArray]
"""Arrays by name: parameters, their gradients, a state."""


class NonFiniteError(ValueError):
    """Numbers that a model or a loss has computed are not finite, although its inputs are."""


class Module:
    """What can be trained: arrays with names, a forward and a backward pass.

    `forward` keeps what the next `backward` needs, among it the inputs themselves and no copy: they may be changed
    after `backward` only. Copies and pickles leave it out. Gradients are of the scalar whose gradient at the output is
    given, summed over the batch.

    Parameters
    ----------
    trained : dict of str to ndarray, optional
        The trainable arrays, used as they are.
    fixed : dict of str to ndarray, optional
        Arrays that belong to the state and are not trained.
    """

    def __init__(self, trained: Arrays | None = None, fixed: Arrays | None = None) -> None:
        self._trained = trained or {}
        self._fixed = fixed or {}
        self._kept: dict[str, Any] = {}

    def forward(self, x: ArrayLike) -> FloatArray:
        """Return the outputs.

        Parameters
        ----------
        x : array_like, shape (..., in)
            Inputs, with any batch axes.

        Returns
        -------
        ndarray, shape (..., out)
            Outputs.

        Raises
        ------
        ValueError
            If the last axis does not fit, or an entry is not finite.
        """
        raise NotImplementedError

    def backward(self, grad_output: ArrayLike) -> tuple[Arrays, FloatArray]:
        """Return the gradients at the arguments of the last `forward`.

        Parameters
        ----------
        grad_output : array_like, shape (..., out)
            Gradient at the outputs, shaped as they are.

        Returns
        -------
        grads : dict of str to ndarray
            Gradients with the names and shapes of `parameters`.
        grad_input : ndarray, shape (..., in)
            Gradient at the inputs.

        Raises
        ------
        ValueError
            If the shape is not that of the last outputs.
        RuntimeError
            If there was no forward pass.
        """
        raise NotImplementedError

    def parameter_gradients(self, grad_output: ArrayLike) -> Arrays:
        """Return the first part of `backward` alone, which is all that a layer on data needs.

        Parameters
        ----------
        grad_output : array_like, shape (..., out)
            Gradient at the outputs, shaped as they are.

        Returns
        -------
        dict of str to ndarray
            Gradients with the names and shapes of `parameters`.

        Raises
        ------
        ValueError
            If the shape is not that of the last outputs.
        RuntimeError
            If there was no forward pass.
        """
        return self.backward(grad_output)[0]

    def parameters(self) -> Arrays:
        """Return the trainable arrays by name: the live ones, to be updated in place.

        Returns
        -------
        dict of str to ndarray
            A new dictionary of the arrays in use.
        """
        return dict(self._trained)

    def parameter_count(self) -> int:
        """Return how many numbers are trained.

        Returns
        -------
        int
            Total size of `parameters`.
        """
        return sum(array.size for array in self.parameters().values())

    def update_penalty(self) -> tuple[float, Arrays]:
        """Return the squared length of the additive update of the weights, with its gradients.

        Returns
        -------
        value : float
            ``‖s BA‖²`` (squared Frobenius norm), 0 where there is no such update.
        grads : dict of str to ndarray
            Its gradients, with the names of the parameters it depends on.
        """
        return 0.0, {}

    def state_dict(self) -> Arrays:
        """Return copies of all arrays that distinguish this from a newly built one: trained, or fixed by choice.

        Returns
        -------
        dict of str to ndarray
            For `load_state_dict`; frozen weights are not among them.
        """
        return {name: array.copy() for name, array in self._state().items()}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Copy a state into the arrays in use.

        Parameters
        ----------
        state : mapping of str to array_like
            What `state_dict` returned, here or from one built alike.

        Raises
        ------
        ValueError
            If a name is missing or unknown, a shape differs, or an entry is not finite; nothing is changed then.
        """
        own = self._state()
        if not isinstance(state, Mapping):
            raise ValueError(f"state must map names to arrays, got {type(state).__name__}")
        if state.keys() != own.keys():
            raise ValueError(f"state must have the names {sorted(own)}, got {sorted(state, key=str)}")
        new = {name: real_array(name, value) for name, value in state.items()}
        for name, array in own.items():
            if new[name].shape != array.shape:
                raise ValueError(f"{name} must have shape {array.shape}, got {new[name].shape}")
        for name, array in own.items():
            array[...] = new[name]

    def _state(self) -> Arrays:
        return self._trained | self._fixed

    def _adapters(self) -> tuple["LoRALinear", ...]:
        """Return the adapted layers, however deep."""
        return ()

    def _seen(self) -> dict[str, Any]:
        """Return what the last `forward` kept."""
        if not self._kept:
            raise RuntimeError("backward needs a forward pass before it")
        return self._kept

    def _forget(self) -> None:
        """Drop what the last `forward` kept."""
        self._kept = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": {}}


class LoRALinear(Module):
    """Low-rank adaptation of a frozen linear layer: ``y = W₀x + b + s B(Ax)``.

    Parameters
    ----------
    weight : array_like, shape (out, in)
        Pre-trained weights W₀: never modified, and not copied if they are float64, so leave them alone as well.
    bias : array_like, shape (out,), optional
        Pre-trained bias b, frozen as well.
    rank : int, default 8
        Rank r ≥ 0 of the update. With 0 there is none.
    lora_alpha : float, optional
        Positive numerator of the scaling s; `rank` by default.
    rank_stabilized : bool, default False
        Whether ``s = lora_alpha/√r`` (rsLoRA) and not ``lora_alpha/r``.
    ia3 : {None, "input", "output"}
        Whether a trained vector scales the entries of the input or of the output (the bias among them), as IA³ does.
    init : {"gaussian", "uniform"}
        Law of the initial A, B being 0: normal with standard deviation 1/r (a Gaussian is what the paper says, the
        width is PEFT's), or uniform between ±1/√in (what the paper's code and PEFT do unless told otherwise).
    seed : int, SeedSequence, Generator or None
        Seed of the initial A.

    Raises
    ------
    ValueError
        If a shape does not fit, an entry is not finite, or an option is outside its range.

    Examples
    --------
    >>> import numpy as np
    >>> layer = LoRALinear([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]], bias=[0.5, 0.0], rank=1, seed=0)
    >>> layer.forward([1.0, 1.0, 1.0])  # B = 0: the frozen layer
    array([3.5, 0. ])
    >>> layer.parameters()["lora_B"][:] = [[1.0], [-2.0]]
    >>> weight, bias = layer.merge()
    >>> bool(np.allclose(layer.unmerge().forward([1.0, 1.0, 1.0]), weight.sum(axis=1) + bias))
    True
    """

    def __init__(
        self,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        rank: int = 8,
        lora_alpha: float | None = None,
        rank_stabilized: bool = False,
        ia3: str | None = None,
        init: str = "gaussian",
        seed: Seed = None,
    ) -> None:
        super().__init__()
        W, b = _weight_and_bias(weight, bias)
        self.weight, self.bias = _frozen(W), None if b is None else _frozen(b)
        self.out_features, self.in_features = self.weight.shape
        self.rank = integer("rank", rank, low=0)
        check_memory("an adapter of this rank", 8 * self.rank * (self.out_features + self.in_features))
        self.lora_alpha = float(self.rank) if lora_alpha is None else real("lora_alpha", lora_alpha, 0.0, open_low=True)
        self.rank_stabilized = boolean("rank_stabilized", rank_stabilized)
        self.scaling = self.lora_alpha / (math.sqrt(self.rank) if rank_stabilized else self.rank) if self.rank else 0.0
        if ia3 not in (None, "input", "output"):
            raise ValueError(f"ia3 must be None, 'input' or 'output', got {ia3!r}")
        self.ia3 = ia3

        rng, shape = stream(seed_sequence(seed), 2), (self.rank, self.in_features)  # `train` has 0 and 1
        if init == "gaussian":
            self._A = rng.standard_normal(shape) / max(self.rank, 1)
        elif init == "uniform":
            self._A = rng.uniform(-1.0, 1.0, shape) / math.sqrt(self.in_features)
        else:
            raise ValueError(f"init must be 'gaussian' or 'uniform', got {init!r}")
        self._B = np.zeros((self.out_features, self.rank))
        if self.rank:
            self._trained |= {"lora_A": self._A, "lora_B": self._B}
        if ia3:
            self._scale = self._trained["ia3_l"] = np.ones(self.in_features if ia3 == "input" else self.out_features)
        self._disabled = False
        self._merged: tuple[FloatArray, FloatArray | None] | None = None

    # The pass, written for LoRA; what the other layers do differently is in `_join`, `_split` and `_dense`.

    def forward(self, x: ArrayLike) -> FloatArray:
        """Return the outputs.

        Parameters
        ----------
        x : array_like, shape (..., in)
            Inputs, with any batch axes.

        Returns
        -------
        ndarray, shape (..., out)
            Outputs: of the frozen layer while disabled, of the merged weights while merged.

        Raises
        ------
        ValueError
            If the last axis does not fit, or an entry is not finite.
        """
        inputs = _inputs(x, self.in_features)
        rows = inputs.reshape(-1, self.in_features)
        self._kept = {"x": rows, "batch": inputs.shape[:-1], "disabled": self._disabled, "merged": self.merged}
        with np.errstate(all="ignore"):
            outputs = self._plain(rows) if self._disabled or self._merged else self._adapted(rows)
        return outputs.reshape(*inputs.shape[:-1], self.out_features)

    def backward(self, grad_output: ArrayLike) -> tuple[Arrays, FloatArray]:
        """Return the gradients at the arguments of the last `forward`.

        Parameters
        ----------
        grad_output : array_like, shape (..., out)
            Gradient at the outputs, shaped as they are.

        Returns
        -------
        grads : dict of str to ndarray
            Gradients with the names and shapes of `parameters`; zeros if the layer was disabled.
        grad_input : ndarray, shape (..., in)
            Gradient at the inputs.

        Raises
        ------
        ValueError
            If the shape is not that of the last outputs, or an entry is not finite.
        RuntimeError
            If there was no forward pass, or the layer ran on merged weights in it.
        """
        grads, grad_input = self._backward(grad_output, to_inputs=True)
        return grads, grad_input.reshape(*self._kept["batch"], self.in_features)

    def parameter_gradients(self, grad_output: ArrayLike) -> Arrays:
        """Return the first part of `backward` alone; see `Module.parameter_gradients`."""
        return self._backward(grad_output, to_inputs=False)[0]

    def _backward(self, grad_output: ArrayLike, to_inputs: bool) -> tuple[Arrays, FloatArray]:
        kept = self._seen()
        if kept["merged"] and not kept["disabled"]:
            raise RuntimeError("a merged layer has no gradients: call unmerge() and forward() first")
        g = _gradient_at(grad_output, (*kept["batch"], self.out_features)).reshape(-1, self.out_features)
        with np.errstate(all="ignore"):
            if kept["disabled"]:
                grads = {name: np.zeros_like(array) for name, array in self._trained.items()}
                grad_input = g @ self.weight
            else:
                grads, grad_input = self._gradients(g, to_inputs or self.ia3 == "input")
        return {name: grads[name] for name in self._trained}, grad_input

    def _adapted(self, x: FloatArray) -> FloatArray:
        """Return the adapted layer's outputs, keeping z, u and y."""
        inputs = x * self._scale if self.ia3 == "input" else x
        z, u = inputs @ self.weight.T, inputs @ self._A.T
        y = self._join(z, self.scaling * (u @ self._B.T))
        self._kept |= {"z": z, "u": u, "y": y}
        return y * self._scale if self.ia3 == "output" else y

    def _gradients(self, g: FloatArray, to_inputs: bool) -> tuple[Arrays, FloatArray]:
        """Return the gradients of the adapted layer, from what `_adapted` kept; at the inputs only if asked for."""
        grads: Arrays = {}
        if self.ia3 == "output":
            grads["ia3_l"] = np.einsum("ij,ij->j", g, self._kept["y"])
            g = g * self._scale
        g_frozen, g_update = self._split(g, grads)
        x = self._kept["x"]
        inputs = x * self._scale if self.ia3 == "input" else x
        through = self.scaling * (g_update @ self._B)
        if self.rank:
            grads["lora_A"] = through.T @ inputs + grads.get("lora_A", 0.0)
            grads["lora_B"] = self.scaling * (g_update.T @ self._kept["u"]) + grads.get("lora_B", 0.0)
        if not to_inputs:
            return grads, np.empty(0)
        grad_input = g_frozen @ self.weight + through @ self._A
        if self.ia3 == "input":
            grads["ia3_l"] = np.einsum("ij,ij->j", grad_input, x)
            grad_input = grad_input * self._scale
        return grads, grad_input

    def _plain(self, x: FloatArray) -> FloatArray:
        """Return the outputs of the frozen layer, or of the merged one."""
        weight, bias = (self.weight, self.bias) if self._disabled or not self._merged else self._merged
        y = x @ weight.T
        return y if bias is None else y + bias

    def _join(self, frozen: FloatArray, update: FloatArray) -> FloatArray:
        """Return y from W₀x and sB(Ax)."""
        y = frozen + update
        return y if self.bias is None else y + self.bias

    def _split(self, g: FloatArray, grads: Arrays) -> tuple[FloatArray, FloatArray]:  # noqa: ARG002 - of its own
        """Return the gradients at W₀x and at sB(Ax); what `_join` has of its own parameters goes into `grads`."""
        return g, g

    def _dense(self) -> tuple[FloatArray, FloatArray | None]:
        """Return W and b′ without the vector of IA³."""
        return self.weight + self.update(), None if self.bias is None else self.bias.copy()

    def _adapters(self) -> tuple["LoRALinear", ...]:
        return (self,)

    def _basis(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return P, Q and R with Aᵀ = QR and BA = PQᵀ."""
        Q, R = np.linalg.qr(self._A.T)
        return self._B @ R.T, Q, R

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        for array in (self.weight, self.bias):  # copies and pickles forget that they are frozen
            if array is not None:
                array.flags.writeable = False

    # Adapter as a whole

    def update(self) -> FloatArray:
        """Return the additive update ``s BA``, as a matrix.

        Returns
        -------
        ndarray, shape (out, in)
            The low-rank update, without the scales that α-LoRA, DoRA and IA³ have beside it.
        """
        with np.errstate(all="ignore"):
            return self.scaling * (self._B @ self._A)

    def update_penalty(self) -> tuple[float, Arrays]:
        """Return the squared length of the update, with its gradients.

        Returns
        -------
        value : float
            ``‖s BA‖²`` (squared Frobenius norm).
        grads : dict of str to ndarray
            Its gradients with respect to ``lora_A`` and ``lora_B``; empty at rank 0.

        Notes
        -----
        With ``Aᵀ = QR`` it is ``s²‖BRᵀ‖²``, so that BA is not formed.
        """
        if not self.rank:
            return 0.0, {}
        with np.errstate(all="ignore"):
            s, (P, Q, R) = self.scaling, self._basis()
            P = s * P  # first, so that s² alone cannot overflow
            grads = {"lora_A": 2.0 * s * ((self._B.T @ P) @ Q.T), "lora_B": 2.0 * s * (P @ R)}
            return float(np.vdot(P, P)), grads

    @property
    def merged(self) -> bool:
        """Whether the layer runs on merged weights."""
        return self._merged is not None

    @property
    def disabled(self) -> bool:
        """Whether the layer runs as the frozen one."""
        return self._disabled

    def merge(self) -> tuple[FloatArray, FloatArray | None]:
        """Return one dense layer that does the same, and run on it until `unmerge`.

        Returns
        -------
        weight : ndarray, shape (out, in)
            W, with everything that was learned.
        bias : ndarray, shape (out,), or None
            b′.

        Notes
        -----
        W₀ and b stay as they are, so that `unmerge` is exact. Parameters that change in between count after it.
        """
        with np.errstate(all="ignore"):
            weight, bias = self._dense()
            if self.ia3 == "input":
                weight = weight * self._scale
            elif self.ia3 == "output":
                weight, bias = weight * self._scale[:, None], None if bias is None else bias * self._scale
        self._merged = weight, bias
        return weight.copy(), None if bias is None else bias.copy()

    def unmerge(self) -> Self:
        """Run on frozen weights and adapter again.

        Returns
        -------
        LoRALinear
            The layer itself.
        """
        self._merged = None
        return self

    def disable(self) -> AbstractContextManager[Any]:
        """Run as the frozen layer from now on.

        Returns
        -------
        contextlib.AbstractContextManager
            A context that puts the layer back: ``with layer.disable(): …``.
        """
        context = ExitStack()
        context.callback(setattr, self, "_disabled", self._disabled)
        self._disabled = True
        return context

    def enable(self) -> Self:
        """Undo `disable`.

        Returns
        -------
        LoRALinear
            The layer itself.
        """
        self._disabled = False
        return self

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Copy a state into the arrays in use.

        Parameters
        ----------
        state : mapping of str to array_like
            What `state_dict` returned, here or from one built alike.

        Raises
        ------
        ValueError
            If a name is missing or unknown, a shape differs, or an entry is not finite; nothing is changed then.
        RuntimeError
            If the layer is merged.
        """
        if self.merged:
            raise RuntimeError("a merged layer takes no state: call unmerge() first")
        super().load_state_dict(state)


class AlphaLoRALinear(LoRALinear):
    """LoRA on scaled pre-trained weights: ``y = α (W₀x) + b + s B(Ax)``.

    Parameters
    ----------
    weight : array_like, shape (out, in)
        Pre-trained weights W₀, as in `LoRALinear`.
    bias : array_like, shape (out,), optional
        Pre-trained bias b.
    alpha : float or array_like, shape (out,), default 1
        The initial α: a number, or one for each output (a row of W₀).
    train_alpha : bool, default True
        Whether α is among the `parameters`; if not it belongs to the state only.
    scale_bias : bool, default False
        Whether α scales b as well, as the code published with the paper does.
    rank, lora_alpha, rank_stabilized, ia3, init, seed
        As in `LoRALinear`.

    Raises
    ------
    ValueError
        If a shape does not fit, an entry is not finite, or an option is outside its range.

    Notes
    -----
    At rank 0, with one α for each row and `scale_bias`, this is IA³ on the output. It is the member of GLoRA with
    ``A = α − 1`` for each row and a low-rank B: `rmt_alpha.lora.interchange`.

    Examples
    --------
    >>> layer = AlphaLoRALinear([[1.0, 2.0], [0.0, 1.0]], bias=[0.5, 1.0], alpha=[2.0, 0.5], rank=1, seed=0)
    >>> layer.forward([1.0, 1.0])
    array([6.5, 1.5])
    >>> sorted(layer.parameters())
    ['alpha', 'lora_A', 'lora_B']
    """

    def __init__(
        self,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        alpha: ArrayLike = 1.0,
        train_alpha: bool = True,
        scale_bias: bool = False,
        rank: int = 8,
        lora_alpha: float | None = None,
        rank_stabilized: bool = False,
        ia3: str | None = None,
        init: str = "gaussian",
        seed: Seed = None,
    ) -> None:
        super().__init__(
            weight,
            bias,
            rank=rank,
            lora_alpha=lora_alpha,
            rank_stabilized=rank_stabilized,
            ia3=ia3,
            init=init,
            seed=seed,
        )
        self._alpha = real_array("alpha", alpha).copy()
        if self._alpha.shape not in ((), (self.out_features,)):
            raise ValueError(f"alpha must be a number or have shape ({self.out_features},), got {self._alpha.shape}")
        self.train_alpha, self.scale_bias = boolean("train_alpha", train_alpha), boolean("scale_bias", scale_bias)
        (self._trained if train_alpha else self._fixed)["alpha"] = self._alpha

    def _join(self, frozen: FloatArray, update: FloatArray) -> FloatArray:
        if self.bias is None:
            return self._alpha * frozen + update
        if self.scale_bias:
            return self._alpha * (frozen + self.bias) + update
        return self._alpha * frozen + update + self.bias

    def _split(self, g: FloatArray, grads: Arrays) -> tuple[FloatArray, FloatArray]:
        scaled = self._kept["z"]
        if self.bias is not None and self.scale_bias:
            scaled = scaled + self.bias
        rows = np.einsum("ij,ij->j", g, scaled)
        grads["alpha"] = rows if self._alpha.ndim else np.asarray(rows.sum())
        return self._alpha * g, g

    def _dense(self) -> tuple[FloatArray, FloatArray | None]:
        weight = self._alpha.reshape(-1, 1) * self.weight + self.update()
        if self.bias is None:
            return weight, None
        return weight, self._alpha * self.bias if self.scale_bias else self.bias.copy()


class DoRALinear(LoRALinear):
    """Weight-decomposed LoRA: direction by LoRA, length of each row by a trained vector m.

    Parameters
    ----------
    weight : array_like, shape (out, in)
        Pre-trained weights W₀, as in `LoRALinear`; the lengths of the rows must be between 1e-100 and 1e100.
    bias : array_like, shape (out,), optional
        Pre-trained bias b.
    detach_norm : bool, default False
        Whether the norm c counts as a constant in the gradients, which saves memory in large models; PEFT does that.
    rank, lora_alpha, rank_stabilized, ia3, init, seed
        As in `LoRALinear`.

    Raises
    ------
    ValueError
        If a shape does not fit, an entry is not finite, or a row's length or an option is outside its range.

    Notes
    -----
    A row of W₀ is what the paper calls a column, as its weights are (in, out).

    Examples
    --------
    >>> layer = DoRALinear([[3.0, 4.0], [0.0, 1.0]], rank=1, seed=0)
    >>> layer.parameters()["lora_magnitude_vector"]
    array([5., 1.])
    >>> layer.forward([1.0, 1.0])
    array([7., 1.])
    """

    def __init__(
        self,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        detach_norm: bool = False,
        rank: int = 8,
        lora_alpha: float | None = None,
        rank_stabilized: bool = False,
        ia3: str | None = None,
        init: str = "gaussian",
        seed: Seed = None,
    ) -> None:
        super().__init__(
            weight,
            bias,
            rank=rank,
            lora_alpha=lora_alpha,
            rank_stabilized=rank_stabilized,
            ia3=ia3,
            init=init,
            seed=seed,
        )
        self.detach_norm = boolean("detach_norm", detach_norm)
        self._magnitude = self._trained["lora_magnitude_vector"] = lengths(self.weight)
        if not ((self._magnitude >= 1e-100) & (self._magnitude <= 1e100)).all():
            row = int(np.argmax(np.abs(np.log10(np.maximum(self._magnitude, 1e-300)))))
            raise ValueError(
                f"weight must have rows of lengths between 1e-100 and 1e+100, got {self._magnitude[row]!r} in row {row}"
            )
        self._lengths2 = self._magnitude**2

    def _norm(self) -> tuple[FloatArray, Arrays]:
        """Return c, and what its gradients need."""
        (P, Q, R), frozen = self._basis(), self.weight @ self._A.T
        P = self.scaling * P
        cross, square = np.einsum("ij,ij->i", self._B, frozen), np.einsum("ij,ij->i", P, P)
        c2 = self._lengths2 + 2.0 * self.scaling * cross + square
        c = np.sqrt(np.maximum(c2, 0.0))
        doubtful = ~((c2 >= 0.01 * self._lengths2) & (c2 < np.inf))  # nan among them
        if doubtful.any():
            c[doubtful] = lengths(self.weight[doubtful] + self.scaling * (self._B[doubtful] @ self._A))
        return c, {"P": P, "Q": Q, "VA": frozen + P @ R}

    def _join(self, frozen: FloatArray, update: FloatArray) -> FloatArray:
        c, parts = self._norm()
        v = frozen + update
        self._kept |= {"c": c, "v": v, **parts}
        y = self._magnitude / c * v
        return y if self.bias is None else y + self.bias

    def _split(self, g: FloatArray, grads: Arrays) -> tuple[FloatArray, FloatArray]:
        c, length = self._kept["c"], self._magnitude / self._kept["c"]
        along = np.einsum("ij,ij->j", g, self._kept["v"])
        grads["lora_magnitude_vector"] = along / c
        if self.rank and not self.detach_norm:
            pull, size = (-self.scaling * length * (along / c))[:, None], c[:, None]  # s ∂c
            pulled = pull * (self._B / size)
            grads["lora_A"] = pulled.T @ self.weight + (pulled.T @ self._kept["P"]) @ self._kept["Q"].T
            grads["lora_B"] = pull * (self._kept["VA"] / size)
        scaled = length * g
        return scaled, scaled

    def _dense(self) -> tuple[FloatArray, FloatArray | None]:
        weight = (self._magnitude / self._norm()[0])[:, None] * (self.weight + self.update())
        return weight, None if self.bias is None else self.bias.copy()


def _frozen(array: FloatArray) -> FloatArray:
    """Return a view that cannot be written to."""
    view: FloatArray = array.view()
    view.flags.writeable = False
    return view


# Checks that all linear layers share.


def _weight_and_bias(weight: ArrayLike, bias: ArrayLike | None) -> tuple[FloatArray, FloatArray | None]:
    W = real_array("weight", weight)
    if W.ndim != 2 or W.size == 0:
        raise ValueError(f"weight must be a matrix of shape (out, in), got shape {W.shape}")
    if bias is None:
        return W, None
    b = real_array("bias", bias)
    if b.shape != W.shape[:1]:
        raise ValueError(f"bias must have shape {W.shape[:1]} to fit weight, got {b.shape}")
    return W, b


def _inputs(x: ArrayLike, width: int) -> FloatArray:
    inputs = real_array("x", x)
    if inputs.shape[-1:] != (width,):
        raise ValueError(f"x must have a last axis of length {width}, got shape {inputs.shape}")
    return inputs


def _gradient_at(grad_output: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    g = real_array("grad_output", grad_output)
    if g.shape != shape:
        raise ValueError(f"grad_output must have shape {shape}, got {g.shape}")
    return g
