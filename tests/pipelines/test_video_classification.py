import os
from dataclasses import replace

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from pipelines import video_classification
from pipelines.video_classification import VideoClassification, evenly_spaced
from tfseq import runtime
from tfseq.data import moving_digits
from tfseq.errors import DataError
from tfseq.training import SupervisedSettings

TINY = VideoClassification(
    frames=4,
    sizes=(40, 10, 20),
    filters=(4,),
    features=8,
    units=8,
    training=SupervisedSettings(epochs=2, batch=10),
    name="video",
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    before = os.getcwd()
    os.chdir(folder)
    try:
        video_classification.main(TINY)
    finally:
        os.chdir(before)
    return folder / "exported" / "video"


def test_the_file_takes_pixels_and_says_a_direction(exported):
    file = runtime.load(exported / "model.onnx")
    (frames,) = file.manifest.inputs
    assert (frames.dtype, frames.shape) == ("uint8", ("batch", "time", 16, 16, 1))
    clips = np.zeros((3, 7, 16, 16, 1), "uint8")  # more frames than it was trained on
    assert {answer.name for answer in file.classify(clips)} <= {"right", "down", "left", "up"}
    assert (exported / "clips.png").read_bytes()[1:4] == b"PNG"


def test_the_score_is_the_share_of_test_clips_that_the_file_has_right(exported):
    file = runtime.load(exported / "model.onnx")
    data = moving_digits(TINY.sizes, TINY.frames, TINY.directions)
    answers = [data.labels.index(answer.name) for answer in file.classify(data.test.inputs)]
    share = np.mean(answers == data.test.targets)
    assert file.manifest.provenance["data"]["test_accuracy"] == pytest.approx(share)
    assert f"truly {data.labels[data.test.targets[0]]}" in (exported / "card.md").read_text(encoding="utf-8")


def test_a_folder_of_clips_of_different_lengths_is_learned_from(tmp_path):
    for i, label in enumerate(("dark", "light")):
        (tmp_path / label).mkdir()
        for j in range(12):
            np.save(tmp_path / label / f"{j}.npy", np.full((3 + j, 6, 8, 3), 100 * i + j, "uint8"))
    clips = video_classification.load(replace(TINY, data=tmp_path))
    assert clips.labels == ("dark", "light")
    (batch, labels), *_ = clips.train(0)
    assert batch.shape == (10, 4, 6, 8, 3)
    np.testing.assert_array_equal(np.asarray(batch)[:, 0, 0, 0, 0] >= 100, labels)


def test_frames_are_taken_evenly():
    clips = [np.arange(n, dtype="uint8")[:, None, None, None] for n in (1, 4, 9)]
    assert evenly_spaced(clips, 4)[..., 0, 0, 0].tolist() == [[0, 0, 0, 0], [0, 1, 2, 3], [0, 3, 5, 8]]


def test_a_tenth_of_the_training_videos_of_tfds_validates(monkeypatch):
    def videos(first, count):
        numbers = tf.data.Dataset.range(first, first + count)
        return numbers.map(lambda i: (tf.fill((4, 6, 8, 3), tf.cast(i, tf.uint8)), i % 2))

    monkeypatch.setattr(
        video_classification, "clips_of_tfds", lambda name, frames, size: (videos(0, 25), videos(100, 5), ("a", "b"))
    )
    clips = video_classification.load(replace(TINY, tfds="ucf101"))
    train, validation, test = (
        sorted(int(clip[0, 0, 0, 0]) for batch, _ in part for clip in np.asarray(batch))
        for part in (clips.train, clips.validation, clips.test)
    )
    assert len(validation) == 3
    assert sorted(train + validation) == list(range(25))
    assert test == list(range(100, 105))


def test_what_can_not_be_learned_from_is_refused(tmp_path):
    with pytest.raises(DataError, match="give one"):
        video_classification.load(replace(TINY, data=tmp_path, tfds="ucf101"))
    with pytest.raises(DataError, match="2 sizes"):
        evenly_spaced([np.zeros((3, 4, 4, 1)), np.zeros((3, 5, 4, 1))], 2)
