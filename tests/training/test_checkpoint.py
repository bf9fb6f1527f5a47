"""Checkpoints: what is damaged, foreign or NaN is told apart, and what was good before stays."""

import contextlib
import json
import pickle
import resource
import warnings

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from tfseq.errors import TrainingError
from tfseq.runtime.atomic_write import atomic_write, remove_leftovers
from tfseq.training import checkpoint as checkpoints
from tfseq.training.checkpoint import load_checkpoint, load_newest, previous_of, save_checkpoint
from tfseq.training.precision import recorded_precision

SHAPES = [(5, 3), (), (4,), (2,)]
DTYPES = ["float32", "float32", "bfloat16", "uint32"]


def variables(seed):
    draw = np.random.RandomState(seed)
    values = [draw.randint(0, 100, shape).astype(float) for shape in SHAPES]
    return [keras.Variable(value, dtype=dtype) for value, dtype in zip(values, DTYPES)]


def values_of(some):
    return [np.asarray(keras.ops.cast(v, "float64")).tolist() for v in some]


OLD, NEW = variables(1), variables(2)
IDENTITY = {"data": "a"}


@pytest.fixture
def path(tmp_path):
    """Two checkpoints: the newest, and the one before it."""
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, OLD, {"identity": IDENTITY, "round": 1, "precision": "float32"}, keep_previous=True)
    save_checkpoint(path, NEW, {"identity": IDENTITY, "round": 2, "precision": "float32"}, keep_previous=True)
    return path


