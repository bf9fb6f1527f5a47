import os
import struct
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from pipelines import frame_classification
from pipelines.frame_classification import FrameClassification, in_chunks
from tfseq import runtime
from tfseq.training import SupervisedSettings

TINY = FrameClassification(
    frames=5,
    sizes=(40, 10, 20),
    filters=(4,),
    features=8,
    units=8,
    training=SupervisedSettings(epochs=2, batch=10),
    name="frames",
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    before = os.getcwd()
    os.chdir(folder)
    try:
        frame_classification.main(TINY)
    finally:
        os.chdir(before)
    return folder / "exported" / "frames"


@pytest.fixture(scope="module")
def data():
    return frame_classification.load(TINY)


@pytest.mark.parametrize("lengths", [(1,), (2,), (1, 4, 2), (5,)])
def test_frame_by_frame_or_in_chunks_the_answers_are_those_to_the_whole_clip(exported, data, lengths):
    whole = runtime.load(exported / "model.onnx").predict(data.test.inputs)
    assert whole.shape == (20, 5, 10)
    streamed = in_chunks(runtime.load(exported / "model.step.onnx"), data.test.inputs, lengths)
    np.testing.assert_allclose(streamed, whole, atol=1e-5)


def test_each_frame_is_named(exported, data):
    file = runtime.load(exported / "model.onnx")
    (frames,) = file.manifest.inputs
    assert (frames.dtype, frames.shape) == ("uint8", ("batch", "time", 12, 12, 1))
    (names,) = file.classify(data.test.inputs[:1])
    assert [answer.name for answer in names] == [str(i) for i in file.predict(data.test.inputs[:1])[0].argmax(-1)]
    card = (exported / "card.md").read_text(encoding="utf-8")
    assert "frame by frame: 100.00% of 100 answers are those to the whole clip" in card
    assert (exported / "clips.png").read_bytes()[1:4] == b"PNG"


def test_the_scores_are_those_of_the_file(exported, data):
    """Alone means that no frame knows of another: clips of one frame."""
    file = runtime.load(exported / "model.onnx")
    clips, digits = data.test
    scores = file.manifest.provenance["data"]
    assert scores["test_frames"] == pytest.approx((file.predict(clips).argmax(-1) == digits).mean(), abs=1e-4)
    alone = file.predict(clips.reshape(100, 1, 12, 12, 1)).argmax(-1).ravel()
    assert scores["test_frames_alone"] == pytest.approx((alone == digits.ravel()).mean(), abs=1e-4)


def test_clips_are_drawn_from_images_that_are_given(tmp_path):
    images = np.zeros((200, 9, 9), "uint8")
    images[:, 4, 4] = 200
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, 200, 9, 9) + images.tobytes())
    labels = np.arange(200, dtype="uint8") % 10
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, 200) + labels.tobytes())
    data = frame_classification.load(replace(TINY, data=tmp_path, shown=1.0))
    assert set(np.unique(data.train.inputs)) == {0, 200}
    assert (data.train.inputs > 0).sum() == 40 * 5  # one point in each frame
