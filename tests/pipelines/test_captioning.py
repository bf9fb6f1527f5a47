"""The captioners: from pictures with captions to a file that writes one, its scores and its pictures."""

import os
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("sacrebleu")
image = pytest.importorskip("PIL.Image")

from pipelines import captioning
from pipelines.captioning import Captioning
from pipelines.parts.image_batches import Distortion
from tfseq import runtime
from tfseq.analysis.bleu import bleu
from tfseq.analysis.cider import cider
from tfseq.data import Part, load_captions, word_tokenizer
from tfseq.errors import TrainingError
from tfseq.training import SupervisedSettings

COLOURS = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200)}
STILL = Distortion(shift=1.0, turn=0.0, zoom=0.0, slant=0.0)
TINY = Captioning(
    size=8,
    filters=(8,),
    convolutions=1,
    units=16,
    heads=2,
    seeing_depth=1,
    patch_size=4,
    dropout=0.0,
    distortion=STILL,
    beam=2,
    training=SupervisedSettings(epochs=12, batch=16, learning_rate=0.02),
)


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    """A folder in Flickr8k's format, of pictures in one colour with two captions each."""
    folder = tmp_path_factory.mktemp("data") / "coloured"
    (folder / "Images").mkdir(parents=True)
    lines = ["image,caption"]
    for i in range(120):
        name = list(COLOURS)[i % 3]
        picture = np.clip(np.array(COLOURS[name]) + np.random.default_rng(i).integers(0, 40, (8, 8, 3)), 0, 255)
        image.fromarray(picture.astype("uint8")).save(folder / "Images" / f"{i}.png")
        lines += [f"{i}.png,A {name} wall .", f'{i}.png,"A {name} wall, I see."']
    (folder / "captions.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def exported(coloured, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    before = os.getcwd()
    os.chdir(folder)
    try:
        captioning.main(replace(TINY, data=coloured, architecture="cnn_rnn_attention"))
    finally:
        os.chdir(before)
    return folder / "exported" / "captioning_coloured_cnn_rnn_attention"


def test_the_scores_are_those_of_what_the_file_writes_of_held_out_pictures(coloured, exported):
    pictures, _ = load_captions(coloured, size=8).test
    file = runtime.load(exported / "model.onnx")
    names = [list(COLOURS)[picture.mean((0, 1)).argmax()] for picture in pictures]
    right = [[f"a {name} wall", f"a {name} wall i see"] for name in names]
    written = file.generate(pictures, max_length=6)
    scores = file.manifest.provenance["data"]
    exact = np.mean([text in texts for text, texts in zip(written, right)])
    assert scores["test_exactly_right"] == pytest.approx(exact, abs=1e-4)
    assert scores["test_bleu_4"] == pytest.approx(bleu(written, right), abs=0.01)
    assert scores["test_cider"] == pytest.approx(cider(written, right), abs=1e-3)
    assert exact > 0.8
    assert scores["nearest_picture_exactly_right"] == 1  # the nearest picture has the same colour


def test_a_run_leaves_every_form_of_the_model_its_pictures_and_its_card(exported):
    pictures = {"learning_curve.png", "images.png", "where_it_looked.png"}
    files = {"model.keras", "model.onnx", "saved_model", "tokenizer.json", "card.md"}
    assert {path.name for path in exported.iterdir()} == files | pictures
    card = (exported / "card.md").read_text(encoding="utf-8")
    assert "| test bleu 4 |" in card
    assert all(f"]({name})" in card for name in pictures)


def published(settings, tmp_path, monkeypatch):
    """What a run hands over to be published."""
    monkeypatch.chdir(tmp_path)
    with mock.patch.object(captioning, "publish") as publish:
        captioning.main(settings)
    (model, name), said = publish.call_args
    return model, name, said


def test_tfds_pictures_are_captioned(tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    settings = replace(TINY, tfds="coco_captions", subwords=True, vocabulary=300, beam=1)
    with tfds.testing.mock_data(num_examples=20):
        _, name, said = published(
            replace(settings, training=SupervisedSettings(epochs=1, batch=16)), tmp_path, monkeypatch
        )
    assert name == "captioning_coco_captions_cnn_rnn_attention"
    assert said["data"]["train_examples"] == 18
    assert said["decode"].forbidden == ()  # pieces of words spell any word


@pytest.mark.parametrize("fine_tune", [False, True])
def test_a_backbone_of_random_weights_sees_for_a_captioner(coloured, tmp_path, monkeypatch, fine_tune):
    training = SupervisedSettings(epochs=1, batch=32)
    settings = replace(
        TINY, data=coloured, size=32, backbone="MobileNetV2", backbone_weights=None, beam=1, training=training
    )
    with mock.patch.object(captioning, "train", wraps=captioning.train) as train:
        model, name, _ = published(replace(settings, fine_tune=fine_tune), tmp_path, monkeypatch)
    assert name == "captioning_coloured_cnn_rnn_attention"
    assert model.encoder.architecture == "MobileNetV2"
    learnt = {id(weight) for weight in train.call_args.args[0].trainable_variables}
    seen = {id(weight) for weight in train.call_args.args[0].encoder.network.weights}
    assert bool(learnt & seen) == fine_tune


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"architecture": "vit_transformer", "backbone": "MobileNetV2"}, "vit_transformer sees without a CNN"),
        ({"backbone": "MobileNe"}, "architecture is 'MobileNe'; expected one of"),
        ({"backbone": "MobileNetV2", "backbone_weights": Path("missing.h5")}, "There is no file missing.h5"),
        ({"architecture": "cnn_transformer", "heads": 3}, "expected a multiple of heads"),
    ],
)
def test_settings_that_cannot_be_are_named(wrong, message):
    with pytest.raises(TrainingError, match=message):
        captioning.build(replace(TINY, **wrong), (32, 32, 3), word_tokenizer(["a wall"], 20))


