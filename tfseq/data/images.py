"""Image classification data: scikit-learn's digits, IDX files (MNIST's format), or a tensorflow-datasets data set."""

import struct
from pathlib import Path

import numpy as np

from tfseq.data.dataset import DataSet, Part, rows_of, split_by_class, stratified_split
from tfseq.data.files import existing_directory, read_bytes, sha256
from tfseq.data.optional_packages import import_package, package_version
from tfseq.data.tfds_sets import load_tfds
from tfseq.errors import DataError

SEED = 0
_IMAGES, _LABELS = 2051, 2049  # magic numbers: unsigned bytes in 3 dimensions, in 1


def load_images(path: Path | str | None = None, tfds: str | None = None) -> DataSet:
    """The images at `path`, or those that tensorflow-datasets calls `tfds`, or else scikit-learn's digits.

    Args:
        path: a directory with t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, plain or .gz. Beside files that begin
            with train-, those are the test part, as MNIST has it; alone, they are split with the same shares of each
            class: 15 % to test and a tenth of the rest to validate on.
        tfds: a data set of images of one size with labels and the splits train and test: "mnist", "cifar10".

    Returns:
        images (examples, height, width, channels) uint8 from 0 (black) to 255, and labels (examples,) int32.

    Raises:
        DataError: files are missing or damaged; the data set is unknown or has no such images; both were given.
    """
    if path is not None and tfds is not None:
        raise DataError(f"Both a directory ({path}) and a data set ({tfds}) were given; give one of them.")
    if tfds is not None:
        return _from_tfds(tfds)
    if path is not None:
        return _from_idx(existing_directory(path, "IDX files such as t10k-images-idx3-ubyte.gz"))
    return digits()


def digits() -> DataSet:
    """scikit-learn's 1,797 handwritten digits of 8 x 8: 1,257 to train, 180 to validate and 360 to test on.

    Raises:
        DataError: scikit-learn is not installed.
    """
    library = import_package(
        "sklearn.datasets", "scikit-learn", "The default images: scikit-learn's digits"
    ).load_digits()
    images = np.round(library.images * (255 / 16)).astype("uint8")[..., None]  # brightness is counted from 0 to 16
    labels = library.target.astype("int32")
    source = f"sklearn.datasets.load_digits of scikit-learn {package_version('scikit-learn')}"
    return _split("digits", images, labels, source, sha256([images.tobytes(), labels.tobytes()]), 180, 360)


def _from_idx(directory: Path) -> DataSet:
    test_images, test_labels, test_files = _idx_part(directory, "t10k")
    with_train = any(directory.glob("train-images-idx3-ubyte*"))
    if not with_train:
        digest = sha256(test_files)
        source = f"IDX files t10k-* in {directory.name}"
        return _split(directory.name, test_images, test_labels, source, digest, 0.1, 0.15)
    images, labels, files = _idx_part(directory, "train")
    train, validation = _train_and_validation(images, labels)
    return DataSet(
        directory.name,
        train,
        validation,
        Part(test_images, test_labels),
        f"IDX files in {directory.name}",
        sha256([*files, *test_files]),
        _names(labels),
    )


def _idx_part(directory: Path, prefix: str) -> tuple[np.ndarray, np.ndarray, list[bytes]]:
    images, image_file = _read_idx(directory, f"{prefix}-images-idx3-ubyte", _IMAGES)
    labels, label_file = _read_idx(directory, f"{prefix}-labels-idx1-ubyte", _LABELS)
    if len(images) != len(labels):
        raise DataError(
            f"{directory} has {len(images)} images and {len(labels)} labels in its {prefix}- files; expected one label "
            "per image. Download both files again."
        )
    return images[..., None], labels.astype("int32"), [image_file, label_file]


def _read_idx(directory: Path, name: str, magic: int) -> tuple[np.ndarray, bytes]:
    packed, plain = directory / f"{name}.gz", directory / name
    path = plain if plain.exists() else packed
    content = read_bytes(path, f"the IDX file {name}, plain or .gz")
    dimensions = magic % 256
    header = 4 * (1 + dimensions)
    arrived, *shape = struct.unpack(f">{1 + dimensions}I", content[:header].ljust(header, b"\0"))  # big-endian
    if arrived != magic:
        raise DataError(f"{path} begins with the number {arrived}; expected {magic}, as an IDX file {name} does.")
    if len(content) != header + int(np.prod(shape)):
        raise DataError(
            f"{path} has {len(content)} bytes; its header announces {shape} values, which need "
            f"{header + int(np.prod(shape))}. Download it again."
        )
    return np.frombuffer(content, "uint8", offset=header).reshape(shape), path.read_bytes()


def _from_tfds(name: str) -> DataSet:
    splits, info = load_tfds(name, ("train", "test"), ("image", "label"), "give a directory of IDX files")
    (images, labels), test = (_arrays(split, name) for split in splits)
    train, validation = _train_and_validation(images, labels)
    digest = sha256(array.tobytes() for array in (images, labels, *test))
    source = f"tensorflow-datasets {info.full_name}"
    return DataSet(name, train, validation, Part(*test), source, digest, tuple(info.features["label"].names))


def _arrays(split, name: str) -> tuple[np.ndarray, np.ndarray]:
    examples = list(split.as_numpy_iterator())
    shapes = {example["image"].shape for example in examples}
    if len(shapes) != 1:
        raise DataError(f"{name} has images of {len(shapes)} sizes, such as {sorted(shapes)[:2]}; expected one size.")
    return np.stack([e["image"] for e in examples]), np.array([e["label"] for e in examples], "int32")


def _train_and_validation(images: np.ndarray, labels: np.ndarray) -> tuple[Part, Part]:
    train, validation = (rows_of(images, labels, rows) for rows in stratified_split(labels, 0.1, SEED))
    return train, validation


def _split(name, images, labels, source, digest, validation, test) -> DataSet:
    parts = split_by_class(images, labels, validation, test, SEED)
    return DataSet(name, *parts, source, digest, _names(labels))


def _names(labels: np.ndarray) -> tuple[str, ...]:
    return tuple(str(label) for label in range(int(labels.max()) + 1))
