"""Contestants in turn: their table, and the rows of those that fail, print nonsense, or are not installed."""

import pytest

from benchmarks.harness.failures import Failure, attempt, failure_of_process, in_few_words
from benchmarks.harness.rounds import failed_lines, ratios, report, require_any, run_here, take_turns, values

BROKEN = """
import sys
print("warming up", file=sys.stderr)
def run():
    raise RuntimeError("could not create a primitive | of LSTM\\nand a second line")
run()
"""


@pytest.fixture
def contestant(tmp_path, monkeypatch):
    """Makes a module that `python -m` finds, from its source; returns its command."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        return [name]

    return make


def rows_of(text):
    return [line for line in text.splitlines() if line.startswith("|")]


def test_everyone_has_a_turn_in_every_round_and_ratios_are_taken_within_rounds(contestant, tmp_path):
    count = f"from pathlib import Path; turns = Path({str(tmp_path / 'turns')!r})\n"
    count += (
        "open(turns, 'a').write('x'); n = len(turns.read_text()); print('a line before'); print('{\"speed\": %d}' % n)"
    )
    command = contestant("counter", count)
    results = take_turns({"a": command, "b": command}, 3)
    assert results == {"a": [{"speed": 1}, {"speed": 3}, {"speed": 5}], "b": [{"speed": 2}, {"speed": 4}, {"speed": 6}]}
    assert ratios(results["b"], results["a"], "speed") == [2, 4 / 3, 6 / 5]
    assert rows_of(report(results, "speed", "a", "turns/s"))[2:] == [
        "| a | 3.000 | 1.000 to 5.000 | 1.000 | 1.000 to 1.000 |",
        "| b | 4.000 | 2.000 to 6.000 | 1.333 | 1.200 to 2.000 |",
    ]


def test_a_contestant_that_fails_is_a_row_that_says_why(contestant, capfd):
    commands = {"peer": contestant("good", "print('{\"speed\": 2}')"), "broken": contestant("broken", BROKEN)}
    results = take_turns(commands, 2)
    assert "warming up" in capfd.readouterr().err
    text = report(results, "speed", "peer", "turns/s")
    assert rows_of(text)[2:] == [
        "| peer | 2.000 | 2.000 to 2.000 | 1.000 | 1.000 to 1.000 |",
        "| broken | could not run: RuntimeError: could not create a primitive / of LSTM | | | |",
    ]


def test_without_the_peer_ratios_are_empty_with_the_reason(contestant):
    commands = {"ours": contestant("good", "print('{\"speed\": 2}')"), "peer": contestant("p", "import no_such_peer")}
    text = report(take_turns(commands, 1), "speed", "peer", "turns/s")
    assert rows_of(text)[2:] == [
        "| ours | 2.000 | 2.000 to 2.000 |  |  |",
        "| peer | could not run: not installed: pip install no_such_peer | | | |",
    ]
    assert text.endswith("No ratios: peer could not run (not installed: pip install no_such_peer).")


def test_if_all_fail_the_command_ends_with_one_line(contestant):
    results = take_turns({"a": contestant("a", BROKEN), "b": contestant("b", "import torch_of_tomorrow")}, 1)
    with pytest.raises(SystemExit) as ended:
        report(results, "speed", "a", "turns/s")
    assert ended.value.code == (  # which Python prints, and exits with 1
        "Nobody could run: a: RuntimeError: could not create a primitive / of LSTM; "
        "b: not installed: pip install torch_of_tomorrow."
    )
    with pytest.raises(SystemExit):
        require_any(results)


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        ("", "it printed nothing"),
        ("print('done')", "its last line was no JSON object of numbers: 'done'"),
        ("print('[1]')", "its last line was no JSON object of numbers: '[1]'"),
        ('print(\'{"speed": "fast"}\')', 'its last line was no JSON object of numbers: \'{"speed": "fast"}\''),
    ],
)
def test_malformed_output_is_a_failure(contestant, printed, reason):
    assert take_turns({"odd": contestant("odd", printed)}, 1) == {"odd": [Failure(reason)]}


def test_a_run_without_the_measure_is_a_failure():
    results = {"peer": [{"speed": 2.0}, {"speed": 4.0}], "odd": [{"size": 1.0}, {"speed": 2.0}]}
    text = report(results, "speed", "peer", "turns/s")
    assert rows_of(text)[3] == "| odd | 2.000 | 2.000 to 2.000 | 0.500 | 0.500 to 0.500 |"
    assert text.endswith("- odd could not run in 1 of 2 rounds: it did not measure speed.")


def test_a_round_that_failed_is_left_out_and_said():
    results = {"peer": [Failure("ended by SIGKILL"), {"speed": 4.0}], "ours": [{"speed": 1.0}, {"speed": 2.0}]}
    assert values(results["ours"], "speed") == [1, 2]
    assert ratios(results["ours"], results["peer"], "speed") == [0.5]
    assert failed_lines(results) == ["", "- peer could not run in 1 of 2 rounds: ended by SIGKILL."]
    assert failed_lines({"ours": results["ours"]}) == []


def test_what_a_process_said_last_is_the_reason():
    assert failure_of_process(-4, ["Illegal instruction"]).reason == "ended by SIGILL"
    assert failure_of_process(3, ["", " "]).reason == "exit code 3"
    assert failure_of_process(1, ["a", "oneDNN has no bfloat16 LSTM", ""]).reason == "oneDNN has no bfloat16 LSTM"
    chained = ["Traceback (most recent call last):", "  ...", "KeyError: 1", "", "During handling ...", ""]
    chained += ["Traceback (most recent call last):", "  ...", "ValueError: the first line", "another line", "  warned"]
    assert failure_of_process(1, chained).reason == "ValueError: the first line"


def test_reasons_fit_into_a_cell():
    assert in_few_words("No module named 'sklearn.svm'") == "not installed: pip install scikit-learn"
    assert in_few_words("No module named 'benchmarks.x'") == "No module named 'benchmarks.x'"
    long = in_few_words("word " * 100)
    assert len(long) <= 120
    assert long.endswith(" …")


def test_contestants_of_this_process_fail_alike(capsys):
    assert run_here("speed", lambda: 2.0) == {"speed": 2.0}
    assert run_here("speed", lambda: [][0]) == Failure("IndexError: list index out of range")
    assert "Traceback" in capsys.readouterr().err
    assert attempt(lambda: __import__("no_such_peer")) == Failure("not installed: pip install no_such_peer")
    with pytest.raises(KeyboardInterrupt):
        attempt(lambda: (_ for _ in ()).throw(KeyboardInterrupt))


def test_output_longer_than_a_pipe_holds_is_read(contestant):
    chatty = (
        "import sys\nfor _ in range(20000): print('x' * 20); print('y' * 20, file=sys.stderr)\nprint('{\"speed\": 1}')"
    )
    assert take_turns({"chatty": contestant("chatty", chatty)}, 1) == {"chatty": [{"speed": 1}]}
