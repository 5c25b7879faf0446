r"""Transfer tasks made of scikit-learn's bundled data, to study rules for α on.

A task is a source and a target with the same features. Every name says which data these are in the words of
`rmt_alpha.estimation.datasets.load`, so ``digits:3,5/1 → digits:3,8/2`` can be read back, one half at a time.

Pairs of digits make three kinds:

- *unrelated*: two pairs without a common digit, ``digits:0,4 → digits:3,5``; 45 · 28 tasks. The larger digit of each
  pair is +1, which means nothing: the source may as well point the wrong way.
- *shared*: one digit in common, which is -1 in both, ``digits:3,5/1 → digits:3,8/2``; 10 · 9 · 8 tasks.
- *shifted*: the same pair, the target's images being noisy, blurred or turned, ``digits:3,5/1 → digits:3,5/2+blur=3``.
  Three shifts at half, once and twice their default strength; 45 · 9 tasks.

No task comes twice, nor with the signs of source and target both flipped, which no rule could tell from the first.

No row is in both source and target, so that the source's head has seen none that it is tested on. Where classes are
common each side has one half of the rows of *all* its classes, not of the common one alone: so its labels stay
balanced, and n as small as 10 gives four rows or more to each. All tasks of digits draw on the same 1,797 images, so
they are not independent; an interval over tasks speaks of tasks made of these.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, permutations

from rmt_alpha._random import Seed, seed_sequence, stream
from rmt_alpha._validation import integer
from rmt_alpha.estimation.datasets import SHIFTS, LabelledData, load


@dataclass(frozen=True, eq=False)
class TransferTask:
    """A source and a target to transfer between.

    Parameters
    ----------
    name : str
        What tables call it.
    kind : str
        Of what sort it is, such as ``"shared"``: what results are averaged over.
    source, target : LabelledData
        The data, with the same features.

    Raises
    ------
    ValueError
        If the data are none, or differ in the number of their features.

    Examples
    --------
    >>> next(digit_tasks("shared")).target
    LabelledData(name='digits:7,8/2', classes=('7', '8'), features=None)
    """

    name: str
    kind: str
    source: LabelledData
    target: LabelledData

    def __post_init__(self) -> None:
        for role, data in (("source", self.source), ("target", self.target)):
            if not isinstance(data, LabelledData):
                raise ValueError(f"{role} must be LabelledData, got {type(data).__name__}")
        count, expected = self.target.X.shape[1], self.source.X.shape[1]
        if count != expected:
            raise ValueError(f"target must have the {expected} features of source, got {count}")


def digit_tasks(kind: str, count: int | None = None, *, seed: Seed = 0) -> Iterator[TransferTask]:
    """Make transfer tasks of pairs of digits, in an order in which the first few are a fair sample of all.

    Parameters
    ----------
    kind : {"unrelated", "shared", "shifted"}
        What source and target have in common, see the module.
    count : int, optional
        How many; all of them if None: 1260 unrelated, 720 shared, 405 shifted ones.
    seed : int, SeedSequence, Generator or None, default 0
        Of the order, a random permutation, alone: a task of some name has the same data with any seed. A larger
        `count` begins with the tasks of a smaller one.

    Returns
    -------
    iterator of TransferTask
        Each is made when it is asked for.

    Raises
    ------
    ValueError
        If an argument is outside its range, at once; if scikit-learn is missing, when the first task is asked for.

    Examples
    --------
    >>> for task in digit_tasks("shifted", 3):
    ...     print(task.name)
    digits:0,7/1 → digits:0,7/2+noise=6
    digits:1,6/1 → digits:1,6/2+noise=12
    digits:1,9/1 → digits:1,9/2+blur=0.75
    """
    if kind not in list(_DIGITS):  # a list, for what cannot be hashed
        *first, last = map(repr, _DIGITS)
        raise ValueError(f"kind must be {', '.join(first)} or {last}, got {kind!r}")
    pairs = _DIGITS[kind]
    count = len(pairs) if count is None else integer("count", count)
    if count > len(pairs):
        raise ValueError(f"count must be at most {len(pairs)}, the number of {kind} tasks, got {count}")
    order = stream(seed_sequence(seed)).permutation(len(pairs))
    return (_task(kind, *pairs[i]) for i in order[:count])


def bundled_tasks() -> Iterator[TransferTask]:
    """Make the tasks of the other bundled data: breast cancer, and pairs of wines with a cultivar in common.

    Returns
    -------
    iterator of TransferTask
        Two of kind ``"cancer"``, from small tumours to large ones and back, and six of kind ``"wine"``, in which the
        common cultivar is -1 in both source and target. Each is made when it is asked for.

    Raises
    ------
    ValueError
        If scikit-learn is missing, when the first task is asked for.

    Examples
    --------
    >>> for task in bundled_tasks():
    ...     print(task.name, len(task.source.y), len(task.target.y))
    cancer:small → cancer:large 285 284
    cancer:large → cancer:small 284 285
    wine:0,1/1 → wine:0,2/2 66 53
    wine:0,2/1 → wine:0,1/2 54 64
    wine:1,0/1 → wine:1,2/2 66 59
    wine:1,2/1 → wine:1,0/2 60 64
    wine:2,0/1 → wine:2,1/2 54 59
    wine:2,1/1 → wine:2,0/2 60 53
    """
    return (_task(kind, *pair) for kind, pairs in _OTHERS.items() for pair in pairs)


def _task(kind: str, source: str, target: str) -> TransferTask:
    return TransferTask(f"{source} → {target}", kind, load(source), load(target))


def _common_class(name: str, classes: int) -> list[tuple[str, str]]:
    """Return source and target for every class that they may have in common, and every other class of theirs."""
    return [(f"{name}:{c},{a}/1", f"{name}:{c},{b}/2") for c, a, b in permutations(range(classes), 3)]


_PAIRS = list(combinations(range(10), 2))
_DIGITS = {
    "unrelated": [
        (f"digits:{a},{b}", f"digits:{c},{d}") for a, b in _PAIRS for c, d in _PAIRS if len({a, b, c, d}) == 4
    ],
    "shared": _common_class("digits", 10),
    "shifted": [
        (f"digits:{a},{b}/1", f"digits:{a},{b}/2+{name}={factor * shift.default:g}")
        for a, b in _PAIRS
        for name, shift in SHIFTS.items()
        for factor in (0.5, 1.0, 2.0)
    ],
}
_OTHERS = {
    "cancer": [("cancer:small", "cancer:large"), ("cancer:large", "cancer:small")],
    "wine": _common_class("wine", 3),
}
