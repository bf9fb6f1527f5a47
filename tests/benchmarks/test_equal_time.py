"""benchmarks.char_lm and benchmarks.music: one trains for as long as the other, and cannot run without it."""

import sys

import pytest

from benchmarks import char_lm, music
from benchmarks.harness.failures import Failure

MISSING = Failure("not installed: pip install torch")


@pytest.fixture
def turns(monkeypatch):
    """Gives a benchmark, in place of its contestants, what they measure; returns the commands that it ran."""
    commands = []

    def give(benchmark, measured):
        def take_turns(contestants, rounds):
            commands.extend(contestants.values())
            return {name: [measured[name]] * rounds for name in contestants}

        monkeypatch.setattr(benchmark, "take_turns", take_turns)
        monkeypatch.setattr(sys, "argv", [benchmark.__name__, "text.txt"])
        return commands

    return give


def test_ours_gets_the_seconds_of_the_peer(turns, capsys):
    commands = turns(char_lm, {char_lm.PEER: {"nats": 2.0, "seconds": 70}, "tfseq": {"nats": 1.5, "seconds": 71}})
    char_lm.main()
    assert commands[1] == ["benchmarks.char_lm", "text.txt", "--seconds", "70"]
    assert "| tfseq | 1.500 | 1.500 to 1.500 | 0.750 | 0.750 to 0.750 |" in capsys.readouterr().out


def test_ours_does_not_run_without_the_seconds_of_the_peer(turns):
    commands = turns(char_lm, {char_lm.PEER: MISSING})
    with pytest.raises(SystemExit, match="nanoGPT's CPU recipe: not installed: pip install torch; tfseq: it trains"):
        char_lm.main()
    assert len(commands) == 1


def test_without_the_peer_our_music_model_has_a_row(turns, capsys):
    turns(music, {music.PEER: MISSING, "tfseq": {"nats": 1.0, "seconds": 300}})
    music.main()
    printed = capsys.readouterr().out
    assert "| tfseq | 1.000 | 1.000 to 1.000 |  |  |" in printed
    assert f"| the lab's LSTM | could not run: {MISSING.reason} | | | |" in printed
