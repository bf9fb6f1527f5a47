"""Video classification data: synthetic clips of moving or changing digits, a folder, or tensorflow-datasets."""

from pathlib import Path
from typing import Any, Literal

import numpy as np

from tfseq.data.dataset import DataSet, Part, split_by_class
from tfseq.data.files import existing_directory, sha256
from tfseq.data.images import digits
from tfseq.data.optional_packages import import_package
from tfseq.data.tfds_sets import load_tfds
from tfseq.errors import DataError

SIZES = (2_000, 300, 500)  # clips to train, to validate and to test on
DIRECTIONS = {
    "right": (0, 1),
    "down": (1, 0),
    "left": (0, -1),
    "up": (-1, 0),
    "down right": (1, 1),
    "down left": (1, -1),
    "up left": (-1, -1),
    "up right": (-1, 1),
}  # rows, columns per frame
_PICTURES = (".png", ".jpg", ".jpeg")


def moving_digits(
    sizes: tuple[int, int, int] = SIZES,
    frames: int | tuple[int, int] = 10,
    directions: Literal[4, 8] = 4,
    canvas: int = 16,
    images: DataSet | None = None,
    seed: int = 0,
) -> DataSet:
    """Where does it go: a digit drifts one pixel per frame over a canvas whose opposite edges are joined.

    As the digit begins anywhere and comes in again on the other side, no single frame tells the direction: it takes
    memory. The digits of the test part are images that the other parts do not have.

    Args:
        sizes: clips to train, to validate and to test on.
        frames: per clip; or the shortest and the longest length, between which lengths are drawn.
        directions: 4, or 8 with the diagonals.
        canvas: height and width in pixels.
        images: which digits; those of scikit-learn, 8 x 8, if not given.
        seed: of the draws.

    Returns:
        inputs (clips, frames, canvas, canvas, 1) uint8, a list of (time, canvas, canvas, 1) if lengths differ; targets
        (clips,) int32, which count `labels`.

    Raises:
        DataError: an argument is out of range; scikit-learn is not installed.
    """
    if directions not in (4, 8):
        raise DataError(f"directions is {directions}; expected 4 or 8.")
    names = tuple(DIRECTIONS)[:directions]

    def clip(pictures, _, length, draw):
        picture = pictures[draw.randint(len(pictures))]
        goes_to = draw.randint(directions)
        begin = draw.randint(canvas, size=2)
        steps = np.arange(length)[:, None] * DIRECTIONS[names[goes_to]]  # (time, 2)
        return np.stack([_placed(picture, canvas, place) for place in begin + steps]), goes_to

    what = f"moving digits, {directions} directions, seed {seed}"
    return _rendered("moving_digits", what, clip, sizes, frames, canvas, images, seed, names)


def changing_digits(
    sizes: tuple[int, int, int] = SIZES,
    frames: int | tuple[int, int] = 10,
    shown: float = 0.5,
    canvas: int = 12,
    images: DataSet | None = None,
    seed: int = 0,
) -> DataSet:
    """Which digit is in each frame: one digit stands for 2 to 5 frames, then another comes, somewhere else.

    Only a share of the pixels is shown in each frame, others each time, so that what was before helps. The digits of
    the test part are images that the other parts do not have.

    Args:
        sizes: clips to train, to validate and to test on.
        frames: per clip; or the shortest and the longest length, between which lengths are drawn.
        shown: share of the pixels that are not black, above 0; 1 hides nothing.
        canvas: height and width in pixels.
        images: which digits; those of scikit-learn, 8 x 8, if not given.
        seed: of the draws.

    Returns:
        inputs as `moving_digits` has them; targets (clips, frames) int32, or a list of (time,).

    Raises:
        DataError: an argument is out of range; scikit-learn is not installed.
    """
    if not 0 < shown <= 1:
        raise DataError(f"shown is {shown}; expected a share above 0, at most 1.")

    def clip(pictures, labels, length, draw):
        stands: list[np.ndarray] = []
        answers: list[int] = []
        while len(answers) < length:
            row, stay = draw.randint(len(pictures)), draw.randint(2, 6)
            place = draw.randint(1 + canvas - np.array(pictures.shape[1:3]))  # all of it on the canvas
            stands += [_placed(pictures[row], canvas, place)] * stay
            answers += [labels[row]] * stay
        whole = np.stack(stands[:length])
        return whole * (draw.rand(*whole.shape) < shown).astype("uint8"), np.array(answers[:length], "int32")

    what = f"changing digits, {shown:g} of the pixels shown, seed {seed}"
    return _rendered("changing_digits", what, clip, sizes, frames, canvas, images, seed)


def load_clips(path: Path | str) -> DataSet:
    """A folder of clips with a sub-folder per label: LABEL/CLIP.npy, or LABEL/CLIP/FRAME.png (or .jpg), by name.

    A .npy file is (time, height, width, channels) or (time, height, width), uint8. A tenth of the clips tests, a tenth
    of the rest validates, with the same shares of each label.

    Returns:
        inputs: a list of (time, height, width, channels) uint8; targets (clips,) int32.

    Raises:
        DataError: there are no such files; one is damaged or of another shape.
    """
    directory = existing_directory(path, "a sub-folder of clips per label")
    found = find_clips(directory)
    labels = tuple(sorted({label for _, label in found}))
    clips = [read_clip(clip) for clip, _ in found]
    targets = np.array([labels.index(label) for _, label in found], "int32")
    parts = split_by_class(clips, targets, 0.1, 0.1)
    source = f"folder {directory.name} with {len(clips)} clips"
    return DataSet(directory.name, *parts, source, sha256(clip.tobytes() for clip in clips), labels)


