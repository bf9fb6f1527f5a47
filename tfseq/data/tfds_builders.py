"""tensorflow-datasets builders of local files: sentence pairs, folders of clips, captioned images.

    builder = FolderOfClips(path="clips", data_dir="prepared")
    builder.download_and_prepare()
    train = builder.as_dataset(split="train")

What is prepared is kept in `data_dir` under the builder's name and a hash of the files' names, sizes and times: a
builder of changed files prepares anew.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tfseq.data.dataset import DataSet, stratified_split
from tfseq.data.files import existing_directory, read_lines
from tfseq.data.translation_pairs import parallel_texts, text_pairs
from tfseq.data.video_clips import find_clips, read_clip
from tfseq.errors import DataError

_VERSION = tfds.core.Version("1.0.0")
_PARTS = ("train", "validation", "test")


class _LocalBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A builder that downloads nothing; subclasses say what is read (`features`) and yield it (`examples`)."""

    VERSION = _VERSION

    def __init__(self, files: Iterable[Path], **kwargs):
        described = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        config = hashlib.sha256(repr(described).encode()).hexdigest()[:16]
        super().__init__(config=tfds.core.BuilderConfig(name=config, version=_VERSION), **kwargs)

    @abstractmethod
    def features(self) -> dict[str, Any]:
        """Names and kinds of what an example has."""

    @abstractmethod
    def examples(self, part: str) -> Iterator[dict[str, Any]]:
        """The examples of "train", "validation" or "test"."""

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=str(type(self).__doc__).partition("\n")[0], features=tfds.features.FeaturesDict(self.features())
        )

    def _split_generators(self, dl_manager):
        return {part: self._generate_examples(part) for part in _PARTS}

    def _generate_examples(self, part: str):
        yield from enumerate(self.examples(part))


