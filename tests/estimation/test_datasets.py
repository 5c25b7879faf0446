import pickle
import sys
import zipfile

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_wine

from rmt_alpha.estimation import datasets
from rmt_alpha.estimation.datasets import LabelledData, load, load_samples, match_labels

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

    @pytest.mark.parametrize(
        ("labels", "classes", "y"),
        [
            (["1000002", "1000001", "1000002", "1000001"], ("1000001", "1000002"), [1, -1, 1, -1]),
            (["10", "1.0", "1e1", "01"], ("1.0", "10"), [1, -1, 1, -1]),  # numbers are what they are worth
            (["v1.0", "v1", "v1", "v1.0"], ("v1", "v1.0"), [1, -1, -1, 1]),
        ],
    )
    def test_labels_are_called_what_the_file_calls_them(self, tmp_path, labels, classes, y):
        data = load(write(tmp_path, "".join(f"{k},{label}\n" for k, label in enumerate(labels))))
        assert data.classes == classes
        assert data.y.tolist() == y

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
            ("1,2,.5\n" * 2 + "".join(f"1,2,{k}\n" for k in range(9)), "found 10: 0, .5, 1, 2, 3, ..."),
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
            ([1234567.0, 1234567.0, 1e300, 1e300, 1234567.0, 1e300], ("1234567", "1e+300"), [-1, -1, 1, 1, -1, 1]),
            (np.float32([0.1, 0.1, 3, 3, 0.1, 3]), ("0.1", "3"), [-1, -1, 1, 1, -1, 1]),
            ([0.12345678, 0.12345679] * 3, ("0.12345678", "0.12345679"), [-1, 1] * 3),
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


class TestSamples:
    @pytest.mark.parametrize(
        ("text", "labels"),
        [
            ("a,b\n1,2\n3,4\n", None),
            ("b,a\n2,1\n4,3\n", None),
            ("id;b;a;when\nk;2;1;today\nl;4;3;\n", None),
            (",b,a\nk,2,1\nl,4,3\n", None),  # an index column is one more to ignore
            ("Label,b,id,a\nx,2,k,1\nx,4,l,3\n", ("x", "x")),
            ("a,b,y\n1,2,1.0\n3,4,01\n", ("1.0", "01")),
            ("a,b,kind\n1,2,x\n3,4,z\n", ("x", "z")),  # as `load` reads it
            ("1,2\n3,4\n", None),
            ("1,2,x\n3,4,z\n", ("x", "z")),
        ],
    )
    def test_csv(self, tmp_path, text, labels):
        data = load_samples(write(tmp_path, text), 2, ("a", "b"))
        assert data.X.tolist() == [[1, 2], [3, 4]]
        assert data.labels == labels
        assert data.features == ("a", "b")

    def test_csv_of_features_without_names(self, tmp_path):
        path = write(tmp_path, "u,label,v\n1,x,2\n")
        data = load_samples(path, 2)
        assert (data.X.tolist(), data.labels, data.features) == ([[1, 2]], ("x",), ("u", "v"))
        assert load_samples(write(tmp_path, "u,v\n1,2\n"), 2).labels is None
        assert load_samples(write(tmp_path, "1,0\n5,6\n"), 2, ("0", "1")).X.tolist() == [[6, 5]]  # numbers as names
        # a feature that is called like a label, and two that are called alike
        assert load_samples(write(tmp_path, "y,a\n1,2\n"), 2, ("a", "y")).X.tolist() == [[2, 1]]
        assert load_samples(write(tmp_path, "a,a\n1,2\n"), 2, ("a", "a")).X.tolist() == [[1, 2]]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a,c\n1,2\n", "the header must hold the head's features a, b, each once: it has 'b' 0 times"),
            ("b,b,a\n1,2,3\n", "it has 'b' 2 times"),
            ("a,b,y,label\n1,2,0,1\n", "has 2 label columns"),
            ("1,2,3,4\n", "a column for each of the head's 2 features, got 4"),
            ("1\n", "a column for each of the head's 2 features, got 1"),
            ("a,b\n", "at least one row"),
            ("a,b\n1,2\n3\n", "line 3 has 1 cells, the first line 2"),
            ("b,id,a\n1,k,2\n3,4,l\n", "line 3, a: 'l' is not a finite number"),
            ("a,b\n1,nan\n", "line 2, b: 'nan' is not a finite number"),
            ("a,b,y\n1,2,\n", "line 2 has no label"),
            ("", "is empty"),
        ],
    )
    def test_bad_csv(self, tmp_path, text, message):
        with pytest.raises(ValueError, match=r"data\.csv: ") as error:
            load_samples(write(tmp_path, text), 2, ("a", "b"))
        assert message in str(error.value)

    def test_two_features_of_one_name_need_their_order(self, tmp_path):
        with pytest.raises(ValueError, match="it has 'a' 1 times"):
            load_samples(write(tmp_path, "a,b\n1,2\n"), 3, ("a", "a", "b"))

    def test_npz_and_bundled(self, tmp_path):
        for labels, names in (([7.0, 0.5, 7.0], ("7", "0.5", "7")), (["a"] * 3, ("a",) * 3), (None, None)):
            np.savez(tmp_path / "d.npz", X=np.eye(3), **({} if labels is None else {"y": labels}))
            data = load_samples(tmp_path / "d.npz", 3)
            assert np.array_equal(data.X, np.eye(3))
            assert data.labels == names
        data, whole = load_samples("wine:1,0", 13), load("wine:1,0")
        assert np.array_equal(data.X, whole.X)
        assert data.labels == tuple(np.where(whole.y > 0, "0", "1"))
        assert data.features == whole.features

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"y": [1]}, "has no array 'X', only 'y'"),
            ({"X": np.zeros((0, 3))}, "X must be a matrix with at least one row"),
            ({"X": [[np.inf]]}, "X must be finite"),
            ({"X": np.eye(3), "y": [1, 2]}, r"y must have shape \(3,\)"),
            ({"X": np.eye(3), "y": [1, 2, np.nan]}, "labels must be finite"),
            ({"X": np.eye(3), "y": [1j, 2, 3]}, "labels must be numbers or strings"),
        ],
    )
    def test_bad_npz(self, tmp_path, arrays, message):
        np.savez(tmp_path / "d.npz", **arrays)
        with pytest.raises(ValueError, match=rf"d\.npz: {message}"):
            load_samples(tmp_path / "d.npz", 3)


