"""One process at a time holds a folder, until it ends, however it does."""

import os
import subprocess
import sys

import pytest

from tfseq.folder_lock import locked

pytest.importorskip("fcntl")

HOLD = """
import sys
from tfseq.folder_lock import locked
with locked(sys.argv[1]) as taken:
    print(taken, flush=True)
    input()
"""


def test_a_lock_is_held_by_one_and_let_go_by_a_kill(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as holder:
        assert holder.stdout.readline() == "True\n"
        with locked(tmp_path) as taken:
            assert not taken
        holder.kill()
    with locked(tmp_path) as taken, locked(tmp_path) as again:
        assert taken
        assert not again
    with locked(tmp_path) as taken:
        assert taken


def test_a_folder_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), locked(tmp_path / "missing"):
        pass