class PairsOfTexts(_LocalBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Sentences and their translations: examples with "source" and "target", both text.

    Args:
        path: a directory as `tfseq.data.translation_pairs.parallel_texts` reads it; or the file of sources.
        target_path: the file of targets, a line for each of the sources; None if `path` is a directory.
        source: how a directory's files of sources end.
        target: how its files of targets end.
        kwargs: tfds.core.DatasetBuilder's, such as data_dir.

    Raises:
        DataError: a file is missing or not UTF-8, or a pair of files differs in its number of lines.
    """

    def __init__(
        self, path: Path | str, target_path: Path | str | None = None, source: str = "en", target: str = "fr", **kwargs
    ):
        path = Path(path)
        if target_path is None:
            self._data: DataSet = parallel_texts(path, source, target)
            files = sorted(file for file in path.iterdir() if file.is_file())
        else:
            self._data = text_pairs(path, target_path)
            files = [path, Path(target_path)]
        super().__init__(files, **kwargs)

    def features(self):
        return {"source": tfds.features.Text(), "target": tfds.features.Text()}

    def examples(self, part):
        for source, target in zip(*getattr(self._data, part)):
            yield {"source": source, "target": target}


class FolderOfClips(_LocalBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Clips in a sub-folder per label: examples with "video" (time, height, width, channels) uint8 and "label".

    All clips have one height, width and number of channels; times may differ. A tenth tests, a tenth of the rest
    validates, with the same shares of each label.

    Args:
        path: with LABEL/CLIP.npy or LABEL/CLIP/FRAME.png (or .jpg).
        kwargs: tfds.core.DatasetBuilder's, such as data_dir.

    Raises:
        DataError: there are no clips, or one is damaged or of another size.
    """

    def __init__(self, path: Path | str, **kwargs):
        self._clips = find_clips(existing_directory(path, "a sub-folder of clips per label"))
        self._labels = sorted({label for _, label in self._clips})
        self._shape = read_clip(self._clips[0][0]).shape[1:]
        super().__init__((clip for clip, _ in self._clips), **kwargs)

    def features(self):
        video = tfds.features.Sequence(tfds.features.Tensor(shape=self._shape, dtype=np.uint8))
        return {"video": video, "label": tfds.features.ClassLabel(names=self._labels)}

    def examples(self, part):
        rest, test = stratified_split([self._labels.index(label) for _, label in self._clips], 0.1)
        labels = [self._labels.index(self._clips[row][1]) for row in rest]
        train, validation = (rest[rows] for rows in stratified_split(labels, 0.1))
        for row in {"train": train, "validation": validation, "test": test}[part]:
            path, label = self._clips[row]
            clip = read_clip(path)
            if clip.shape[1:] != self._shape:
                raise DataError(
                    f"{path} has frames of {clip.shape[1:]}; expected {self._shape}, as the first clip has."
                )
            yield {"video": clip, "label": label}


class CaptionsFile(_LocalBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Pictures with captions, in Flickr8k's format: examples with "image", "captions" (a list of text) and "file".

    Args:
        captions: a file with lines "NAME.jpg#0<tab>A caption ." or, below a line "image,caption", "NAME.jpg,A caption".
        images: the directory of the pictures.
        parts: files that list the names of the pictures of each part, one per line, by "train", "validation" and
            "test", as Flickr_8k.trainImages.txt does; a tenth tests and a tenth validates, in the order of the names'
            hashes, if not given.
        kwargs: tfds.core.DatasetBuilder's, such as data_dir.

    Raises:
        DataError: a file or picture is missing, or a line has another form.
    """

    def __init__(self, captions: Path | str, images: Path | str, parts: dict[str, Path | str] | None = None, **kwargs):
        captions = Path(captions)
        self._images = existing_directory(images, "the pictures that the captions name")
        self._captions = read_captions(captions)
        self._parts = self._listed(parts) if parts else self._drawn()
        missing = [name for names in self._parts.values() for name in names if not (self._images / name).exists()]
        if missing:
            raise DataError(f"{self._images} lacks {len(missing)} pictures of {captions.name}, such as {missing[0]}.")
        super().__init__([captions, *(Path(part) for part in (parts or {}).values())], **kwargs)

    def features(self):
        return {
            "image": tfds.features.Image(),
            "captions": tfds.features.Sequence(tfds.features.Text()),
            "file": tfds.features.Text(),
        }

    def examples(self, part):
        for name in self._parts[part]:
            yield {"image": self._images / name, "captions": self._captions[name], "file": name}

    def _listed(self, parts: dict[str, Path | str]) -> dict[str, list[str]]:
        if set(parts) != set(_PARTS):
            raise DataError(f"parts has {', '.join(sorted(parts))}; expected a file for each of {', '.join(_PARTS)}.")
        listed = {part: [name for name in read_lines(Path(parts[part])) if name] for part in _PARTS}
        unknown = [name for names in listed.values() for name in names if name not in self._captions]
        if unknown:
            raise DataError(f"The parts list {len(unknown)} pictures without a caption, such as {unknown[0]}.")
        return listed

    def _drawn(self) -> dict[str, list[str]]:
        names = sorted(self._captions, key=lambda name: hashlib.sha256(name.encode()).digest())
        tenth = max(len(names) // 10, 1)
        return {"train": names[2 * tenth :], "validation": names[tenth : 2 * tenth], "test": names[:tenth]}


def read_captions(path: Path | str) -> dict[str, list[str]]:
    """The captions of each picture of a file in Flickr8k's format, in the order of the file.

    Raises:
        DataError: the file can't be read, or a line of it has another form.
    """
    path = Path(path)
    lines = read_lines(path)
    with_commas = lines[0] == "image,caption"
    captions: dict[str, list[str]] = {}
    for number, line in enumerate(lines[with_commas:], 1 + with_commas):
        if not line:
            continue
        name, divider, caption = line.partition("," if with_commas else "\t")
        name, caption = name.partition("#")[0].strip(), caption.strip().strip('"').strip()
        if not (divider and name and caption):
            raise DataError(
                f"{path}, line {number}: {line[:60]!r}; expected NAME.jpg#0<tab>CAPTION, or, below a line "
                '"image,caption", NAME.jpg,CAPTION.'
            )
        captions.setdefault(name, []).append(caption)
    return captions
