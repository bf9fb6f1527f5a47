"""Images to classes and to names: what a file says of pixels, and the share of them that it is right about."""

import gzip
import os
import struct
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("sklearn")
pytest.importorskip("num2words")

from pipelines import image_classification, image_naming, vision_transformer
from pipelines.image_classification import ImageClassification
from pipelines.image_naming import ImageNaming
from pipelines.parts.contact_sheet import draw_contact_sheet
from pipelines.parts.image_batches import Distortion
from pipelines.vision_transformer import VisionTransformerSettings
from tfseq import runtime
from tfseq.data import load_images
from tfseq.training import SupervisedSettings

SMALL = {
    "filters": (4,),
    "distortion": Distortion(0.5, 0.0, 0.0, 0.0),
    "training": SupervisedSettings(epochs=6, batch=16, learning_rate=0.02),
}
CLASSIFIER = ImageClassification(units=8, dropout=0.0, **SMALL)
NAMER = ImageNaming(features=8, units=24, dropout=0.0, **SMALL)
PATCHES = VisionTransformerSettings(
    patch_size=2, units=16, heads=2, depth=1, dropout=0.0, **{k: v for k, v in SMALL.items() if k != "filters"}
)


@pytest.fixture(scope="module")
def bars(tmp_path_factory):
    """A folder of 200 images: a bar that lies (0), and one that stands (1)."""
    folder = tmp_path_factory.mktemp("data") / "bars"
    folder.mkdir()
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 80, (200, 8, 8)), np.arange(200) % 2
    for image, label, at in zip(images, labels, random.integers(1, 7, 200)):
        (image.T if label else image)[at] = 255
    for name, values in (("t10k-images-idx3-ubyte.gz", images), ("t10k-labels-idx1-ubyte.gz", labels)):
        header = struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape)
        (folder / name).write_bytes(gzip.compress(header + values.astype("uint8").tobytes()))
    return folder


@pytest.fixture(scope="module")
def exported(bars, tmp_path_factory):
    """What both pipelines leave."""
    folder = tmp_path_factory.mktemp("pipelines")
    before = os.getcwd()
    os.chdir(folder)
    try:
        image_classification.main(replace(CLASSIFIER, data=bars))
        image_naming.main(replace(NAMER, data=bars))
        vision_transformer.main(replace(PATCHES, data=bars))
    finally:
        os.chdir(before)
    return folder / "exported"


@pytest.mark.parametrize("pipeline", ["image_classification", "vision_transformer"])
def test_the_classifiers_file_takes_pixels_and_names_the_class(bars, exported, pipeline):
    images, labels = load_images(bars).test
    file = runtime.load(exported / f"{pipeline}_bars" / "model.onnx")
    assert file.manifest.inputs[0].dtype == "uint8"
    right = np.array([int(answer.name) for answer in file.classify(images)]) == labels
    recorded = file.manifest.provenance["data"]
    assert recorded["test_accuracy"] == pytest.approx(right.mean())
    assert recorded["test_errors"] == (~right).sum()
    assert right.mean() > 0.9


def test_the_namers_file_takes_pixels_and_writes_the_name(bars, exported):
    images, labels = load_images(bars).test
    file = runtime.load(exported / "image_naming_bars" / "model.onnx")
    written = file.generate(images, max_length=8)
    right = np.array(written) == np.where(labels, "one", "zero")
    recorded = file.manifest.provenance["data"]
    assert recorded["test_whole_words"] == pytest.approx(right.mean())
    assert right.mean() > 0.9


@pytest.mark.parametrize("name", ["image_classification_bars", "image_naming_bars"])
def test_a_run_leaves_every_form_of_the_model_its_pictures_and_its_card(exported, name):
    names = {path.name for path in (exported / name).iterdir()}
    tokenizer = {"tokenizer.json"} if "naming" in name else set()
    assert names == tokenizer | {
        *("model.keras", "model.onnx", "saved_model", "card.md", "learning_curve.png", "images.png")
    }
    card = (exported / name / "card.md").read_text(encoding="utf-8")
    assert "truly" in card
    assert "images.png" in card


def test_the_vision_transformer_also_shows_where_it_looked(exported):
    folder = exported / "vision_transformer_bars"
    names = {path.name for path in folder.iterdir()}
    pictures = {"learning_curve.png", "images.png", "rollout.png"}
    assert names == pictures | {"model.keras", "model.onnx", "saved_model", "card.md"}
    assert (folder / "rollout.png").read_bytes().startswith(b"\x89PNG")
    card = (folder / "card.md").read_text(encoding="utf-8")
    assert all(picture in card for picture in pictures)


def test_colour_images_of_tfds_are_cut_into_patches(tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    settings = replace(PATCHES, patch_size=8, training=SupervisedSettings(epochs=1, batch=16))
    monkeypatch.chdir(tmp_path)
    with tfds.testing.mock_data(num_examples=120):
        vision_transformer.main(replace(settings, tfds="cifar10"))
    file = runtime.load(tmp_path / "exported" / "vision_transformer_cifar10" / "model.onnx")
    answers = file.classify(np.zeros((2, 32, 32, 3), "uint8"))
    assert {answer.name for answer in answers} <= set(file.manifest.labels)
    assert len(file.manifest.labels) == 10  # by number: mock data has no names
    assert file.manifest.provenance["data"]["name"] == "cifar10"


def test_only_numbers_are_put_into_words():
    assert image_naming.english_names(["0", "7", "12"]) == ["zero", "seven", "twelve"]
    assert image_naming.english_names(["cat", "dog"]) == ["cat", "dog"]


def test_names_are_spelled_up_to_their_end():
    tokenizer = runtime.CharacterTokenizer(["<pad>", "<unk>", "<start>", "<end>", "a", "b"])

    class Batches:
        def __call__(self, epoch):
            return self

        def map(self, spell):
            return spell(np.zeros((3, 4, 4, 1), "uint8"), np.array([1, 0, 1]))

    inputs, tokens, weights = image_naming.spelled(Batches(), ["ab", "b"], tokenizer)(0)
    np.testing.assert_array_equal(tokens, [[5, 3, 0], [4, 5, 3], [5, 3, 0]])
    np.testing.assert_array_equal(weights, [[1, 1, 0], [1, 1, 1], [1, 1, 0]])
    np.testing.assert_array_equal(inputs["target"], [[2, 5, 3], [2, 4, 5], [2, 5, 3]])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_contact_sheet_is_a_picture_of_as_many_rows_as_it_needs(tmp_path, channels):
    images = np.zeros((9, 4, 4, channels), "uint8")
    heights = []
    for count in (8, 9):
        draw_contact_sheet(images[:count], ["?"] * count, tmp_path / "sheet.png")
        content = (tmp_path / "sheet.png").read_bytes()
        assert content.startswith(b"\x89PNG")
        heights.append(struct.unpack(">I", content[20:24])[0])
    assert heights[1] == 2 * heights[0]
