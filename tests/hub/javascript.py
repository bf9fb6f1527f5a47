"""`in_node`: what the JavaScript client makes of files and tokenizers that were written here."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CLIENT = Path(__file__).parents[2] / "clients/js"


def in_node(script: str, folder: Path, **given: Any) -> Any:
    """What a module of JavaScript gives.

    Where CI runs, Node and the client's packages have to be there; elsewhere a test without them is skipped.

    Args:
        script: of a function's body, asynchronous, that has `load`, `loadTokenizer` and what is `given`.
        folder: that `given` is written to.
    """
    if shutil.which("node") is None or not (CLIENT / "node_modules").is_dir():
        missing = "needs Node and clients/js/node_modules (npm ci --ignore-scripts in clients/js, or make test-js)"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    (folder / "given.json").write_text(json.dumps(given), encoding="utf-8")
    module = f"""
        import {{ readFileSync }} from "node:fs";
        const {{ load }} = await import({json.dumps((CLIENT / "src/index.js").as_uri())});
        const {{ loadTokenizer }} = await import({json.dumps((CLIENT / "src/tokenizers.js").as_uri())});
        const given = JSON.parse(readFileSync({json.dumps(str(folder / "given.json"))}, "utf8"));
        const run = async ({{ {", ".join(given)} }}) => {{ {script} }};
        console.log(JSON.stringify(await run(given)));
    """
    command = ["node", "--no-warnings", "--input-type=module", "--eval", module]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout)
