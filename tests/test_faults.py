"""Damaged files and odd arguments, other ones every day: each ends in an error of tfseq's, or in a result."""

import os
from datetime import date

import pytest

from benchmarks.faults import BAD, PREPARATIONS, USES, failures, seeds_of, table
from benchmarks.harness.watched import Outcome, outcomes
from tfseq.errors import InputError


@pytest.mark.parametrize(("what", "count"), [("file", 500), ("training file", 40), ("input", 500)])
def test_nothing_foreign_comes_out_of_damaged_files_and_odd_arguments(what, count):
    if what == "training file":
        pytest.importorskip("keras")
    found = {what: list(outcomes(USES[what], seeds_of(date.today(), count), prepare=PREPARATIONS.get(what)))}
    assert not failures(found), "\n".join([table(found), *failures(found)])


def misbehave(seed: int) -> None:
    match seed:
        case 1:
            raise InputError("as it should")
        case 2:
            raise KeyError("lost")
        case 3:
            os._exit(1)
        case 4:
            while True:
                pass
        case 5:
            bytearray(b"x") * (2 * 10**9 + 10**8)


def test_what_goes_wrong_is_told_apart_and_the_next_seed_runs():
    bytearray(b"x") * (2 * 10**9 + 10**8)  # what this process has held is not what its workers hold
    found = list(outcomes(misbehave, range(7), seconds=5))
    verdicts = ["taken", "refused", "foreign exception", "abort", "hang", "above 2 GB", "taken"]
    assert [outcome.verdict for outcome in found] == verdicts
    assert "KeyError: 'lost' at test_faults.py" in found[2].said
    assert len(failures({"file": found})) == 4 == len(BAD)
    assert "--repeat file:2 " in failures({"file": found})[0]
    assert not failures({"file": [Outcome(1, "abort", inside=True)]})
