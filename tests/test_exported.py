"""The exported models kept in git: outputs as on their cards, with ONNX Runtime alone; parity reports; sizes."""

import re
import subprocess
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest

from tfseq import runtime
from tfseq.data import scenes

EXPORTED = Path(__file__).parents[1] / "exported"
FILES = sorted(EXPORTED.glob("*/model*.onnx"))
MEGABYTE = 1_000_000
CHAR_LMS = [EXPORTED / f"char_lm_{cell}" for cell in ("rnn", "irnn", "lstm", "gru")]


def sample_in_card(folder):
    card = (folder / "card.md").read_text(encoding="utf-8")
    block = card.split("from `model.onnx`:\n\n")[1].split("\n## ")[0]
    return "\n".join(line.removeprefix("    ") for line in block.strip("\n").split("\n"))


def without_trailing_space(text):
    return re.sub(r"[ \n]+\n", "\n", text).strip()


@pytest.mark.parametrize("folder", CHAR_LMS, ids=lambda folder: folder.name)
def test_it_still_writes_the_sample_on_its_card(folder):
    text = "The " + runtime.load(folder / "model.onnx").generate("The ", max_length=400)
    assert without_trailing_space(text) == without_trailing_space(sample_in_card(folder))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_it_carries_a_parity_report_that_passed(file):
    parity = runtime.load(file).manifest.parity
    assert parity["passed"]
    for check in parity["checks"]:
        if "sequences" in check:
            assert check["identical"] == check["sequences"] == 224
        else:
            assert check["worst_relative"] <= 1e-4


@pytest.mark.parametrize(
    ("name", "source", "answer"),
    [
        ("seq2seq", "Friday, November 20, 2026", "2026-11-20"),
        ("attention_seq2seq", "Friday, November 20, 2026", "2026-11-20"),
        ("transformer", "Friday, November 20, 2026", "2026-11-20"),
        ("delayed_answer", "two hundred and thirty", "230"),
    ],
)
def test_it_answers_in_text(name, source, answer):
    assert runtime.load(EXPORTED / name / "model.onnx").generate(source) == answer


def test_a_language_model_goes_on_in_words_of_its_text():
    file = runtime.load(EXPORTED / "state_space_lm" / "model.onnx")
    text = file.generate("A class ", max_length=600, temperature=0.5)
    assert len(text) == 600
    known, words = (set(re.findall("[a-z]{4,}", part)) for part in (" ".join(topics.values()), text))
    assert len(words) > 15
    assert len(words & known) > len(words) / 2  # of letters drawn at random hardly any are


@pytest.mark.parametrize(
    ("text", "language"), [("Neuseeland und Österreich", "German"), ("Royaume-Uni, États-Unis et Norvège", "French")]
)
def test_it_names_a_language(text, language):
    assert runtime.load(EXPORTED / "text_classification" / "model.onnx").classify(text).name == language


def test_what_reads_images_knows_digits():
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    images = np.round(digits.images[:100] * (255 / 16)).astype("uint8")[..., None]
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    for name in ("image_classification", "vision_transformer", "glimpses"):
        labels = runtime.load(EXPORTED / name / "model.onnx").classify(images)
        assert np.mean([label.name == str(digit) for label, digit in zip(labels, digits.target)]) > 0.9, name
    written = runtime.load(EXPORTED / "image_naming" / "model.onnx").generate(images)
    assert np.mean([text == names[digit] for text, digit in zip(written, digits.target)]) > 0.9


@pytest.mark.parametrize("architecture", ["cnn_rnn", "cnn_rnn_attention", "cnn_transformer", "vit_transformer"])
def test_captions_describe_scenes_that_were_not_learned(architecture):
    drawn = scenes((1, 1, 100)).test  # of the seed whose other descriptions the captioners learned from
    written = runtime.load(EXPORTED / f"captioning_{architecture}" / "model.onnx").generate(drawn.inputs)
    assert np.mean([text in texts for text, texts in zip(written, drawn.targets)]) > 0.9


def test_frames_are_named_one_by_one_as_in_the_whole_clip():
    folder = EXPORTED / "frame_classification"
    whole, steps = (runtime.load(folder / name) for name in ("model.onnx", "model.step.onnx"))
    clips = np.random.default_rng(0).integers(0, 256, (2, 5, *whole.manifest.inputs[0].shape[2:]), np.uint8)
    stream = steps.stream()
    one_by_one = np.concatenate([np.asarray(stream.predict(clips[:, t : t + 1])) for t in range(5)], axis=1)
    np.testing.assert_allclose(one_by_one, whole.predict(clips), atol=1e-5)


def test_what_is_kept_is_small():
    """Each model 2 MB at most, all of it 20."""
    listed = subprocess.run(["git", "ls-files", "exported"], cwd=EXPORTED.parent, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    sizes = {name: (EXPORTED.parent / name).stat().st_size for name in listed.stdout.split("\n") if name}
    per_model = {}
    for name, size in sizes.items():
        per_model.setdefault(name.split("/")[1], []).append(size)
    assert {name for name, parts in per_model.items() if sum(parts) > 2 * MEGABYTE} == set()
    assert sum(sizes.values()) <= 20 * MEGABYTE
