"""`python -m pipelines`, and what each script's `--help` says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines.command_line import run_pipeline

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.stem for path in (ROOT / "pipelines").glob("[!_]*.py"))


def run(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, env=os.environ | {"COLUMNS": "120"}
    )


def test_every_script_is_listed_with_its_data_product_and_duration():
    done = run("-m", "pipelines")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    rows = {line.split()[0]: re.split(r"\s{2,}", line) for line in lines[1 : lines.index("")]}
    assert sorted(rows) == SCRIPTS
    assert all(len(row) == 4 and row[3].endswith((" s", " min")) for row in rows.values())
    assert max(map(len, lines)) <= 120


def test_the_listing_loads_no_tensorflow():
    loaded = run("-X", "importtime", "-m", "pipelines").stderr
    assert "pipelines" in loaded
    assert "tensorflow" not in loaded


@pytest.mark.parametrize("script", SCRIPTS)
def test_commands_of_a_docstring_stand_on_lines_of_their_own(script):
    """tyro joins lines that begin with a letter; those that are indented it leaves alone."""
    docstring = (ROOT / "pipelines" / f"{script}.py").read_text(encoding="utf-8").split('"""')[1]
    commands = [line for line in docstring.splitlines() if "python -m pipelines" in line]
    assert commands
    assert all(line.startswith("    python -m pipelines") for line in commands)


def test_help_shows_commands_line_by_line_and_hints_name_the_program(monkeypatch, capsys):
    shown = run("-m", "pipelines.char_lm", "--help").stdout
    assert re.search(r"^ +python -m pipelines\.char_lm full --data FILE .*\n +python -m", shown, re.MULTILINE)
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as ended:
        run_pipeline("char_lm", "quick", "--unit", "3")
    assert ended.value.code == 2
    assert "in python -m pipelines.char_lm quick --help" in " ".join(capsys.readouterr().err.split())
