"""A run that stops early says how to go on, in a line, and what it does not find or can't write in another."""

import os
import signal
from unittest import mock

import keras
import pytest

pytest.importorskip("tensorflow")

from pipelines.parts import publish as publishing
from pipelines.parts.runs import run_folder
from tests.pipelines.command_line import run_pipeline
from tests.training.test_checkpoint import files_of_at_most

TINY = ["--units", "8", "--training.batch", "4", "--training.chunk", "10", "--training.steps", "4"]
TINY += ["--training.evaluate-every", "2", "--training.warmup", "1", "--length", "5", "--prompt", "the "]


def run(*arguments):
    run_pipeline("char_lm", "quick", "--data", "rhyme.txt", *TINY, *arguments)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "rhyme.txt").write_text("the cat sat on the mat\n" * 30, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Event(keras.callbacks.Callback):
    def __init__(self, step, event):
        super().__init__()
        self.left, self.event = step, event

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            self.event()


def after(step, event):
    """Patches training so that something happens after a number of steps."""
    fit = keras.Model.fit

    def with_event(model, *arguments, callbacks=(), **more):
        return fit(model, *arguments, callbacks=[*callbacks, Event(step, event)], **more)

    return mock.patch.object(keras.Model, "fit", with_event)


def interrupt():
    raise KeyboardInterrupt


def stopped(capsys, *arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    return ended.value.code, capsys.readouterr().err.splitlines()


AGAIN = "runs/char_lm_rhyme_lstm keeps what was learned; to go on from there: python -m pipelines.char_lm quick --data"


def test_an_interrupted_run_says_how_to_go_on_and_does(folder, capsys):
    with after(1, interrupt):
        assert stopped(capsys) == (130, [])  # nothing was kept yet
    with after(3, interrupt):
        code, said = stopped(capsys)
    assert code == 130
    assert len(said) == 1
    assert said[0].startswith(AGAIN)
    assert said[0].endswith(" --prompt 'the ' --resume")
    with after(1, interrupt):
        code, said = stopped(capsys, "--resume")
    assert said[0].endswith(" --prompt 'the ' --resume")
    with mock.patch(
        "pipelines.parts.language_models.publish", side_effect=OSError(28, "No space left on device", "x/y")
    ):
        code, said = stopped(capsys, "--resume")
    assert code == 2
    assert said[0] == "char_lm: Can't read or write x/y: No space left on device."
    assert said[1].startswith(AGAIN)
    assert len(said) == 2
    code, said = stopped(capsys, "--resume", "--units", "9")
    assert code == 2
    assert "belongs to another run" in said[0]
    assert len(said) == 1  # which would be refused again


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_ended_from_outside_says_how_to_go_on(number, folder, capsys):
    ours = signal.signal(number, signal.SIG_DFL)  # these tests may run under nohup
    try:
        with after(3, lambda: os.kill(os.getpid(), number)):
            code, said = stopped(capsys)
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, ours)
    assert code == 128 + number
    assert [line.startswith(AGAIN) for line in said] == [True]
    run("--resume")
    assert (folder / "exported" / "char_lm_rhyme_lstm" / "model.onnx").exists()


def test_a_full_disk_and_a_file_in_the_way_end_in_a_line(folder, capsys):
    disk = files_of_at_most(1000)
    try:
        with after(3, disk.__enter__):
            code, said = stopped(capsys)
    finally:
        disk.__exit__(None, None, None)
    assert code == 2
    assert "Can't write runs/char_lm_rhyme_lstm/" in said[-2]
    assert said[-1].startswith(AGAIN)
    (folder / "other").mkdir()
    (folder / "other" / "rhyme.txt").write_bytes((folder / "rhyme.txt").read_bytes())
    (folder / "other" / "runs").touch()
    with pytest.MonkeyPatch.context() as patches:
        patches.chdir(folder / "other")
        code, said = stopped(capsys)
    assert (code, len(said)) == (2, 1)
    assert "runs is a file; expected a folder" in said[0]


def test_memory_that_is_not_enough_is_said(capsys):
    with after(1, mock.Mock(side_effect=MemoryError)):
        code, said = stopped(capsys)
    assert (code, len(said)) == (2, 1)
    assert "memory of this machine is not enough" in said[0]


def test_a_model_is_saved_whole_or_not_at_all(tmp_path):
    model = keras.Sequential([keras.Input((50,)), keras.layers.Dense(50)])
    path = tmp_path / "model.keras"
    publishing.save_model(model, path)
    before = path.read_bytes()
    for size in (0, 500, 3000, 9000):
        with (
            files_of_at_most(size),
            pytest.raises((publishing.ExportError, OSError), match=r"File too large|Can't write"),
        ):
            publishing.save_model(model, path)
        assert {p.name for p in tmp_path.iterdir()} == {"model.keras", "rhyme.txt"}
        assert path.read_bytes() == before


def test_the_folder_of_a_run_is_made_by_training_only(folder):
    assert run_folder("name").as_posix() == "runs/name"
    assert not (folder / "runs").exists()
