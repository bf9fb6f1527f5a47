"""benchmarks.rnn_vs_transformer: equal parameters, throughput, generation, memory and recall on the smallest cases."""

from itertools import count

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras

from benchmarks.rnn_vs_transformer import generation, memory, recall, report, throughput
from benchmarks.rnn_vs_transformer.contestants import LARGE, LENGTHS, SMALL, Size, language_model
from tfseq.data.recall_task import Recall

TINY = Size(8, 2, 1, {"lstm": 8, "gru": 8})


def parameters(name, size, vocabulary):
    embedding = vocabulary * size.units
    return language_model(name, size, vocabulary).count_params() - embedding


@pytest.mark.parametrize("size", [LARGE, SMALL])
def test_contestants_have_about_as_many_parameters(size):
    of_transformer = parameters("transformer", size, 96)
    for cell in size.recurrent_units:
        without_head = parameters(cell, size, 96) - 97 * size.recurrent_units[cell]  # the Transformer's is tied
        assert without_head == pytest.approx(of_transformer, rel=0.08), cell


def test_lengths_double_from_32_to_4096():
    assert LENGTHS == (32, 64, 128, 256, 512, 1024, 2048, 4096)


@pytest.mark.slow
def test_a_step_of_training_learns_and_everyone_has_every_turn():
    names = ("lstm", "transformer")
    results = throughput.measure([8], rounds=2, tokens=16, outcomes={}, size=TINY, names=names, least_seconds=0)
    assert all(len(results[name][8]) == 2 and min(results[name][8]) > 0 for name in names)
    model = throughput.compiled("transformer", TINY)
    before = [weight.numpy().copy() for weight in model.trainable_variables]
    model.train_on_batch(np.ones((2, 4), "int32"), np.ones((2, 4), "int32"))
    assert all((weight.numpy() != old).any() for weight, old in zip(model.trainable_variables, before))


def test_exported_files_write_texts_of_every_length():
    results = generation.measure([6], rounds=1, outcomes={}, size=TINY, names=("lstm", "transformer"))
    assert all(len(runs) == 1 for by in results.values() for runs in by.values())


def test_the_state_between_two_decode_steps():
    transformer = language_model("transformer", LARGE, 96, "float32")
    _, state = transformer.step(keras.ops.zeros(1, "int32"), transformer.initial_state((), 1))
    entries = sum(int(np.prod(part.shape)) for cache in state.caches for part in cache)
    assert report.state_bytes("transformer", 1) == 4 * entries
    assert report.state_bytes("transformer", 4096) == 4096 * 4 * entries
    for cell in ("lstm", "gru"):
        model = language_model(cell, LARGE, 96, "float32")
        entries = sum(int(np.prod(part.shape)) for part in keras.tree.flatten(model.initial_state((), 1)))
        assert report.state_bytes(cell, 32) == report.state_bytes(cell, 4096) == 4 * entries


def test_computed_scores_are_those_that_attention_makes():
    model = language_model("transformer", LARGE, 96, "float32")
    weights = model.blocks[0].attention.weights_of(keras.ops.zeros((1, 64, LARGE.units)))
    assert memory.score_matrices(64) * 2**20 == 4 * np.prod(weights.shape)


@pytest.mark.slow
def test_recall_is_learned(monkeypatch):
    monkeypatch.setattr(recall, "TASK", Recall(keys=1, values=2, distractors=1))
    monkeypatch.setitem(recall.LEARNING_RATES, "transformer", 1e-2)
    ticks, accuracy = count(), {}
    monkeypatch.setattr(recall.time, "process_time", lambda: next(ticks))  # a step takes a second
    pupil = recall.Pupil("transformer", recall.TASK, TINY)
    assert pupil.accuracy(4, recall.Budget(1)) < recall.TASK.chance + 0.2
    outcomes: dict[str, list] = {}
    recall.beyond(
        [4, 6],
        recall.Budget(150, tokens=256),
        ["transformer"],
        lambda found: accuracy.update(found["transformer"]),
        outcomes,
    )
    assert list(outcomes.values()) == [[{}]]
    assert set(accuracy) == {4, 6}
    assert accuracy[4][0] > 0.9


def test_results_return_from_their_file_and_make_tables_and_a_picture(tmp_path):
    runs = {"lstm": {32: [4.0, 2.0, 3.0]}, "transformer": {32: [6.0, 6.0, 6.0]}}
    file = tmp_path / "folder" / "throughput.json"
    report.add({"lstm": {32: [1.0]}}, file)
    report.add(runs, file)
    report.add({"lstm": {64: [5.0]}}, file)
    assert report.load(file) == {"lstm": runs["lstm"] | {64: [5.0]}, "transformer": runs["transformer"]}
    assert report.load(tmp_path / "none.json") == {}
    accuracy = {"lstm": {32: [0.125]}, "transformer": {32: [1.0]}}
    found = dict.fromkeys(("throughput", "generation", "training", "forward"), runs)
    found |= {"recall": accuracy, "beyond": {}, "curriculum": {}}
    tables = report.tables(found)
    assert "| 32 | **3** (2 to 4) | **6** (6 to 6) | **2.00** (1.50 to 3.00) |" in tables["throughput"]
    assert "| 32 | 12.5% | 100.0% |" in tables["recall"]
    assert set(report.tables(found | {"recall": {}})) == {"throughput", "generation", "memory"}
    report.plot(found, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
