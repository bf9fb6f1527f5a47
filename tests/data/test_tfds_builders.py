"""tensorflow-datasets builders of local files: the examples that are read back."""

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets")
pytest.importorskip("sklearn")
image = pytest.importorskip("PIL.Image")

from tfseq.data import CaptionsFile, FolderOfClips, PairsOfTexts
from tfseq.data.tfds_builders import read_captions
from tfseq.errors import DataError


def prepared(builder):
    builder.download_and_prepare()
    return {part: list(builder.as_dataset(split=part).as_numpy_iterator()) for part in ("train", "validation", "test")}


def test_pairs_of_files(tmp_path):
    (tmp_path / "a.txt").write_text("".join(f"one {i}\n" for i in range(20)))
    (tmp_path / "b.txt").write_text("".join(f"eins {i}\n" for i in range(20)))
    examples = prepared(PairsOfTexts(tmp_path / "a.txt", tmp_path / "b.txt", data_dir=tmp_path / "prepared"))
    assert {part: len(of) for part, of in examples.items()} == {"train": 16, "validation": 2, "test": 2}
    pairs = {(e["source"].decode(), e["target"].decode()) for of in examples.values() for e in of}
    assert pairs == {(f"one {i}", f"eins {i}") for i in range(20)}


def test_a_directory_of_pairs_and_a_change_of_its_files(tmp_path):
    files = tmp_path / "texts"
    files.mkdir()
    for stem in ("train", "val", "test"):
        (files / f"{stem}.de").write_text(f"ein {stem}\n")
        (files / f"{stem}.en").write_text(f"a {stem}\n")

    def builder():
        return PairsOfTexts(files, source="de", target="en", data_dir=tmp_path / "prepared")

    assert prepared(builder())["test"] == [{"source": b"ein test", "target": b"a test"}]
    (files / "test.en").write_text("another test\n")
    assert prepared(builder())["test"] == [{"source": b"ein test", "target": b"another test"}]


def test_a_folder_of_clips(tmp_path):
    for label in ("run", "walk"):
        (tmp_path / "clips" / label).mkdir(parents=True)
        for i in range(20):
            clip = np.arange(i % 3 + 1, dtype="uint8")[:, None, None, None] + np.full((1, 2, 3, 1), 10 * i, "uint8")
            np.save(tmp_path / "clips" / label / f"{i}.npy", clip)
    builder = FolderOfClips(tmp_path / "clips", data_dir=tmp_path / "prepared")
    examples = prepared(builder)
    assert builder.info.features["label"].names == ["run", "walk"]
    assert {part: len(of) for part, of in examples.items()} == {"train": 32, "validation": 4, "test": 4}
    clips = [(e["video"][:, 0, 0, 0].tolist(), int(e["label"])) for of in examples.values() for e in of]
    assert sorted(clips) == sorted(([10 * i + t for t in range(i % 3 + 1)], y) for i in range(20) for y in (0, 1))
    np.save(tmp_path / "clips" / "run" / "7.npy", np.zeros((1, 5, 5, 1), "uint8"))
    with pytest.raises(DataError, match=r"7.npy has frames of \(5, 5, 1\); expected \(2, 3, 1\)"):
        prepared(FolderOfClips(tmp_path / "clips", data_dir=tmp_path / "other"))


@pytest.fixture
def flickr(tmp_path):
    (tmp_path / "images").mkdir()
    for i in range(20):
        image.fromarray(np.full((3, 4, 3), 10 * i, "uint8")).save(tmp_path / "images" / f"{i}.png")
    (tmp_path / "captions.txt").write_text(
        "".join(f"{i}.png#{k}\tA dog , number {i}{'ab'[k]} .\n" for i in range(20) for k in (0, 1))
    )
    return tmp_path


def test_a_file_of_captions(flickr):
    examples = prepared(CaptionsFile(flickr / "captions.txt", flickr / "images", data_dir=flickr / "prepared"))
    assert {part: len(of) for part, of in examples.items()} == {"train": 16, "validation": 2, "test": 2}
    everything = [e for of in examples.values() for e in of]
    assert len({e["file"] for e in everything}) == 20
    for e in everything:
        i = int(e["file"].decode().removesuffix(".png"))
        assert (e["image"] == 10 * i).all()
        assert e["image"].shape == (3, 4, 3)
        assert [c.decode() for c in e["captions"]] == [f"A dog , number {i}a .", f"A dog , number {i}b ."]


def test_parts_of_captions_may_be_listed(flickr):
    parts = {"train": "0.png\n1.png\n", "validation": "2.png\n", "test": "19.png\n"}
    for part, names in parts.items():
        (flickr / part).write_text(names)
    listed = {part: flickr / part for part in parts}
    examples = prepared(CaptionsFile(flickr / "captions.txt", flickr / "images", listed, data_dir=flickr / "prepared"))
    assert {part: sorted(e["file"].decode() for e in of) for part, of in examples.items()} == {
        part: names.split() for part, names in parts.items()
    }
    (flickr / "test").write_text("99.png\n")
    with pytest.raises(DataError, match=r"1 pictures without a caption, such as 99.png"):
        CaptionsFile(flickr / "captions.txt", flickr / "images", listed, data_dir=flickr / "prepared")


def test_captions_with_commas(tmp_path):
    path = tmp_path / "captions.txt"
    path.write_text('image,caption\na.jpg,"One, two ."\na.jpg,Three .\nb.jpg,Four\n')
    assert read_captions(path) == {"a.jpg": ["One, two .", "Three ."], "b.jpg": ["Four"]}


def test_captions_of_another_form_and_missing_pictures_are_refused(flickr):
    (flickr / "images" / "3.png").unlink()
    with pytest.raises(DataError, match=r"lacks 1 pictures of captions.txt, such as 3.png"):
        CaptionsFile(flickr / "captions.txt", flickr / "images", data_dir=flickr / "prepared")
    (flickr / "bad.txt").write_text("a.jpg#0\tA dog\nb.jpg A cat\n")
    with pytest.raises(DataError, match=r"line 2: 'b.jpg A cat'; expected NAME.jpg#0"):
        read_captions(flickr / "bad.txt")