def clips_of_tfds(name: str, frames: int = 16, size: tuple[int, int] = (64, 64)) -> tuple[Any, Any, tuple[str, ...]]:
    """Videos of tensorflow-datasets, such as "ucf101": `frames` frames of each, evenly spaced, scaled to `size`.

    Args:
        name: of a data set with a "video" and a "label" and the splits train and test.
        frames: per clip.
        size: height and width in pixels.

    Returns:
        the train and test splits as tf.data.Dataset of (clip (frames, height, width, channels) uint8, label () int64),
        for videos are too many for memory, and the names of the labels.

    Raises:
        DataError: the data set is unknown, can't be downloaded or has no videos.
    """
    splits, info = load_tfds(name, ("train", "test"), ("video", "label"), "give a folder of clips")
    import tensorflow as tf

    def clip(example):
        video = example["video"]  # (time, height, width, channels) uint8
        last = tf.cast(tf.shape(video)[0] - 1, tf.float32)
        chosen = tf.gather(video, tf.cast(tf.round(tf.linspace(0.0, last, frames)), tf.int32))
        scaled = tf.cast(tf.round(tf.image.resize(chosen, size, antialias=True)), tf.uint8)
        return tf.ensure_shape(scaled, (frames, *size, video.shape[-1])), example["label"]

    train, test = (split.map(clip, num_parallel_calls=tf.data.AUTOTUNE) for split in splits)
    return train, test, tuple(info.features["label"].names)


def find_clips(directory: Path) -> list[tuple[Path, str]]:
    """The clips of a folder, with the name of the sub-folder each is in, in the order of their names.

    Raises:
        DataError: there are none.
    """
    found = [
        (clip, label.name)
        for label in sorted(directory.iterdir())
        if label.is_dir()
        for clip in sorted(label.iterdir())
        if clip.suffix == ".npy" or (clip.is_dir() and _frames_of(clip))
    ]
    if not found:
        raise DataError(
            f"{directory} has no clips; expected LABEL/CLIP.npy, or LABEL/CLIP/FRAME.png (or .jpg) for each frame."
        )
    return found


def read_clip(path: Path) -> np.ndarray:
    """A clip, (time, height, width, channels) uint8, from a .npy file or a folder of pictures of one size.

    Raises:
        DataError: a file is damaged, or the shape or type is another.
    """
    try:
        clip = np.load(path, allow_pickle=False) if path.suffix == ".npy" else _pictures(path)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is not a clip that can be read: {error}.") from error
    clip = clip[..., None] if clip.ndim == 3 else clip
    if clip.ndim != 4 or clip.dtype != np.uint8 or not clip.size:
        raise DataError(
            f"{path} is {clip.dtype} of shape {clip.shape}; expected uint8 of (time, height, width, channels)."
        )
    return clip


def _pictures(folder: Path) -> np.ndarray:
    image = import_package("PIL.Image", "pillow", "Reading pictures")
    return np.stack([np.asarray(image.open(frame)) for frame in _frames_of(folder)])


def _frames_of(folder: Path) -> list[Path]:
    return sorted(frame for frame in folder.iterdir() if frame.suffix.lower() in _PICTURES)


def _placed(picture: np.ndarray, canvas: int, place: np.ndarray) -> np.ndarray:
    """The picture (height, width, 1) on a black canvas, its upper left corner at `place`, joined at the edges."""
    empty = np.zeros((canvas, canvas, 1), "uint8")
    empty[: picture.shape[0], : picture.shape[1]] = picture
    return np.roll(empty, tuple(int(p) for p in place), axis=(0, 1))


def _rendered(name, what, clip, sizes, frames, canvas, images, seed, labels=None) -> DataSet:
    images = images or digits()
    shortest, longest = (frames, frames) if isinstance(frames, int) else frames
    height, width, channels = images.train.inputs.shape[1:]
    if channels != 1 or canvas < max(height, width) + 1:
        raise DataError(
            f"canvas is {canvas} and digits are {height} x {width} x {channels}; expected a canvas larger than a "
            "digit, and one channel."
        )
    if not 1 <= shortest <= longest or len(sizes) != 3 or min(sizes) < 1:
        raise DataError(f"frames is {frames} and sizes are {sizes}; expected at least 1 of each, and three sizes.")
    parts = []
    for number, (size, part) in enumerate(zip(sizes, (images.train, images.validation, images.test))):
        draw = np.random.RandomState([seed, number])
        drawn = [clip(*part, draw.randint(shortest, longest + 1), draw) for _ in range(size)]
        parts.append(_part([c for c, _ in drawn], [t for _, t in drawn], shortest == longest))
    digest = sha256(np.ascontiguousarray(clip).tobytes() for part in parts for clip in part.inputs)
    source = f"{what}, rendered from {images.source}"
    return DataSet(name, parts[0], parts[1], parts[2], source, digest, images.labels if labels is None else labels)


def _part(clips: list, answers: list, equal_lengths: bool) -> Part:
    per_frame = np.ndim(answers[0]) > 0
    targets = answers if per_frame and not equal_lengths else np.array(answers, "int32")
    return Part(np.stack(clips) if equal_lengths else clips, targets)
