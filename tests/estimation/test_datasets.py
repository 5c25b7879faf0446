import pickle
import sys
import zipfile

import numpy as np
import pytest

from rmt_alpha.estimation.datasets import LabelledData, Standardiser, load, split, within_classes
from rmt_alpha.estimation.plug_in import estimate_problem

LINES = ["a,b,label", "1,2,dog", "3,4,cat", "5,6.5,dog", "7,-8e1,cat"]


def write(folder, text, name="data.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def npy(shape):
    """Header of an array that claims this shape."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00v\x00" + text.encode()


class TestCsv:
    def test_header(self, tmp_path):
        data = load(write(tmp_path, "\n".join(LINES)))
        assert data.features == ("a", "b")
        assert data.classes == ("cat", "dog")
        assert data.X.tolist() == [[1, 2], [3, 4], [5, 6.5], [7, -80]]
        assert data.y.tolist() == [1, -1, 1, -1]
        assert data.X.dtype == data.y.dtype == np.float64

    def test_no_header_and_numeric_labels_sort_as_numbers(self, tmp_path):
        data = load(write(tmp_path, "1,2,10\n3,4,9\n5,6,10.0\n7,8,9\n"))
        assert data.features is None
        assert data.classes == ("9", "10")
        assert data.y.tolist() == [1, -1, 1, -1]

    @pytest.mark.parametrize("called", ["y", "Label", " Y "])
    def test_label_column_by_name(self, tmp_path, called):
        data = load(write(tmp_path, f"a,{called},b\n1,0,2\n3,1,4\n5,0,6\n7,1,8\n"))
        assert data.features == ("a", "b")
        assert data.X.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
        assert data.y.tolist() == [-1, 1, -1, 1]

    @pytest.mark.parametrize("separator", [";", "\t", ", "])
    def test_separators_quotes_blank_lines_and_byte_order_mark(self, tmp_path, separator):
        text = "\ufeff" + "\r\n\r\n".join(LINES).replace("dog", '"dog"').replace(",", separator) + "\r\n \r\n"
        data = load(write(tmp_path, text, "DATA.CSV"))
        assert data.features == ("a", "b")
        assert data.y.tolist() == [1, -1, 1, -1]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "is empty"),
            ("a,b,y\n", "needs exactly two distinct labels, found 0"),
            ("1\n2\n", "at least two columns"),
            ("a,y,label\n1,0,1\n", "has 2 label columns: y, label"),
            ("1,2,0\n3,1\n", "line 2 has 2 cells, the first line 3"),
            ("a,b,y\n1,2,0\n\n3,NA,1\n", "line 4, b: 'NA' is not a finite number"),
            ("1,2,0\n3,,1\n", "line 2, column 2: '' is not a finite number"),
            ("1,2,0\ninf,2,1\n", "line 2, column 1: 'inf' is not a finite number"),
            ("1,2,0\nnan,2,1\n", "line 2, column 1: 'nan' is not a finite number"),
            ("NA,2,0\n1,2,1\n", "line 1, column 1: 'NA'"),  # half a header is data
            ("nan,spam\n1,ham\n2,spam\n", "line 1, column 1: 'nan' is not a finite number"),
            ("1,2\ninf,nan\n", "line 2, column 1: 'inf' is not a finite number"),
            (",a,y\n0,5,1\n1,6,0\n", "line 1 begins with a blank cell: an index column?"),
            ("\n ,0,1\n0,5,1\n1,6,0\n", "line 2 begins with a blank cell: an index column?"),
            ("0,1,2\n5,6,8\n7,8,9\n", "found 3: 2, 8, 9; is the first line a header?"),
            ("0,1,2\n5,6,a\n7,8,b\n", "found 3: 2, a, b; is the first line a header?"),
            ("0,1,y\n5,6,4\n7,8,3\n", "found 3: 3, 4, y; is the first line a header?"),
            ("1,2,0\n3,4,\n", "line 2 has no label"),
            ("1,2,nan\n3,4,1\n", "line 1 has no label"),
            ("1,2,a\n3,4,a\n", "exactly two distinct labels, found 1: a"),
            ("1,2,a\n3,4,b\n5,6,c\n", "exactly two distinct labels, found 3: a, b, c"),
            ("1,2,.5\n" * 2 + "".join(f"1,2,{k}\n" for k in range(9)), "found 10: 0, 0.5, 1, 2, 3, ..."),
            ("1,2,a\n3,4,b\n5,6,b\n", "at least two rows of each label are needed, label a has 1"),
            ('1,2,a\n3,"4,b\n', "is not CSV"),
            ("1e200,2,a\n3,4,b\n5,6,b\n7,8,a\n", "X must be in"),
        ],
    )
    def test_malformed(self, tmp_path, text, message):
        path = write(tmp_path, text)
        with pytest.raises(ValueError, match=r"data\.csv: ") as error:
            load(path)
        assert message in str(error.value)

    def test_not_text(self, tmp_path):
        (tmp_path / "data.csv").write_bytes(b"\xff\xfe\x00\x80")
        with pytest.raises(ValueError, match=r"data\.csv: "):
            load(tmp_path / "data.csv")


class TestNpz:
    X = np.arange(12.0).reshape(6, 2)

    @pytest.mark.parametrize(
        ("labels", "classes", "y"),
        [
            ([3, 3, 7, 7, 3, 7], ("3", "7"), [-1, -1, 1, 1, -1, 1]),
            ([0.5, 0.5, -2, -2, 0.5, -2], ("-2", "0.5"), [1, 1, -1, -1, 1, -1]),
            ([True, True, False, False, True, True], ("False", "True"), [1, 1, -1, -1, 1, 1]),
            (["b", "b", "a", "a", "b", "a"], ("a", "b"), [1, 1, -1, -1, 1, -1]),
        ],
    )
    def test_labels(self, tmp_path, labels, classes, y):
        np.savez(tmp_path / "d.npz", X=self.X.astype(np.float32), y=labels, other=[1])
        data = load(str(tmp_path / "d.npz"))
        assert data.classes == classes
        assert data.y.tolist() == y
        assert np.array_equal(data.X, self.X)
        assert data.X.dtype == np.float64
        assert data.name.endswith("d.npz")

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"X": X}, "has no array 'y', only 'X'"),
            ({"y": [0, 1]}, "has no array 'X', only 'y'"),
            ({}, "has no array 'X', only nothing"),
            ({"X": X[0], "y": [0, 1]}, r"X must have shape (n, p) and y shape (n,), got (2,) and (2,)"),
            ({"X": X, "y": np.zeros((6, 1))}, "got (6, 2) and (6, 1)"),
            ({"X": X, "y": [0, 1, 0]}, "got (6, 2) and (3,)"),
            ({"X": X[:0], "y": []}, "exactly two distinct labels, found 0"),
            ({"X": X[:, :0], "y": [0, 1] * 3}, "at least one row and one column"),
            ({"X": X, "y": [0] * 6}, "exactly two distinct labels, found 1: 0"),
            ({"X": X, "y": [0, 1, 2] * 2}, "exactly two distinct labels, found 3: 0, 1, 2"),
            ({"X": X, "y": [0, 1, np.nan] * 2}, "labels must be finite"),
            ({"X": X, "y": [0, 1j] * 3}, "labels must be numbers or strings, got dtype complex128"),
            ({"X": X, "y": [0, 1, 1, 1, 1, 1]}, "label 0 has 1"),
            ({"X": np.where(X == 5, np.nan, X), "y": [0, 1] * 3}, "X must be finite, got nan at index (2, 1)"),
            ({"X": np.where(X == 5, -np.inf, X), "y": [0, 1] * 3}, "got -inf at index (2, 1)"),
            ({"X": X.astype(str), "y": [0, 1] * 3}, "X must be real numbers"),
            ({"X": X.astype(object), "y": [0, 1] * 3}, "array 'X' cannot be read (Object arrays"),
            ({"X": X, "y": np.array(list("ababab"), object)}, "array 'y' cannot be read (Object arrays"),
        ],
    )
    def test_malformed(self, tmp_path, arrays, message):
        np.savez(tmp_path / "d.npz", allow_pickle=True, **arrays)
        with pytest.raises(ValueError, match=r"d\.npz: ") as error:
            load(tmp_path / "d.npz")
        assert message in str(error.value)

    @pytest.mark.parametrize(
        ("member", "message"),
        [
            (b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (10**12, 5)}", ""),
            (npy("(1000000000000, 5)"), "shape (1000000000000, 5) would need"),
            (npy("(-1, 5)"), "shape (-1, 5)"),
            (npy("(3, 5"), ""),
            (npy("(3, 5)")[:40], ""),
            (npy("(3, 5)").replace(b"<f8", b"<q?"), ""),
            (npy("(3, 5)"), ""),  # and no data
            (npy("(3, 5)").replace(b"\x01\x00v", b"\x07\x00v"), ""),
            (pickle.dumps([1, 2]), "magic string"),
            (b"junk", "magic string"),
            (b"", ""),
        ],
    )
    @pytest.mark.parametrize("suffix", ["", ".npy"])
    def test_broken_member(self, tmp_path, member, message, suffix):
        np.savez(tmp_path / "d.npz", y=[0, 1])
        with zipfile.ZipFile(tmp_path / "d.npz", "a") as archive:
            archive.writestr("X" + suffix, member)
        with pytest.raises(ValueError, match=r"d\.npz: array 'X' cannot be read \(") as error:
            load(tmp_path / "d.npz")
        assert message in str(error.value)

    def test_damaged_directory(self, tmp_path):
        np.savez(tmp_path / "d.npz", X=self.X, y=[0, 1] * 3)
        content = (tmp_path / "d.npz").read_bytes()
        (tmp_path / "d.npz").write_bytes(content.replace(b"PK\x01\x02", b"PK\x09\x09"))
        with pytest.raises(ValueError, match=r"d\.npz: is a damaged \.npz archive"):
            load(tmp_path / "d.npz")

    @pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04rubbish"])
    def test_not_an_archive(self, tmp_path, content):
        (tmp_path / "d.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"d\.npz: is not an \.npz archive"):
            load(tmp_path / "d.npz")

    def test_damaged(self, tmp_path):
        np.savez_compressed(tmp_path / "d.npz", X=np.random.default_rng(0).random((50, 9)), y=[0, 1] * 25)
        content = bytearray((tmp_path / "d.npz").read_bytes())
        content[200:300] = bytes(100)
        (tmp_path / "d.npz").write_bytes(bytes(content))
        with pytest.raises(ValueError, match=r"d\.npz: array 'X' cannot be read"):
            load(tmp_path / "d.npz")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nowhere.npz", r"nowhere\.npz: no such file"),
        ("nowhere.csv", r"nowhere\.csv: no such file"),
        ("data.txt", r"data\.txt: unknown kind of data"),
        ("digits", "digits: unknown kind of data"),
        ("", "unknown kind of data"),
        ("digits:", "digits:: expected digits:A,B"),
        ("digits:6", "digits:6: expected digits:A,B"),
        ("digits:6,6", "digits:6,6: expected digits:A,B with two different digits"),
        ("digits:6,11", "expected digits:A,B"),
        ("digits:a,b", "expected digits:A,B"),
        ("digits:-1,2", "expected digits:A,B"),
        ("digits:1,2,3", "expected digits:A,B"),
    ],
)
def test_bad_spec(spec, message):
    with pytest.raises(ValueError, match=message):
        load(spec)


def test_folder(tmp_path):
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(ValueError, match=r"x\.csv: is not a file"):
        load(tmp_path / "x.csv")


def test_unreadable_file(tmp_path, monkeypatch):
    path = write(tmp_path, "\n".join(LINES))

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(ValueError, match=r"data\.csv: cannot be read \(Permission denied\)"):
        load(path)


def test_digits_order_gives_the_sign():
    forward, backward = load("digits:6,8"), load("digits:8,6")
    assert forward.X.shape == (355, 64)
    assert np.array_equal(forward.X, backward.X)
    assert np.array_equal(forward.y, -backward.y)
    assert forward.classes == ("6", "8")


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ValueError, match=r'digits:6,8: .*pip install "rmt_alpha\[data\]"'):
        load("digits:6,8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0], [1, -1]), "X must be a matrix"),
        (([[1.0]] * 4, [1, -1, 1]), r"y must have shape \(4,\)"),
        (([[1.0]] * 4, [0, 1, 0, 1]), r"y must hold the labels -1 and \+1, got 0"),
        (([[1.0]] * 3, [1, 1, -1]), "label -1 has 1"),
        (([[1.0]] * 4, [1, 1, -1, -1], "d", ("a", "b"), ("f", "g")), "features must name the 1 columns of X, got 2"),
    ],
)
def test_labelled_data_checks(arguments, message):
    with pytest.raises(ValueError, match=message):
        LabelledData(*arguments)


def test_labelled_data_are_read_only_copies():
    X, y = np.arange(8.0).reshape(4, 2), np.array([-1.0, -1.0, 1.0, 1.0])
    data = LabelledData(X, y)
    X[0, 0] = y[0] = 99.0
    assert data.X[0, 0] == 0.0
    assert data.y[0] == -1.0
    for array in (data.X, data.y):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5.0
    assert X.flags.writeable


# Splits.


def test_split_of_nothing():
    with pytest.raises(ValueError, match="no rows to split"):
        split(np.empty(0), 8, np.random.default_rng(0))


@pytest.mark.parametrize(("negative", "positive", "n"), [(30, 30, 20), (60, 20, 40), (11, 47, 29)])
def test_split_is_a_partition_in_proportion(negative, positive, n):
    y = np.random.default_rng(0).permutation(np.repeat([-1.0, 1.0], [negative, positive]))
    training, rest = split(y, n, np.random.default_rng(1))
    assert len(training) == n
    assert np.array_equal(np.sort(np.concatenate([training, rest])), np.arange(y.size))
    assert abs((y[training] == 1).sum() - n * positive / (negative + positive)) <= 0.5


def test_split_takes_every_row_equally_often():
    y = np.repeat([-1.0, 1.0], [12, 24])
    rng = np.random.default_rng(2)
    counts = np.zeros(36)
    for _ in range(2000):
        counts[split(y, 18, rng)[0]] += 1
    assert (np.abs(counts - 1000) < 5 * np.sqrt(500)).all()


@pytest.mark.parametrize(
    ("n", "message"),
    [
        (7, r"n=7 takes 3 of the 10 rows with label"),
        (17, r"n=17 takes 9 of the 10 rows with label -1"),
        (20, "n must give each label at least 4 rows for training and leave 2: n=20 takes 10 of the 10"),
        (0, "n must be an integer of at least 1"),
        (8.5, "n must be an integer"),
    ],
)
def test_split_refuses(n, message):
    with pytest.raises(ValueError, match=message):
        split(np.repeat([-1.0, 1.0], [10, 10]), n, np.random.default_rng(0))


# Standardising.


def two_domains(seed=0):
    rng = np.random.default_rng(seed)
    domains = []
    for n, shift in ((200, 3.0), (30, -5.0)):
        y = np.repeat([-1.0, 1.0], [n // 3, n - n // 3])
        X = shift + rng.standard_normal((n, 5)) * [1.0, 10.0, 0.01, 2.0, 5.0] + y[:, None] * [1.0, 2.0, 0.1, 0.0, -3.0]
        domains += [X, y]
    return domains


def within_variance(X, y):
    return sum(np.square(r).sum(axis=0) for r in within_classes(X, y)[1]) / (len(y) - 2)


def test_standardiser_centres_on_midpoints_and_equalises():
    source_X, source_y, X, y = two_domains()
    fit = Standardiser.fit(source_X, source_y, X, y)
    for Z, labels in ((fit.source(source_X), source_y), (fit.target(X), y)):
        np.testing.assert_allclose(Z[labels == 1].mean(axis=0), -Z[labels == -1].mean(axis=0), atol=1e-12)
        assert np.abs(Z.mean(axis=0)).max() > 0.1  # unequal classes: the plain mean is somewhere else
    pooled = 198 * within_variance(fit.source(source_X), source_y) + 28 * within_variance(fit.target(X), y)
    np.testing.assert_allclose(pooled, 226.0, rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9 + 0.1, -1 / 3])
def test_constant_features_become_exactly_zero(value):
    source_X, source_y, X, y = two_domains()
    source_X[:, 1] = X[:, 1] = value
    fit = Standardiser.fit(source_X, source_y, X, y)
    assert fit.scale[1] == 1.0
    assert not fit.source(source_X)[:, 1].any()
    assert not fit.target(X)[:, 1].any()


@pytest.mark.parametrize("where", ["source", "target"])
def test_feature_constant_in_one_domain_only(where):
    source_X, source_y, X, y = two_domains()
    (source_X if where == "source" else X)[:, 1] = 0.1
    fit = Standardiser.fit(source_X, source_y, X, y)
    variances = within_variance(fit.source(source_X), source_y)[1], within_variance(fit.target(X), y)[1]
    np.testing.assert_allclose(sorted(variances), [0.0, 1.0], rtol=1e-12)
    assert not (fit.source(source_X) if where == "source" else fit.target(X))[:, 1].any()


@pytest.mark.parametrize(("factor", "expected"), [(1e-9, 1.0), (0.02, 1.0), (50.0, None)])
def test_feature_nearly_constant_in_the_source(factor, expected):
    """No feature's variance exceeds what the F test lets pass, in either domain."""
    source_X, source_y, X, y = two_domains()
    source_X[:, 1] *= factor
    fit = Standardiser.fit(source_X, source_y, X, y)
    variances = within_variance(fit.source(source_X), source_y)[1], within_variance(fit.target(X), y)[1]
    assert max(variances) == pytest.approx(expected or 1.0, rel=1e-12)


def isotropic_m2(n, p, trials, noise="gaussian"):
    """m̂² of isotropic targets with m² = 1.44, standardised beside a source."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(trials):
        domains = []
        for rows in (300, n):
            y = np.resize([-1.0, 1.0], rows)
            z = rng.standard_normal((rows, p)) if noise == "gaussian" else rng.standard_t(6, (rows, p)) / np.sqrt(1.5)
            domains += [z + 1.2 * np.outer(y, np.arange(p) == 0), y]
        fit = Standardiser.fit(*domains)
        found.append(estimate_problem(fit.target(domains[2]), domains[3], np.ones(p)).m2_unbiased)
    return np.mean(found), np.std(found, ddof=1) / np.sqrt(trials)


@pytest.mark.parametrize(("n", "p"), [(10, 200), (20, 400)])
def test_scale_does_not_bias_m2_where_n_is_small(n, p):
    mean, stderr = isotropic_m2(n, p, 400)
    assert abs(mean - 1.44) < 4 * stderr


def test_scale_hardly_biases_m2_of_heavy_tails():
    mean, stderr = isotropic_m2(20, 400, 400, "student")
    assert abs(mean - 1.44) < 4 * stderr + 0.1


def test_that_test_has_power(monkeypatch):
    """The mean of the two domains' variances as scale, which this module once used."""

    def fit(source_X, source_y, X, y):
        variance = (within_variance(source_X, source_y) + within_variance(X, y)) / 2
        centres = [within_classes(*domain)[0].mean(axis=0) for domain in ((source_X, source_y), (X, y))]
        return Standardiser(*centres, np.sqrt(variance))

    monkeypatch.setattr(Standardiser, "fit", fit)
    mean, stderr = isotropic_m2(20, 400, 100)
    assert mean - 1.44 > 6 * stderr