@contextlib.contextmanager
def files_of_at_most(size):
    """What a full disk does: nothing is written to a file beyond so many bytes."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def damaged(content, draw):
    """Cut off, overwritten, with bits flipped, or longer."""
    at, many = draw.randint(len(content)), 1 + draw.randint(40)
    match draw.randint(4):
        case 0:
            return content[:at]
        case 1:
            return content[:at] + bytes(draw.randint(0, 256, many).tolist()) + content[at + many :]
        case 2:
            return content[:at] + bytes([content[at] ^ (1 << draw.randint(8))]) + content[at + 1 :]
        case _:
            return content[:at] + b"\0" * many + content[at:]


@pytest.mark.parametrize("seed", range(5))
def test_a_damaged_checkpoint_gives_what_was_saved_or_the_one_before_it(seed, path):
    draw, content, before = np.random.RandomState(seed), path.read_bytes(), previous_of(path).read_bytes()
    fell_back = 0
    for _ in range(40):
        path.write_bytes(damaged(content, draw))
        previous_of(path).write_bytes(before)
        found = variables(3)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            record = load_newest(path, found, IDENTITY)
        assert values_of(found) == values_of(OLD if warned else NEW)
        assert record["round"] == (1 if warned else 2)
        fell_back += len(warned)
        if warned:
            assert path.read_bytes() == before  # it is the newest now
            assert not previous_of(path).exists()
            assert "goes on from the checkpoint before it" in str(warned[0].message)
    assert fell_back > 20


def test_a_checkpoint_that_is_missing_between_two_names_is_the_one_before(path):
    path.unlink()
    found = variables(3)
    with pytest.warns(checkpoints.CheckpointWarning, match="There is no checkpoint"):
        assert load_newest(path, found)["round"] == 1


def test_precision_is_read_from_the_checkpoint_before_a_damaged_one(path):
    path.write_bytes(b"PK damaged")
    assert recorded_precision(path) == "float32"
    assert recorded_precision(path.with_name("other.npz")) is None


class Runs:
    """An object whose pickle would run code when it is opened."""

    def __reduce__(self):
        return pytest.fail, ("code was run",)


def npz(**arrays):
    def write(path):
        with open(path, "wb") as file:
            np.savez(file, **arrays)

    return write


def _array(path):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))


def record_of(value):
    return np.array(json.dumps(value))


FOREIGN = {
    "pickle": (lambda path: path.write_bytes(pickle.dumps(Runs())), "is a pickle"),
    "pickled array": (npz(record=np.array([Runs()], object)), "holds Python objects"),
    "pickled weight": (npz(record=record_of({}), **{"0000": np.array([Runs()], object)}), "variables of another model"),
    "one array": (_array, "is a single NumPy array"),
    "hdf5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 99), "is an HDF5 file"),
    "arrays": (npz(weights=np.zeros(3), bias=np.ones(2)), "is an archive of weights.npy, bias.npy"),
    "text": (lambda path: path.write_text("weights: 3\n" * 20), "is another kind of file"),
    "numbers": (npz(record=np.zeros(3)), r"has a record of float64 values"),
    "list": (npz(record=record_of([1])), "has a record that is a list"),
    "no json": (npz(record=np.array("{")), "damaged"),
    "deep": (npz(record=np.array("[" * 100_000)), "damaged"),
    "empty": (lambda path: path.write_bytes(b""), r"damaged, .*\(it is empty\)"),
    "zeros": (lambda path: path.write_bytes(b"\0" * 5000), r"damaged, .*\(it is empty\)"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_other_files_are_told_from_damaged_checkpoints_and_none_is_run(kind, tmp_path):
    write, message = FOREIGN[kind]
    path = tmp_path / "checkpoint.npz"
    write(path)
    found = variables(3)
    with pytest.raises(TrainingError, match=message):
        load_newest(path, found)
    assert values_of(found) == values_of(variables(3))
    assert recorded_precision(path) is None


@pytest.mark.parametrize("seed", range(10))
def test_arrays_of_another_kind_change_nothing(seed, tmp_path):
    draw = np.random.RandomState(seed)
    kept = {
        f"{i:04d}": np.zeros(s, "float32" if d == "bfloat16" else d) for i, (s, d) in enumerate(zip(SHAPES, DTYPES))
    }
    name = draw.choice(list(kept))
    match draw.randint(4):
        case 0:
            kept[name] = kept[name].astype(draw.choice(["float64", "int8", "complex64", "U3", "float16"]))
        case 1:
            kept[name] = np.zeros((*kept[name].shape, 2), kept[name].dtype)
        case 2:
            del kept[name]
        case _:
            kept[str(draw.choice(["0009", "a", "../x"]))] = kept[name]
    npz(record=record_of({"identity": IDENTITY}), **kept)(tmp_path / "checkpoint.npz")
    found = variables(3)
    with pytest.raises(TrainingError, match=r"holds . variables of another model"):
        load_checkpoint(tmp_path / "checkpoint.npz", found, IDENTITY)
    assert values_of(found) == values_of(variables(3))


def test_weights_that_are_nan_are_neither_saved_nor_loaded(path):
    bad = variables(4)
    bad[0].assign(np.full((5, 3), np.nan))
    with pytest.raises(TrainingError, match="holds NaN: the training diverged"):
        save_checkpoint(path, bad, {}, keep_previous=True)
    assert load_checkpoint(path, variables(3))["round"] == 2
    values = {f"{i:04d}": np.asarray(keras.ops.cast(v, "float32" if i < 3 else "uint32")) for i, v in enumerate(bad)}
    npz(record=record_of({"round": 3}), **values)(path)
    found = variables(3)
    with pytest.warns(checkpoints.CheckpointWarning, match="holds NaN in .*goes on from the checkpoint before"):
        assert load_newest(path, found)["round"] == 1
    assert values_of(found) == values_of(OLD)


def test_a_full_disk_leaves_both_checkpoints_as_they_were(path):
    both = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    draw = np.random.RandomState(0)
    for size in [0, *draw.randint(1, len(both[path.name]) - 100, 20)]:
        with files_of_at_most(int(size)), pytest.raises(TrainingError, match=r"Can't write .*checkpoint.npz: File too"):
            save_checkpoint(path, variables(5), {"identity": IDENTITY, "round": 3, "precision": "float32"}, True)
        assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == both


def test_temporary_files_of_killed_writes_are_removed_and_nothing_else(tmp_path):
    kept = [".hidden", "checkpoint.npz", ".checkpoint.npz", "a.b", ".x.npz.12345678.npz", ".part-abcdefgh"]
    for name in kept:
        (tmp_path / name).touch()
    killed = [atomic_write(tmp_path / name) for name in ("checkpoint.npz", "learning_curve.png", "card")]
    for write in killed:
        write.__enter__()  # and never comes back
    assert len(list(tmp_path.iterdir())) == len(kept) + 3
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(kept)
