"""CONTRIBUTING.md names paths, modules, names in them and make targets: they are all there, and its commands run."""

import ast
import re
import shutil
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PACKAGES = ("tfseq", "pipelines", "benchmarks")
MADE = (".venv/", "runs/")  # by commands, and not in git
# No part of a path, such as docs/pipelines.md.
DOTTED = re.compile(rf"(?<![/\w])(?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+")


def stale(text):
    """What the code in a text names that is not in the repository.

    Paths, modules and make targets have to be there, NAME in a path standing for any; a name alone has to be in the
    files that its paragraph, row or list item names, or else in any of ours.
    """
    blocks = [[block] for block in re.findall(r"(?<=\n\n)(?: {4}.*\n)+", text)]
    items = [re.findall(r"`([^`]+)`", item) for item in re.split(r"\n\n|\n *(?:-|\d\.|\|) ", text)]
    found = []
    for spans in [*blocks, *items]:
        code = "\n".join(spans)
        paths = [word for word in re.split(r"[\s\"=]+", code) if _is_path(word)]
        names = [span for span in spans if re.fullmatch(r"[A-Za-z_]\w*", span) and span not in ("Makefile", "NAME")]
        read = _read(*paths) or _read(*PACKAGES, "pyproject.toml")
        targets = re.findall(r"\bmake ([a-z][a-z-]*)", code)
        found += [path for path in paths if not _exists(path)]
        found += [name for name in names if not re.search(rf"\b{name}\b", read)]
        found += [f"make {name}" for name in targets if not re.search(rf"^{name}:", _read("Makefile"), re.MULTILINE)]
        found += [module for module in DOTTED.findall(code) if not _holds(module)]
    return found


def _is_path(word):
    return re.fullmatch(r"[\w./-]+/[\w./-]*|[\w-]+\.(md|toml|txt)|Makefile", word)


def _exists(path):
    known = path.split("NAME")[0].rpartition("/")[0] if "NAME" in path else path
    return path.startswith(MADE) or (ROOT / known).exists()


@cache
def _read(*paths):
    files = [file for path in paths for file in ((ROOT / path), *(ROOT / path).rglob("*.py")) if file.is_file()]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def _holds(module):
    """Whether there is such a module, or a name in one."""
    parent, _, name = module.replace(".", "/").rpartition("/")
    is_module = (ROOT / parent / f"{name}.py").is_file() or (ROOT / parent / name).is_dir()
    return is_module or re.search(rf"\b{name}\b", _read(f"{parent}.py", f"{parent}/__init__.py"))


def test_everything_it_names_is_there():
    assert stale(TEXT) == []


@pytest.mark.parametrize(
    "wrong",
    [
        "A module, `tfseq/decoding/gone.py`.",
        "A folder, `tests/gone/`.",
        "A placeholder in a folder that is not there: `pipelines/gone/NAME.py`.",
        "`gone_function` in `tfseq/decoding/loop.py`.",
        "`search` is there, but not in `tfseq/decoding/greedy.py`.",
        "`gone_anywhere_at_all`.",
        "Run `make gone`.",
        "Run it:\n\n    python -m benchmarks.gone --write docs/export.md\n",
        "Run it:\n\n    python -m pytest tests/gone.py\n",
        "The class `tfseq.models.Gone`.",
    ],
)
def test_what_is_not_there_is_found(wrong):
    assert len(stale(wrong)) == 1


def test_what_is_there_is_left_alone():
    right = "`search` in `tfseq/decoding/beam.py`, `decode` (`tfseq/decoding`), `tfseq.models.Generator`, `make lint`, "
    assert stale(right + "`pipelines/NAME.py`:\n\n    python -m benchmarks.export --write docs/export.md\n") == []


def test_it_shows_the_layers_that_the_import_contracts_check():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layered = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    assert len(layered) == 2
    for layers in layered:
        drawn = " -> ".join(layer.replace("tfseq.", "").replace(" | ", ", ") for layer in layers)
        assert drawn in " ".join(TEXT.split())


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_the_table_of_contents_has_a_line_for_every_module_and_each_says_something():
    folders = ["tfseq", "pipelines", "benchmarks"]
    command = ["make", "--silent", "contents", f"FOLDERS={' '.join(folders)}"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=True).stdout
    lines = dict(line.split(maxsplit=1) for line in printed.splitlines())
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
            assert docstring, path
            assert lines.pop(path.relative_to(ROOT).as_posix(), "") == docstring.splitlines()[0], path
    assert lines == {}
