"""Presets from the command line: a folder of KerasHub's becomes a file that writes; what can't be is said in a line."""

import json

import numpy as np
import pytest

keras_hub = pytest.importorskip("keras_hub")

import tfseq
from benchmarks.harness.hub_tasks import causal_lm
from benchmarks.harness.hub_vocabularies import byte_pairs
from tfseq.cli import main
from tfseq.errors import ExportError
from tfseq.hub.presets import is_preset, load_preset


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tokenizer = keras_hub.models.GPT2Tokenizer(*byte_pairs())
    preprocessor = keras_hub.models.GPT2CausalLMPreprocessor(tokenizer, sequence_length=64)
    task = causal_lm("GPT2", preprocessor, vocabulary_size=tokenizer.vocabulary_size())
    path = tmp_path_factory.mktemp("preset") / "small_gpt2"
    task.save_to_preset(str(path))
    return path


def test_a_folder_becomes_a_file_that_continues_texts(folder, tmp_path, capsys):
    main(["export", str(folder), str(tmp_path / "lm.onnx"), "--decode", "greedy"])
    assert "passed" in capsys.readouterr().out
    task = keras_hub.models.CausalLM.from_preset(str(folder))
    task.compile(sampler="greedy")
    file = tfseq.runtime.load(tmp_path / "lm.onnx")
    prompt = "Train any"
    read = int(np.sum(task.preprocessor.generate_preprocess([prompt], sequence_length=20)["padding_mask"]))
    assert file.generate(prompt, max_length=20 - read) == task.generate(prompt, max_length=20)[len(prompt) :]


def test_a_backbone_alone_is_taken_for_a_task_that_has_it(folder, tmp_path):
    keras_hub.models.Backbone.from_preset(str(folder)).save_to_preset(str(tmp_path / "backbone"))
    assert type(load_preset(tmp_path / "backbone")).__name__ == "GPT2CausalLM"
    assert type(load_preset(tmp_path / "backbone", "Backbone")).__name__ == "GPT2Backbone"


def damaged(folder):
    (folder / "config.json").write_text(json.dumps({"class_name": "Nothing"}))


@pytest.mark.parametrize(
    ("name", "task", "said"),
    [
        ("no_such_preset", None, "no preset of that name"),
        ("gpt2_base_en", "Nonsense", "no task Nonsense"),
        ("folder", "Seq2SeqLM", "no Seq2SeqLM in KerasHub"),
        ("damaged", None, "can't load the preset"),
    ],
)
def test_what_is_no_preset_is_said_in_a_line(name, task, said, folder, tmp_path):
    if name == "damaged":
        (tmp_path / name).mkdir()
        damaged(tmp_path / name)
    path = {"folder": folder, "damaged": tmp_path / name}.get(name, name)
    with pytest.raises(ExportError, match=said) as raised:
        load_preset(path, task)
    assert "\n" not in str(raised.value)


def test_a_file_is_no_preset(folder, tmp_path):
    (tmp_path / "model").write_bytes(b"")
    assert [is_preset(path) for path in (folder, "gpt2_base_en", "hf:/a/b")] == [True] * 3
    assert [is_preset(path) for path in (tmp_path, tmp_path / "model", "missing.keras")] == [False] * 3
