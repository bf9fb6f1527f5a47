"""The first line of a run: the precision that it trains in, and why."""

from dataclasses import dataclass

import pytest

pytest.importorskip("tensorflow")

from pipelines.parts.presets import with_precision
from tfseq.training import precision
from tfseq.training.checkpoint import save_checkpoint


@dataclass(frozen=True)
class Settings:
    precision: str = "auto"
    resume: bool = False


@pytest.fixture(autouse=True)
def machine_without_bfloat16(monkeypatch):
    monkeypatch.setattr(precision, "_decided", lambda: ("float32", "this CPU has no instructions for bfloat16"))


def test_auto_is_decided_and_said(tmp_path, capsys):
    assert with_precision(Settings(), tmp_path).precision == "float32"
    assert capsys.readouterr().out == "Training in float32: this CPU has no instructions for bfloat16.\n"


def test_an_explicit_precision_stays(tmp_path, capsys):
    assert with_precision(Settings("mixed_bfloat16"), tmp_path).precision == "mixed_bfloat16"
    assert capsys.readouterr().out == "Training in mixed_bfloat16: as asked.\n"


def test_a_resumed_run_keeps_the_precision_of_the_machine_it_began_on(tmp_path, capsys):
    save_checkpoint(tmp_path / "checkpoint.npz", [], {"precision": "mixed_bfloat16"})
    assert with_precision(Settings(resume=True), tmp_path).precision == "mixed_bfloat16"
    assert capsys.readouterr().out == "Training in mixed_bfloat16: as the run began.\n"
    assert with_precision(Settings(), tmp_path).precision == "float32"  # a new run is this machine's
