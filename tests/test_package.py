"""The package: what its imports load; the wheel, installed in a fresh environment; one version in all places."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import tfseq
from tfseq import runtime

ROOT = Path(__file__).parents[1]
CHAR_LM = ROOT / "exported" / "char_lm_rnn" / "model.onnx"


def loaded_by(statement):
    """The top-level modules that a fresh interpreter holds after `statement`."""
    program = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    return set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )


def test_import_tfseq_loads_nothing_heavy():
    assert loaded_by("import tfseq").isdisjoint({"tensorflow", "keras", "onnx", "onnxruntime", "numpy", "tyro"})


def test_the_runtime_and_the_command_line_do_not_load_tensorflow():
    assert loaded_by("import tfseq.runtime, tfseq.cli").isdisjoint({"tensorflow", "keras", "tf2onnx", "onnx", "jax"})


def test_reading_tokenizers_and_manifests_does_not_load_onnx_runtime():
    assert "onnxruntime" not in loaded_by("from tfseq.runtime import CharacterTokenizer, Manifest")


@pytest.mark.parametrize("name", tfseq.__all__)
def test_every_public_name_loads(name):
    assert getattr(tfseq, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Exporter"):
        _ = tfseq.Exporter


def test_without_tensorflow_a_call_says_what_to_install():
    program = (
        "import sys; sys.modules |= dict.fromkeys(['keras', 'tensorflow', 'onnx', 'tf2onnx']); import tfseq\n"
        "assert hasattr(tfseq, 'export') and not hasattr(tfseq, 'models')\n"
        "from tfseq import Greedy, export\n"
        "for call in (lambda: export(1, 'x.onnx'), lambda: Greedy(), lambda: tfseq.verify, lambda: tfseq.training):\n"
        "    try:\n        call()()\n"
        "    except tfseq.errors.TfseqError as error:\n        print(error)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 4
    assert all(line.endswith('which is not installed: pip install "tfseq[train]".') for line in lines)


@pytest.mark.parametrize("set_by_user", [None, "0"])
def test_opening_a_model_writes_nothing_below_home(set_by_user, tmp_path):
    chosen = {} if set_by_user is None else {"ORT_DISABLE_TELEMETRY": set_by_user}
    program = f"import os, tfseq; tfseq.runtime.load({str(CHAR_LM)!r}); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = os.environ | {"HOME": str(tmp_path)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    told = subprocess.run([sys.executable, "-c", program], env=environment | chosen, capture_output=True, check=True)
    assert told.stdout.split() == [(set_by_user or "1").encode()]
    if set_by_user is None:
        assert not list(tmp_path.rglob("*"))


def run(*command, cwd):
    """What a command prints, where nothing points to the repository."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    result = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, encoding="utf-8"
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """`python -m build` of a copy of the repository: a wheel, made from the source distribution."""
    pytest.importorskip("build.util")  # the package; a folder that is called build has no such module
    copy = tmp_path_factory.mktemp("repository")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("tfseq", "tests", "pipelines", "benchmarks"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "build", "--no-isolation", cwd=copy)
    (wheel,) = copy.glob("dist/*.whl")
    return wheel


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = [path for path in (ROOT / "tfseq").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert held == {path.relative_to(ROOT).as_posix() for path in files if not path.name.startswith(".")}
    assert "tfseq/py.typed" in held


def borrowing(folder, wheel):
    """An environment with the wheel, whose requirements are those that run the tests; nothing is downloaded."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    borrowed = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (packages / "borrowed.pth").write_text("\n".join(borrowed))


def downloading(folder, wheel):
    """An environment with the wheel and the requirements that it declares, in the versions of constraints.txt."""
    run(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    run(folder / "bin" / "pip", "install", "-c", ROOT / "constraints.txt", wheel, cwd=folder)


@pytest.fixture(scope="module", params=[borrowing, pytest.param(downloading, marks=pytest.mark.slow)])
def installed(request, wheel, tmp_path_factory):
    """The programs of an environment that the wheel was installed in."""
    folder = tmp_path_factory.mktemp("installed") / "environment"
    request.param(folder, wheel)
    return folder / "bin"


def test_the_installed_command_line_runs_an_exported_file(installed, tmp_path):
    assert "generate" in run(installed / "tfseq", "--help", cwd=tmp_path)
    written = run(installed / "tfseq", "generate", CHAR_LM, "The ", "--max-length", "40", cwd=tmp_path)
    assert written == "The " + runtime.load(CHAR_LM).generate("The ", max_length=40) + "\n"


def test_there_is_one_version(installed, wheel, tmp_path):
    program = "import tfseq, importlib.metadata as m; print(tfseq.__file__, tfseq.__version__, m.version('tfseq'))"
    home, *versions = run(installed / "python", "-c", program, cwd=tmp_path).split()
    assert Path(home).is_relative_to(installed.parent)
    assert versions == [tfseq.__version__] * 2
    assert wheel.name.split("-")[:2] == ["tfseq", tfseq.__version__]


def test_the_javascript_client_has_the_same_version():
    package, lock = (
        json.loads((ROOT / "clients" / "js" / f"package{part}.json").read_text()) for part in ("", "-lock")
    )
    assert [package["version"], lock["version"], lock["packages"][""]["version"]] == [tfseq.__version__] * 3


def test_the_changelog_ends_its_news_with_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    unreleased, released, *_ = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert (unreleased, released) == ("Unreleased", tfseq.__version__)
