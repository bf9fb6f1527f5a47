"""benchmarks.generation and benchmarks.generation_cost: what is timed, and tables in which some could not run."""

import json

import numpy as np
import pytest

from benchmarks import generation, generation_cost
from benchmarks.harness import generation_task
from benchmarks.harness.failures import Failure

MISSING = Failure("not installed: pip install ctranslate2")


def speeds(*tokens_per_second):
    return [dict.fromkeys(generation_task.cases(), speed) for speed in tokens_per_second]


@pytest.fixture
def results(tmp_path):
    return {name: speeds(100.0, 200.0) for name in generation.contestants(tmp_path)}


def test_the_best_setting_of_the_peer_is_chosen_by_case(results):
    results["CTranslate2 int8, 2 threads"] = speeds(50.0, 50.0)
    rows = generation.compare(results, "int8").splitlines()
    assert (
        rows[2]
        == "| greedy, batch 1 | 150 | 50 | **3.00** (2.00, 4.00) | 150 (2 awake threads) | **1.00** (1.00, 1.00) |"
    )
    assert len(rows) == 6


def test_without_ctranslate2_its_cells_are_empty_and_the_reason_stands_below(results):
    for name in results:
        if name.startswith("CTranslate2"):
            results[name] = [MISSING, MISSING]
    rows = generation.compare(results, "float32").splitlines()
    assert rows[2] == "| greedy, batch 1 | 150 |  |  |  |  |"
    assert f"- CTranslate2 float32, 1 thread could not run: {MISSING.reason}." in rows
    assert not any("int8" in row for row in rows)
    assert rows[2:] != generation.compare_two_files(results).splitlines()[2:]


def test_a_setting_that_fails_in_one_round_counts_in_the_others(results):
    results["two files, bound"] = [Failure("ended by SIGKILL"), *speeds(100.0)]
    rows = generation.compare_two_files(results).splitlines()
    assert rows[2] == "| greedy, batch 1 | 150 | 150 | **1.00** (1.00, 1.00) | 100 | **2.00** (2.00) |"
    assert rows[-1] == "- two files, bound could not run in 1 of 2 rounds: ended by SIGKILL."


def test_a_contestant_is_timed_on_every_case_and_leaves_its_tokens(tmp_path, capsys):
    task = generation_task.Task(vocabulary=10, start=1, end=2, new_time=3, runs=1)
    generation_task.write_task(task, tmp_path)
    assert generation_task.read_task(tmp_path) == task
    asked = []

    def run(source, width, length):
        asked.append((source.shape, width))
        return np.full((len(source), length), width)

    generation_task.measure(run, tmp_path, "someone", batches=(1, 2))
    assert set(asked) == {((batch, 20), width) for batch in (1, 2) for width in (1, 4)}
    assert json.loads(capsys.readouterr().out).keys() == generation_task.cases((1, 2)).keys()
    assert np.load(tmp_path / "someone.npz")["beam 4, batch 2"].tolist() == [[4] * 3] * 2


def test_agreement_counts_sequences_and_tokens(tmp_path):
    np.savez(tmp_path / "keras.npz", **dict.fromkeys(generation_task.cases(), np.array([[1, 2], [3, 4]])))
    np.savez(tmp_path / "two_files_numpy.npz", **{"greedy, batch 1": np.array([[1, 2], [3, 5]])})
    row = generation.agreement(tmp_path).splitlines()[2]
    assert row == "| two files numpy | 1 of 2 sequences, 75.0% of tokens |  |  |  |"


def test_the_cost_of_a_length_that_failed_is_left_out_of_table_and_plot(tmp_path):
    runs = [{"milliseconds": 0.5, "megabytes": 2.0}]
    results = {f"{model}, {length}": runs for model in generation_cost.NAMES for length in generation_cost.LENGTHS}
    results["lstm, 125"] = [Failure("ended by SIGKILL")]
    rows = generation_cost.table(results).splitlines()
    assert rows[2] == "| 125 |  |  |  | 0.500 | 0.500 to 0.500 | 2.0 |"
    assert rows[-1] == "- lstm, 125 could not run: ended by SIGKILL."
    generation_cost.plot(results, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
