"""Image classification data: digits of scikit-learn, IDX files, and data sets of tensorflow-datasets."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from tfseq.data import load_images
from tfseq.errors import DataError

DATA = Path(os.environ.get("TFSEQ_TEST_DATA", "nowhere"))


def write_idx(path, values, magic=None):
    values = np.asarray(values, "uint8")
    header = struct.pack(f">{1 + values.ndim}I", magic or 0x800 + values.ndim, *values.shape)
    content = header + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def idx(tmp_path):
    """100 images of 2 x 3 whose pixels are their index, 50 of each of two classes."""
    pictures = np.arange(100)[:, None, None] * np.ones((1, 2, 3))
    write_idx(tmp_path / "t10k-images-idx3-ubyte.gz", pictures)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.arange(100) % 2)
    return tmp_path


def indices(part):
    return part.inputs[:, 0, 0, 0].tolist()


def test_the_default_is_scikit_learns_digits_as_pixels():
    data = load_images()
    assert [len(part) for part in (data.train, data.validation, data.test)] == [1257, 180, 360]
    assert (data.train.inputs.dtype, data.train.inputs.shape[1:], data.train.inputs.max()) == ("uint8", (8, 8, 1), 255)
    everything = np.concatenate([data.train.inputs, data.validation.inputs, data.test.inputs]).astype("int32")
    assert everything.sum() == np.round(load_digits().images * 255 / 16).sum()
    shares = [np.bincount(part.targets) / len(part) for part in (data.train, data.test)]
    np.testing.assert_allclose(*shares, atol=0.005)
    assert data.labels == tuple("0123456789")


def test_digits_are_split_the_same_way_every_time():
    np.testing.assert_array_equal(load_images().test.inputs, load_images().test.inputs)


def test_test_files_alone_are_split_as_scikit_learn_splits(idx):
    data = load_images(idx)
    rest, test = train_test_split(np.arange(100), test_size=15, stratify=np.arange(100) % 2, random_state=0)
    assert indices(data.test) == test.tolist()
    assert sorted(indices(data.train) + indices(data.validation)) == sorted(rest)
    assert data.train.inputs.shape == (76, 2, 3, 1)
    assert (data.train.targets == np.array(indices(data.train)) % 2).all()


def test_with_train_files_the_test_files_are_for_testing(idx):
    write_idx(idx / "train-images-idx3-ubyte", np.arange(100, 120)[:, None, None] * np.ones((1, 2, 3)))
    write_idx(idx / "train-labels-idx1-ubyte.gz", np.arange(20) % 2)
    data = load_images(idx)
    assert indices(data.test) == list(range(100))
    assert sorted(indices(data.train) + indices(data.validation)) == list(range(100, 120))
    assert len(data.validation) == 2


@pytest.mark.skipif(not (DATA / "mnist10k").is_dir(), reason="TFSEQ_TEST_DATA names no folder with mnist10k")
def test_mnists_test_files_give_8500_and_1500():
    data = load_images(DATA / "mnist10k")
    assert (len(data.train) + len(data.validation), len(data.test)) == (8500, 1500)
    assert data.test.inputs.shape[1:] == (28, 28, 1)


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_tfds_images_are_read(name):
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=400):
        data = load_images(tfds=name)
    assert data.train.inputs.shape[1:] == {"mnist": (28, 28, 1), "cifar10": (32, 32, 3)}[name]
    assert (len(data.train), len(data.validation), len(data.test)) == (360, 40, 400)
    assert len(data.labels) == 10
    assert data.source.startswith(f"tensorflow-datasets {name}/")


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="There is no directory"):
        load_images(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"There is no file .*the IDX file t10k-images-idx3-ubyte, plain or .gz"):
        load_images(tmp_path)
    with pytest.raises(DataError, match="give one of them"):
        load_images(tmp_path, tfds="mnist")


def test_damaged_files_are_refused(idx):
    labels = idx / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"has 107 bytes; its header announces \[100\] values, which need 108"):
        load_images(idx)
    write_idx(labels, np.zeros(99))
    with pytest.raises(DataError, match="100 images and 99 labels"):
        load_images(idx)
    write_idx(labels, np.zeros(100), magic=7)
    with pytest.raises(DataError, match="begins with the number 7; expected 2049"):
        load_images(idx)
    images = idx / "t10k-images-idx3-ubyte.gz"
    images.write_bytes(b"not gzip")
    with pytest.raises(DataError, match="not a gzip file"):
        load_images(idx)