@pytest.mark.parametrize(
    ("labels", "known", "places"),
    [
        (["b", "a", "c"], ["a", "b"], [1, 0, None]),
        (["1.0", "3", "x", "nan"], ["3", "01"], [1, 0, None, None]),
        (["1", "01", "1.0"], ["01", "1"], [1, 0, 0]),  # where both are known each is itself
        (["1.0"], ["1", "x"], [None]),
        (["a"], [], [None]),
    ],
)
def test_match_labels(labels, known, places):
    assert match_labels(labels, known) == places


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
        ("iris:0,1", "iris:0,1: unknown kind of data, expected .*digits:A,B.*wine:A,B.*cancer:small or cancer:large"),
        ("wine:0,3", "wine:0,3: expected wine:A,B with two different cultivars from 0 to 2"),
        ("wine:1,1", "wine:1,1: expected wine:A,B"),
        ("cancer:", "cancer:: expected cancer:small or cancer:large"),
        ("cancer:tiny/1", "expected cancer:small or cancer:large"),
        ("digits:3,5/", "expected /1 or /2, a half of the rows, got '/'"),
        ("digits:3,5/3+blur", "expected /1 or /2, a half of the rows, got '/3'"),
        ("digits:3,5+", r"expected a shift \+noise, \+blur, \+rotation, got '\+'"),
        ("digits:3,5+twist=3", r"got '\+twist'"),
        ("digits:3,5+blur+noise", r"got '\+blur\+noise'"),
        ("digits:3,5+rotation/1", r"got '\+rotation/1'"),
        ("digits:3,5+rotation=", "rotation must be a number of degrees, got ''"),
        ("digits:3,5+noise=loud", "noise must be a number of grey levels, got 'loud'"),
        ("digits:3,5+noise=-1", r"noise in grey levels must be in \[0, 16\], got -1"),
        ("digits:3,5+noise=17", r"noise in grey levels must be in \[0, 16\], got 17"),
        ("digits:3,5+blur=8.1", r"blur in pixels must be in \[0, 8\]"),
        ("digits:3,5+rotation=-181", r"rotation in degrees must be in \[-180, 180\], got -181"),
        ("digits:3,5+rotation=nan", r"rotation in degrees must be in \[-180, 180\], got nan"),
        ("wine:0,1+blur", "only images can be shifted, wine has none"),
        ("cancer:small/1+noise=2", "only images can be shifted, cancer has none"),
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


@pytest.mark.parametrize("spec", ["digits:6,8", "wine:0,1", "cancer:small"])
def test_bundled_without_scikit_learn(monkeypatch, spec):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    datasets._arrays.cache_clear()
    with pytest.raises(ValueError, match=rf'{spec}: .*pip install "rmt_alpha\[data\]"'):
        load(spec)


def test_bundled_sets_are_loaded_once(monkeypatch):
    load("wine:0,1")
    monkeypatch.setattr("sklearn.datasets.load_wine", None)
    assert load("wine:1,2").name == "wine:1,2"


def test_wine():
    X, cultivar = load_wine(return_X_y=True)
    data = load("wine:2,0")
    assert data.classes == ("2", "0")
    assert data.features[0] == "alcohol"
    assert np.array_equal(data.X, X[cultivar != 1])
    assert np.array_equal(data.y, np.where(cultivar[cultivar != 1] == 0, 1.0, -1.0))


