import os
import struct
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("sklearn")

from pipelines import glimpses
from pipelines.parts.image_batches import Distortion
from tfseq import runtime
from tfseq.training import SupervisedSettings


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Learned from 120 bright or dark images of 7 x 9 in MNIST's format."""
    folder = tmp_path_factory.mktemp("pipeline")
    labels = np.arange(120) % 2
    images = (np.random.default_rng(0).integers(0, 100, (120, 7, 9)) + 150 * labels[:, None, None]).astype("uint8")
    (folder / "shades").mkdir()
    header = struct.pack(">4I", 2051, 120, 7, 9)
    (folder / "shades" / "t10k-images-idx3-ubyte").write_bytes(header + images.tobytes())
    header = struct.pack(">2I", 2049, 120)
    (folder / "shades" / "t10k-labels-idx1-ubyte").write_bytes(header + labels.astype("uint8").tobytes())
    before = os.getcwd()
    os.chdir(folder)
    try:
        glimpses.main(
            glimpses.Glimpses(
                data=Path("shades"),
                glimpses=2,
                size=3,
                units=8,
                distortion=Distortion(shift=0.5),
                training=SupervisedSettings(epochs=8, batch=16, learning_rate=0.03),
            )
        )
    finally:
        os.chdir(before)
    return folder / "exported" / "glimpses_shades"


def test_a_run_leaves_the_model_its_card_and_its_pictures(exported):
    assert {path.name for path in exported.iterdir()} == {
        *("model.keras", "model.onnx", "saved_model", "card.md", "learning_curve.png", "glimpses.png")
    }
    card = (exported / "card.md").read_text(encoding="utf-8")
    assert "2 glimpses of 3 x 3" in card
    assert "looked at (" in card
    assert str(exported.parent) not in card


def test_the_score_is_that_of_the_file_on_the_test_images(exported):
    file = runtime.load(exported / "model.onnx")
    test = np.array([50, 200])[:, None, None, None] + np.zeros((1, 7, 9, 1))
    assert [answer.name for answer in file.classify(test.astype("uint8"))] == ["0", "1"]
    assert file.predict(test.astype("uint8"))["locations"].shape == (2, 2, 2)
    scores = file.manifest.provenance["data"]
    assert scores["test_examples"] == 18
    assert scores["test_errors"] == round(scores["test_error"] * 18) == 0
    assert 9 / 63 <= scores["share_of_pixels_seen"] <= 18 / 63
