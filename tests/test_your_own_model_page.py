"""docs/your_own_model.md, followed from an empty folder: every block, in the order in which they stand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tensorflow")
import tfseq
from tests.pages import blocks


def follow(page):
    """Runs every block of a page; what the Python blocks define."""
    defined: dict = {"__name__": "page"}
    for block in blocks(page):
        match block.language:
            case "python":
                block.run(defined)
            case "sh":
                paths = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
                subprocess.run(["bash", "-ec", block.code], check=True, env=os.environ | paths)
            case other:
                raise AssertionError(f"docs/{page}:{block.line} is of {other or 'nothing'}; expected python or sh.")
    return defined


def test_your_own_model(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    defined = follow("your_own_model.md")
    told = capsys.readouterr().out
    assert "Hasty.step returned logits of shape (3, 1, 20); expected (batch, vocabulary)" in told
    texts, answers = defined["texts"], defined["answers"]

    def right(file, given):
        settings = {"temperature": 0.0} if file == "writer.onnx" else {}
        return sum(map(str.__eq__, tfseq.runtime.load(file).generate(given, **settings), answers))

    for file in ("roman.onnx", "roman.step.onnx"):
        assert Path(file).is_file()
    assert right("roman.onnx", texts) > 0.8 * len(texts)
    for file in ("writer.onnx", "rememberer.onnx"):
        assert right(file, [f"{text}=" for text in texts]) > 0.8 * len(texts)
    pieces = tfseq.runtime.stream("roman.step.onnx", "48", max_length=20)
    assert "".join(pieces) == tfseq.runtime.load("roman.onnx").generate("48")
