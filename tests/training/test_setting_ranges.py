"""Settings out of their range are refused when they are made, and those in it are not."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest

from tfseq.errors import TrainingError
from tfseq.training.setting_ranges import (
    Amount,
    CheckedSettings,
    Count,
    Name,
    PositiveAmount,
    Seed,
    ShareBelowOne,
    Text,
)


@dataclass(frozen=True)
class Example(CheckedSettings):
    count: Count = 1
    maybe: Count | None = None
    sizes: tuple[Count, Count] = (1, 2)
    more: tuple[Count, ...] = (1,)
    rate: ShareBelowOne = 0.0
    amount: Amount = 1.0
    positive: PositiveAmount = 1.0
    seed: Seed = 0
    text: Text = "a"
    name: Name = "a"
    cell: Literal["rnn", "gru"] = "gru"
    flag: bool = False


WRONG = {
    "count": [0, -1, 1.5, True, "3", None, 10**400, math.nan],
    "maybe": [0, -3, 2.0, "none"],
    "sizes": [(1,), (1, 2, 3), (0, 1), (1, 2.5), 3, None, ()],
    "more": [(), (1, 0), 4, (None,)],
    "rate": [1.0, 1, -1e-9, math.nan, math.inf, "0.1", None, True],
    "amount": [-1e-300, math.nan, math.inf, -math.inf, 10**400],
    "positive": [0, 0.0, -1.0, math.inf],
    "seed": [-1, 2**32, 0.0, None],
    "text": ["", None, 3],
    "name": ["", ".", "..", "a/b", "a\\b", "a\nb", "a\0b", "a\x1b[2J", "x" * 101, "/tmp"],
    "cell": ["lstm", None, 3, []],
    "flag": [1, "yes", None],
}
RIGHT = {
    "count": [1, 10**9, np.int64(3)],
    "maybe": [None, 7],
    "sizes": [(3, 4), [3, 4]],
    "more": [(1, 2, 3)],
    "rate": [0, 0.999999],
    "amount": [0, 1e30, np.float32(2)],
    "positive": [1e-300, 3],
    "seed": [0, 2**32 - 1],
    "text": [" ", "a\nb"],
    "name": ["...", "char_lm", "été 1", "x" * 100],
    "cell": ["rnn"],
    "flag": [True],
}


@pytest.mark.parametrize("name", WRONG)
def test_each_kind_of_setting_has_its_range(name):
    for value in RIGHT[name]:
        assert getattr(Example(**{name: value}), name) == value
    for value in WRONG[name]:
        with pytest.raises(TrainingError, match=f"^{name} is (?s:.)*; expected [^\n]*\\.$") as refused:
            Example(**{name: value})
        assert len(str(refused.value)) < 200


def test_all_that_is_wrong_is_named_at_once():
    with pytest.raises(TrainingError) as refused:
        Example(count=0, maybe=-1, rate=2, sizes=(1, 0))
    assert str(refused.value) == (
        "count is 0; expected at least 1 and at most 1000000000. maybe is -1; expected at least 1 and at most "
        "1000000000 or none. sizes is (1, 0); expected each to be at least 1 and at most 1000000000. rate is 2; "
        "expected at least 0 and below 1."
    )
