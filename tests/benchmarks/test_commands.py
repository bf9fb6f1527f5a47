"""Every module at the top of benchmarks/ is a command, and its --help says what it measures and how it is run."""

import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks

pytest.importorskip("tensorflow")

FOLDER = Path(benchmarks.__file__).parent
PARTS = ("harness", "peers", "__init__")
COMMANDS = sorted(
    path.stem
    for path in FOLDER.iterdir()
    if (path.suffix == ".py" or (path / "__init__.py").exists()) and path.stem not in PARTS
)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_the_docstring_and_every_option(name):
    command = [sys.executable, "-m", f"benchmarks.{name}", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER.parent)
    assert done.returncode == 0, done.stderr
    assert f"python -m benchmarks.{name}" in done.stdout
    assert "{'" not in done.stdout  # a percent sign that argparse filled in
