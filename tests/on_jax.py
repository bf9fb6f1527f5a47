"""A process on Keras' JAX backend that runs what tests hand it: one for all, as starting it takes long."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# Each operator is compiled for a handful of runs, so that optimizing it takes longer than it saves.
QUICK_TO_COMPILE = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
ENVIRONMENT = {
    "KERAS_BACKEND": "jax",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {QUICK_TO_COMPILE}".strip(),
}

# Reads a line of JSON per script, [code, arguments], and answers with the traceback, or null.
_SERVER = """
import json, sys, traceback
answers, sys.stdout = sys.stdout, sys.stderr  # what scripts print is no answer
for line in sys.stdin:
    code, sys.argv = json.loads(line)
    paths = list(sys.path)
    try:
        exec(compile(code, "on_jax", "exec"), {"__name__": "on_jax"})
        problem = None
    except BaseException:
        problem = traceback.format_exc()
    sys.path[:] = paths
    print(json.dumps(problem), file=answers, flush=True)
"""


class OnJax:
    """Runs scripts on JAX: `on_jax(code, *arguments)`, which the code finds in `sys.argv[1:]`.

    Raises:
        AssertionError: the script failed; with its traceback.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, code: str, *arguments: Any) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[1],
                env=os.environ | ENVIRONMENT,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([code, ["on_jax", *map(str, arguments)]]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"The process on JAX ended with exit code {self._process.wait()}."
        problem = json.loads(answer)
        assert problem is None, problem

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
