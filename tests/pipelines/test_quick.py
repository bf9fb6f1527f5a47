"""Every run of `make quick` from the command line on, with its preset but a step of training, to the verified file or,
where a pipeline's own tests make one, to the scores."""

import contextlib
import re
from pathlib import Path
from unittest import mock

import pytest

pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

from pipelines.parts import image_classifiers, language_models, translation
from pipelines.parts import publish as publishing
from tests.pipelines.command_line import run_pipeline
from tfseq import runtime

MAKEFILE = Path(__file__).parents[2] / "Makefile"
IN_FULL = "char_lm"  # by `make demo`
BATCHES = 1  # to learn from; each of another size takes longer to trace than to learn from
TRANSLATORS = {"attention_seq2seq": "AttentionSeq2Seq", "seq2seq": "Seq2Seq", "transformer": "Transformer"}
FEWER = {  # examples, of data that is drawn; tunes to write; and units, where the scores take long
    "captioning": ["--scenes", "200", "16", "16"],
    "delayed_answer": ["--sizes", "200", "16", "16"],
    "frame_classification": ["--sizes", "200", "50", "50"],
    "music": ["--tunes", "4"],
    "state_space_lm": ["--units", "8", "--depth", "1"],
    "video_classification": ["--sizes", "200", "50", "50"],
    **{pipeline: ["--dates", "400", "16", "16"] for pipeline in TRANSLATORS},
}


def quick_runs(makefile):
    """Pipeline, preset and further arguments of each run that the Makefile's QUICK names."""
    (named,) = re.findall(r"^QUICK = ((?:.*\\\n)*.*)$", makefile, re.MULTILINE)
    for run in named.replace("\\\n", " ").split():
        name, *arguments = run.split(",")
        pipeline, _, preset = name.partition(":")
        yield pipeline, preset or "quick", *arguments


# Those whose own tests publish what they make: here they come up to there.
PUBLISHED = {
    *("blood_pressure", "forecasting", "frame_classification", "glimpses", "image_classification", "image_naming"),
    *("delayed_answer", "music", "series_classification", "text_classification", "transformer_lm"),
    "state_space_lm",
    *("video_classification", "vision_transformer"),
}
RUNS = [run for run in quick_runs(MAKEFILE.read_text(encoding="utf-8")) if run[0] != IN_FULL]


@pytest.fixture(autouse=True)
def few_batches(monkeypatch):
    fit = keras.Model.fit

    def shortly(model, *arguments, **settings):
        return fit(model, *arguments, **settings | {"steps_per_epoch": BATCHES, "validation_steps": 1})

    monkeypatch.setattr(keras.Model, "fit", shortly)


def run_quickly(run, folder, monkeypatch):
    pipeline, *arguments = run
    monkeypatch.chdir(folder)
    run_pipeline(pipeline, *arguments, "--training.epochs", "1", *FEWER.get(pipeline, []))


@pytest.mark.parametrize("run", [run for run in RUNS if run[0] in PUBLISHED], ids=" ".join)
def test_a_quick_run_comes_to_a_model_and_its_scores(run, tmp_path, monkeypatch):
    with contextlib.ExitStack() as patches:
        publish = mock.Mock()
        for module in (publishing, image_classifiers, language_models, translation):
            patches.enter_context(mock.patch.object(module, "publish", publish))
        run_quickly(run, tmp_path, monkeypatch)
    (model, name), said = publish.call_args
    assert isinstance(model, keras.Model)
    assert name.startswith(run[0])
    assert said["scores"]
    assert not Path("exported").exists()


@pytest.mark.parametrize("run", [run for run in RUNS if run[0] not in PUBLISHED], ids=" ".join)
def test_a_quick_run_ends_in_a_verified_file_and_its_card(run, tmp_path, monkeypatch):
    pipeline, *arguments = run
    run_quickly(run, tmp_path, monkeypatch)
    (folder,) = Path("exported").iterdir()
    manifest = runtime.load(folder / "model.onnx").manifest
    assert manifest.parity["passed"]
    assert manifest.name == folder.name
    assert f"python -m pipelines.{pipeline} {' '.join(arguments)}" in (folder / "card.md").read_text(encoding="utf-8")
    if pipeline == "captioning":
        assert_captions_scenes(manifest, arguments)
    if pipeline in TRANSLATORS:
        assert_writes_dates(manifest, pipeline)


def assert_writes_dates(manifest, pipeline):
    """By default."""
    assert manifest.name == pipeline
    assert manifest.provenance["model"].endswith(f".{TRANSLATORS[pipeline]}")
    assert manifest.provenance["data"]["name"] == "dates"
    scores = {"validation_loss", "test_exactly_right", "training_seconds", "parameters"}
    assert scores <= manifest.provenance["data"].keys()


def assert_captions_scenes(manifest, arguments):
    """By default the pictures are scenes, and the file is named by its architecture."""
    preset, *asked = arguments
    default = {"quick": "cnn_rnn_attention", "quick_vit": "vit_transformer"}[preset]
    architecture = asked[-1] if "--architecture" in asked else default
    assert manifest.name == f"captioning_{architecture}"
    assert manifest.provenance["data"]["name"] == "scenes"
    scores = {"test_exactly_right", "test_bleu_4", "test_cider", "nearest_picture_cider"}
    assert scores <= manifest.provenance["data"].keys()
    assert any(spec.name == "attention" for spec in manifest.outputs) == (architecture != "cnn_rnn")
    assert ("Conv" in manifest.operators) == architecture.startswith("cnn")


def test_runs_are_read_as_make_reads_them():
    makefile = "BEFORE = 1\nQUICK = one two:small \\\n    three,--cell,gru \\\n    four:large,--a,b\nSKIP =\n"
    assert list(quick_runs(makefile)) == [
        ("one", "quick"),
        ("two", "small"),
        ("three", "quick", "--cell", "gru"),
        ("four", "large", "--a", "b"),
    ]