def test_teacher_forcing_feeds_each_caption_behind_the_start_and_asks_for_the_next_word():
    tokenizer = word_tokenizer(["a red wall", "a wall"], 20)
    part = Part(np.arange(2 * 4 * 4 * 3, dtype="uint8").reshape(2, 4, 4, 3), [["a red wall", "a wall"], ["a"]])
    examples = captioning.encoded(part.targets, tokenizer)
    (batch,) = captioning.taught(captioning.shown(part, examples, 4, None))(0)
    inputs, words, weights = [{k: np.array(v) for k, v in b.items()} if isinstance(b, dict) else b for b in batch]
    np.testing.assert_array_equal(inputs["image"], part.inputs[[0, 0, 1]])
    assert [tokenizer.decode(row) for row in inputs["target"]] == ["a red wall", "a wall", "a"]
    assert (inputs["target"][:, 0] == tokenizer.start).all()
    assert [tokenizer.decode(row) for row in words] == ["a red wall", "a wall", "a"]
    np.testing.assert_array_equal(weights, [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]])
    assert [int(row[int(count) - 1]) for row, count in zip(words, np.sum(weights, 1))] == [tokenizer.end] * 3


@pytest.mark.parametrize("ground", [10, 245])
def test_what_comes_from_beyond_the_border_is_as_light_as_the_border(ground):
    pictures = np.full((8, 6, 6, 3), ground, "uint8")
    part = Part(pictures, [["a"]] * 8)
    examples = captioning.encoded(part.targets, word_tokenizer(["a"], 9))
    far = Distortion(shift=3.0, turn=0.0, zoom=0.0, slant=0.0)
    ((moved, _),) = captioning.moved(captioning.shown(part, examples, 8, 0), pictures, far, 0)(0)
    assert np.abs(np.array(moved).astype(int) - ground).max() <= 10


def test_captions_are_learned_in_small_letters_without_punctuation():
    assert captioning.plain(' Two men\'s dogs, on a "T-shirt" . ') == "two men's dogs on a t shirt"


def test_the_nearest_picture_is_found_by_its_pixels():
    draw = np.random.default_rng(0)
    among, pictures = (draw.integers(0, 256, (n, 3, 3, 3), "uint8") for n in (30, 9))
    distances = [[np.square(a.astype(float) - b).sum() for b in among] for a in pictures]
    assert captioning.nearest(pictures, among) == np.argmin(distances, axis=1).tolist()
