"""Language identification data: no name is in two parts, and none belongs to two languages."""

import re

import numpy as np
import pytest

pytest.importorskip("sklearn")
babel = pytest.importorskip("babel")

from tfseq.data.language_names import names_by_language
from tfseq.errors import DataError


@pytest.fixture(scope="module")
def data():
    return names_by_language()


def parts_of(data):
    return data.train, data.validation, data.test


def test_every_language_has_lines_of_one_name_and_of_several(data):
    assert data.labels[:3] == ("German", "English", "Spanish")
    for part in parts_of(data):
        assert np.bincount(part.targets, minlength=10).min() > 15
    german = [x for x, y in zip(*data.train) if y == 0]
    assert 0.5 < np.mean([" und " in x for x in german]) < 0.95


def test_no_name_is_in_two_parts_or_two_lines():
    data = names_by_language(["de", "tr"])
    names = {name for kind in ("territories", "languages") for name in getattr(babel.Locale("de"), kind).values()}
    long = [name for name in names if len(name) > 12 and re.fullmatch(r"\w+", name)]  # no part of another name
    found = [
        sum(bool(re.search(rf"(^|, | und ){re.escape(name)}($|, | und )", x)) for p in parts_of(data) for x in p.inputs)
        for name in long
    ]
    assert max(found) == 1
    assert np.mean(found) > 0.9


def test_what_two_languages_call_the_same_is_left_out():
    lines = [line for part in parts_of(names_by_language(["de", "sv"])) for line in part.inputs]
    assert babel.Locale("de").territories["AO"] == babel.Locale("sv").territories["AO"] == "Angola"
    assert not [line for line in lines if re.search(r"(^|, | und | och )Angola($|, | und | och )", line)]
    assert [line for line in lines if "Deutschland" in line]


def test_it_is_the_same_every_time(data):
    again = names_by_language()
    assert again.sha256 == data.sha256
    assert again.test.inputs == data.test.inputs


@pytest.mark.parametrize(
    ("languages", "message"),
    [
        (["de", "klingon"], "Babel does not know one of the languages de, klingon"),
        (["de"], "expected two or more"),
        (["de", "de"], "expected two or more"),
    ],
)
def test_languages_that_can_not_be_told_apart_are_refused(languages, message):
    with pytest.raises(DataError, match=message):
        names_by_language(languages)