def test_cancer_is_split_by_the_size_of_the_tumour():
    bunch = load_breast_cancer()
    area = bunch.data[:, list(bunch.feature_names).index("mean area")]
    areas = {}
    for size in ("small", "large"):
        data = load(f"cancer:{size}")
        assert data.classes == ("benign", "malignant")
        assert len(data.features) == 21
        assert not any(word in name for name in data.features for word in ("radius", "perimeter", "area"))
        columns = [list(bunch.feature_names).index(name) for name in data.features]
        rows = [int(np.flatnonzero((bunch.data[:, columns] == x).all(axis=1)).item()) for x in data.X]
        assert rows == sorted(rows)
        assert np.array_equal(data.y == 1, bunch.target_names[bunch.target[rows]] == "malignant")
        for sign in (-1, 1):
            areas[size, sign] = area[rows][data.y == sign]
    counts = {key: len(values) for key, values in areas.items()}
    assert counts == {("small", -1): 179, ("small", 1): 106, ("large", -1): 178, ("large", 1): 106}
    for sign in (-1, 1):
        assert areas["small", sign].max() < areas["large", sign].min()


# Halves and shifts.


def keys(data):
    return {row.tobytes() for row in data.X}


@pytest.mark.parametrize("spec", ["digits:3,5", "wine:2,1", "cancer:large"])
def test_halves_share_no_row_and_are_balanced(spec):
    whole, halves = load(spec), [load(f"{spec}/{k}") for k in (1, 2)]
    for sign in (-1, 1):
        rows = [half.X[half.y == sign] for half in halves]
        assert np.array_equal(rows[0], whole.X[whole.y == sign][::2])
        assert np.array_equal(rows[1], whole.X[whole.y == sign][1::2])
    assert not keys(halves[0]) & keys(halves[1])


def test_halves_of_pairs_with_a_common_class_share_no_row():
    source = keys(load("digits:5,3/1"))
    assert not source & keys(load("digits:3,8/2"))
    assert source & keys(load("digits:3,8/1"))
    assert source & keys(load("digits:3,8"))


@pytest.mark.parametrize("name", ["noise", "blur", "rotation"])
def test_shift_of_a_row_does_not_depend_on_the_other_rows(name):
    plain, shifted = load("digits:3,5"), load(f"digits:3,5+{name}")
    assert np.array_equal(plain.y, shifted.y)
    assert not keys(plain) & keys(shifted)
    threes = shifted.X[shifted.y == -1]
    for other, expected in ((f"digits:3,5/2+{name}", threes[1::2]), (f"digits:3,9+{name}", threes)):
        data = load(other)
        assert np.array_equal(data.X[data.y == -1], expected)
    assert np.array_equal(load(f"digits:3,5+{name}=0").X, plain.X)


@pytest.mark.parametrize(("name", "default"), [("noise", "6"), ("blur", "1.5"), ("rotation", "3e1")])
def test_default_strength(name, default):
    assert np.array_equal(load(f"digits:0,1+{name}").X, load(f"digits:0,1+{name}={default}").X)
    assert not np.array_equal(load(f"digits:0,1+{name}").X, load(f"digits:0,1+{name}=2").X)


def test_noise_is_white_and_has_the_stated_deviation():
    noise = load("digits:1,7+noise=2.5").X - load("digits:1,7").X
    assert abs(noise.mean()) < 4 * 2.5 / np.sqrt(noise.size)
    assert noise.std() == pytest.approx(2.5, rel=4 / np.sqrt(2 * noise.size))
    correlation = np.corrcoef(noise.T) - np.eye(64)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(noise))
    assert np.abs(np.corrcoef(noise)[np.triu_indices(len(noise), 1)]).max() < 6 / np.sqrt(64)


def test_blur_is_the_mean_over_a_gaussian_window():
    distance = np.subtract.outer(np.arange(8), np.arange(8))
    window = np.exp(-(np.arange(-50, 51) ** 2) / (2 * 0.9**2)).sum()
    G = np.exp(-(distance**2) / (2 * 0.9**2)) / window
    images = load("digits:4,2").X.reshape(-1, 8, 8)
    np.testing.assert_allclose(load("digits:4,2+blur=.9").X.reshape(-1, 8, 8), G @ images @ G, atol=0.01)


def test_rotation_is_counter_clockwise():
    images = load("digits:4,2").X.reshape(-1, 8, 8)
    turned = load("digits:4,2+rotation=90").X.reshape(-1, 8, 8)
    np.testing.assert_allclose(turned, np.rot90(images, axes=(1, 2)), atol=1e-9)
    slightly = load("digits:4,2+rotation=20").X.reshape(-1, 8, 8)
    assert slightly.min() >= 0.0
    assert slightly.max() <= 16.0


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
