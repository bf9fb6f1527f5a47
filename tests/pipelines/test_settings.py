"""Settings of every pipeline that can't be: drawn at random, each ends in one line before anything is read or made."""

import importlib
import math
import pkgutil
from dataclasses import fields, is_dataclass, replace
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import pipelines
from tests.pipelines.command_line import run_pipeline
from tfseq.errors import TrainingError
from tfseq.training.setting_ranges import Matching

NAMES = sorted(
    m.name for m in pkgutil.iter_modules(pipelines.__path__) if m.name not in ("parts", "__main__", "explain")
)
UNLIMITED = {"data", "tfds", "backbone", "source", "target", "languages"}  # texts whose content decides


def limits(hint):
    """Whether numbers or texts are in a type; and whether each of them has a range."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return True, True
    if origin in (Union, UnionType, tuple):
        inner = [limits(part) for part in parts if part is not Ellipsis]
        return any(some for some, _ in inner), all(ranged for some, ranged in inner if some)
    return hint in (int, float, str), False


def wrong_values(hint, draw):
    """Values that this type does not allow."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        if isinstance(parts[1], Matching):
            return ["", 3, None]
        below = -int(draw.randint(1, 10**6)) if parts[0] is int else -float(draw.uniform(1e-3, 1e6))
        if math.isinf(parts[1].least):
            return [math.nan, math.inf, "a"]
        return [below, math.nan, math.inf, "a", None, 10 ** draw.randint(12, 400) if parts[0] is int else -math.inf]
    if origin is tuple:
        one = wrong_values(parts[0], draw)
        return [tuple([one[draw.randint(len(one))]] * max(1, len(parts))), ()]
    if origin in (Union, UnionType):
        return [
            value for part in parts if part is not type(None) for value in wrong_values(part, draw) if value is not None
        ]
    if origin is Literal:
        return ["none of them", 1.5]
    return [7.5] if hint is not float else ["a"]


def settings_of(name):
    return importlib.import_module(f"pipelines.{name}").QUICK


def all_fields(settings, before=()):
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            yield from all_fields(value, (*before, field.name))
        else:
            yield (*before, field.name), get_type_hints(type(settings), include_extras=True)[field.name]


def changed(settings, path, value):
    first, *rest = path
    return replace(settings, **{first: changed(getattr(settings, first), rest, value) if rest else value})


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_has_a_range_and_values_out_of_it_are_refused(name):
    draw, settings = np.random.RandomState(len(name)), settings_of(name)
    for path, hint in all_fields(settings):
        some, ranged = limits(hint)
        assert ranged or not some or path[-1] in UNLIMITED, path
        for value in wrong_values(hint, draw):
            with pytest.raises(TrainingError, match=f"{path[-1]} is .*expected") as refused:
                changed(settings, path, value)
            assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_number_on_the_command_line_ends_in_one_line(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    draw, settings = np.random.RandomState(len(name)), settings_of(name)
    numbers = [
        path for path, hint in all_fields(settings) if get_origin(hint) is Annotated and get_args(hint)[0] is not str
    ]
    numbers = [path for path in numbers if path[-1] != "length_penalty"]  # which can be any number
    path = numbers[draw.randint(len(numbers))]
    with pytest.raises(SystemExit) as ended:
        run_pipeline(name, "quick", "--" + ".".join(path).replace("_", "-"), "-7")
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.startswith(f"{name}: {path[-1]} is -7")
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments", [["all", "--seed", "-3"], ["forcing", "--steps", "0"], ["forcing", "--seed", "1e3"]]
)
def test_what_explains_refuses_wrong_numbers_too(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run_pipeline("explain", *arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 or arguments[-1] == "1e3"  # which the parser refuses, in its box
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as ended:
        run_pipeline("explain", "convolution", "--folder", "file/inner")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "explain: Can't read or write file/inner: Not a directory.\n"


@pytest.mark.parametrize("name", ["transformer", "transformer_lm", "vision_transformer"])
def test_units_that_heads_cannot_share_are_refused(name):
    with pytest.raises(TrainingError, match="units is 50 and heads 4; expected units that are a multiple of heads"):
        replace(settings_of(name), units=50, heads=4)
    with pytest.raises(TrainingError, match="multiple of heads"):
        replace(settings_of("text_classification"), units=50, heads=4, encoder="transformer")
    replace(settings_of("text_classification"), units=50, heads=4)
