"""A new file takes the place of an old one with all that belongs to it, or leaves everything as it was."""

import itertools
import multiprocessing
import os
import signal

import pytest

from tfseq.errors import ExportError
from tfseq.exporting.writing.replacing import replacing

PAIRS = ({"model.onnx"}, {"model.onnx", "model.onnx.data"})


def fill(folder, names, content):
    for name in names:
        (folder / name).write_text(content)


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("old", [set(), *PAIRS])
@pytest.mark.parametrize("new", PAIRS)
def test_one_or_two_files_take_the_place_of_none_one_or_two(old, new, tmp_path):
    fill(tmp_path, old | {"other.onnx"}, "old")
    with replacing(tmp_path / "model.onnx") as path:
        fill(path.parent, new, "new")
    assert contents(tmp_path) == dict.fromkeys(new, "new") | {"other.onnx": "old"}


@pytest.mark.parametrize("old", [set(), *PAIRS])
@pytest.mark.parametrize("new", PAIRS)
@pytest.mark.parametrize("failing", range(4))
def test_a_move_that_fails_is_undone(old, new, failing, tmp_path, monkeypatch):
    fill(tmp_path, old, "old")
    moves, replace = [], os.replace

    def refuse_one(*arguments):
        moves.append(arguments)
        if len(moves) == failing + 1:
            raise OSError(28, "No space left on device")
        replace(*arguments)

    monkeypatch.setattr(os, "replace", refuse_one)
    if failing < len(old) + len(new):
        with (
            pytest.raises(ExportError, match=r"Can't write .*model\.onnx: No space left"),
            replacing(tmp_path / "model.onnx") as path,
        ):
            fill(path.parent, new, "new")
        assert contents(tmp_path) == dict.fromkeys(old, "old")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_work_that_fails_leaves_everything_as_it_was(error, tmp_path):
    def work():
        with replacing(tmp_path / "model.onnx") as path:
            fill(path.parent, PAIRS[1], "half")
            raise error

    fill(tmp_path, PAIRS[1], "old")
    with pytest.raises(error):
        work()
    assert contents(tmp_path) == dict.fromkeys(PAIRS[1], "old")


def test_a_file_never_stands_beside_the_weights_of_another(tmp_path, monkeypatch):
    fill(tmp_path, PAIRS[1], "old")
    seen, replace = [], os.replace

    def look(*arguments):
        replace(*arguments)
        seen.append({name: text for name, text in contents_of_files(tmp_path).items() if name in PAIRS[1]})

    def contents_of_files(folder):
        return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}

    monkeypatch.setattr(os, "replace", look)
    with replacing(tmp_path / "model.onnx") as path:
        fill(path.parent, PAIRS[1], "new")
    whole = [state for state in seen if "model.onnx" in state]
    assert all(state == dict.fromkeys(PAIRS[1], state["model.onnx"]) for state in whole)
    assert whole[-1]["model.onnx"] == "new"


def test_a_folder_takes_the_place_of_a_folder(tmp_path):
    (tmp_path / "saved").mkdir()
    fill(tmp_path / "saved", {"a"}, "old")
    with replacing(tmp_path / "saved") as path:
        path.mkdir()
        fill(path, {"b"}, "new")
    assert contents(tmp_path / "saved") == {"b": "new"}
    assert os.listdir(tmp_path) == ["saved"]


def write_until_killed(path, new, moves):
    replace, count = os.replace, itertools.count()

    def die_first(*arguments):
        if next(count) == moves:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*arguments)

    os.replace = die_first
    with replacing(path) as written:
        fill(written.parent, new, "lost")
        if moves < 0:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("moves", range(-1, 4))
def test_what_a_killed_export_left_is_put_back_or_removed_by_the_next(moves, tmp_path):
    path = tmp_path / "model.onnx"
    fill(tmp_path, PAIRS[1], "old")
    process = multiprocessing.get_context("fork").Process(target=write_until_killed, args=(path, PAIRS[1], moves))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with pytest.raises(ValueError, match="no"), replacing(path):
        raise ValueError("no")
    assert contents(tmp_path) in (dict.fromkeys(PAIRS[1], "old"), dict.fromkeys(PAIRS[1], "lost"))
    with replacing(path) as written:
        fill(written.parent, PAIRS[0], "new")
    assert contents(tmp_path) == {"model.onnx": "new"}


def test_what_another_process_is_writing_and_what_is_not_ours_stay(tmp_path):
    path = tmp_path / "model.onnx"
    others = (".model.onnx.new", ".model.onnx.a.new", ".other.onnx.1.new", ".model.onnx.1.news")
    for name in others:
        (tmp_path / name).mkdir()
    with replacing(path) as being_written:
        moved = being_written.parent.rename(tmp_path / ".model.onnx.1.new")  # as that of another process
        with replacing(path) as written:
            fill(written.parent, PAIRS[0], "new")
        assert moved.is_dir()
        moved.rename(being_written.parent)
        fill(being_written.parent, PAIRS[0], "newer")
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "model.onnx"])
    assert path.read_text() == "newer"
