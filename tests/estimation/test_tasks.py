import re
import sys
from collections import Counter
from itertools import islice

import numpy as np
import pytest

from rmt_alpha.estimation import datasets, tasks
from rmt_alpha.estimation.datasets import LabelledData, load
from rmt_alpha.estimation.tasks import TransferTask, bundled_tasks, digit_tasks

COUNTS = {"unrelated": 45 * 28, "shared": 10 * 9 * 8, "shifted": 45 * 9}


def names(kind, **options):
    """Names of the tasks as they are enumerated, without the data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "load", lambda spec: LabelledData([[0.0]] * 4, [-1, -1, 1, 1], spec))
        return [task.name for task in digit_tasks(kind, **options)]


def parts(name):
    """The digits of source and target, and what follows them."""
    found = re.fullmatch(r"digits:(\d),(\d)(\S*) → digits:(\d),(\d)(\S*)", name)
    a, b, source, c, d, target = found.groups()
    return (int(a), int(b)), source, (int(c), int(d)), target


def keys(data, sign=None):
    return {row.tobytes() for row in (data.X if sign is None else data.X[data.y == sign])}


@pytest.mark.parametrize("kind", COUNTS)
def test_no_task_twice_nor_with_both_signs_flipped(kind):
    found = [parts(name) for name in names(kind)]
    assert len(found) == COUNTS[kind]
    flipped = [(source[::-1], one, target[::-1], other) for source, one, target, other in found]
    assert len({min(pair) for pair in zip(found, flipped, strict=True)}) == len(found)


def test_unrelated_tasks_have_four_digits_the_larger_one_positive():
    for source, one, target, other in map(parts, names("unrelated")):
        assert len({*source, *target}) == 4
        assert source == tuple(sorted(source))
        assert target == tuple(sorted(target))
        assert one == other == ""


def test_shared_tasks_have_one_digit_in_common_with_the_same_sign():
    for source, one, target, other in map(parts, names("shared")):
        assert source[0] == target[0]
        assert len({*source, *target}) == 3
        assert (one, other) == ("/1", "/2")


def test_shifted_tasks_have_the_same_pair_and_every_strength():
    found = Counter()
    for source, one, target, other in map(parts, names("shifted")):
        assert source == target
        assert one == "/1"
        assert other.startswith("/2+")
        found[other] += 1
    assert len(found) == 9
    assert set(found.values()) == {45}
    assert {"/2+noise=6", "/2+blur=1.5", "/2+rotation=30", "/2+rotation=15", "/2+noise=12"} <= set(found)


@pytest.mark.parametrize("kind", COUNTS)
def test_the_first_are_a_fair_sample(kind):
    every = names(kind)
    assert names(kind, count=37) == every[:37]
    assert names(kind, seed=0) == every
    other = names(kind, seed=1)
    assert other != every
    assert sorted(other) == sorted(every)
    # as if drawn without replacement: hypergeometric counts of the source's digits, of whose 10 one in 5 is in a pair
    size = 200
    counts = np.zeros(10)
    for name in every[:size]:
        counts[list(parts(name)[0])] += 1
    share = 0.2
    deviation = np.sqrt(size * share * (1 - share) * (1 - size / len(every)))
    assert np.abs(counts - size * share).max() < 4 * deviation


@pytest.mark.parametrize("kind", COUNTS)
def test_source_and_target_have_no_image_in_common(kind):
    for task in digit_tasks(kind, count=6):
        assert task.kind == kind
        assert task.name == f"{task.source.name} → {task.target.name}"
        images = keys(load(task.target.name.partition("+")[0]))
        assert len(images) == len(task.target.y)
        assert not keys(task.source) & images
        for data in (task.source, task.target):
            assert np.array_equal(data.X, load(data.name).X)
            assert 80 <= (data.y == 1).sum() <= 190
            assert 0.45 < (data.y == 1).mean() < 0.55


def test_bundled_tasks():
    found = list(bundled_tasks())
    assert Counter(task.kind for task in found) == {"cancer": 2, "wine": 6}
    assert len({task.name for task in found}) == 8
    for task in found:
        assert task.source.features == task.target.features
        assert not keys(task.source) & keys(task.target)
        assert min((data.y == sign).sum() for data in (task.source, task.target) for sign in (-1, 1)) >= 24
    for task in found[2:]:
        assert task.source.classes[0] == task.target.classes[0]
        assert task.source.classes[1] != task.target.classes[1]


def test_tasks_are_made_when_they_are_asked_for(monkeypatch):
    loaded = []
    monkeypatch.setattr(tasks, "load", lambda spec: loaded.append(spec) or load(spec))
    iterator = digit_tasks("shifted")
    assert not loaded
    list(islice(iterator, 3))
    assert len(loaded) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "similar"}, "kind must be 'unrelated', 'shared' or 'shifted', got 'similar'"),
        ({"kind": None}, "kind must be .*, got None"),
        ({"kind": ["shared"]}, "kind must be"),
        ({"kind": "shared", "count": 0}, "count must be an integer of at least 1, got 0"),
        ({"kind": "shared", "count": 2.5}, "count must be an integer"),
        ({"kind": "shared", "count": 721}, "count must be at most 720, the number of shared tasks, got 721"),
        ({"kind": "shared", "seed": -1}, "seed must be an integer of at least 0"),
    ],
)
def test_bad_input_is_refused_at_once(arguments, message):
    with pytest.raises(ValueError, match=message):
        digit_tasks(**arguments)


def test_task_refuses_what_does_not_fit():
    digits, wine = load("digits:3,5"), load("wine:0,1")
    with pytest.raises(ValueError, match="target must have the 64 features of source, got 13"):
        TransferTask("a", "b", digits, wine)
    with pytest.raises(ValueError, match="source must be LabelledData, got str"):
        TransferTask("a", "b", "digits:3,5", digits)


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    datasets._arrays.cache_clear()
    with pytest.raises(ValueError, match="need scikit-learn"):
        next(digit_tasks("shared"))
