"""An artefact's card: what it is, what it was trained on, how well it does, and whether it equals its model."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfseq.runtime.atomic_write import atomic_write
from tfseq.runtime.manifest import Manifest
from tfseq.runtime.manifest_table import describe


@dataclass(frozen=True)
class Card:
    """What `card.md` says.

    Attributes:
        what: the architecture, in a line.
        name: of the artefact.
        scores: name -> number, on held-out data.
        settings: of the pipeline, JSON-able but for paths.
        sample: of what the file writes or answers.
        pictures: names of PNG files beside it.
        manifest: of the exported file.
    """

    what: str
    name: str
    scores: Mapping[str, float]
    settings: dict[str, Any]
    sample: str
    pictures: Sequence[str]
    manifest: Manifest

    def write(self, path: Path) -> None:
        file = path.parent / "model.onnx"
        scores = "\n".join(f"| {name.replace('_', ' ')} | {value:g} |" for name, value in self.scores.items())
        pictures = "\n".join(f"![{Path(name).stem.replace('_', ' ')}]({name})" for name in self.pictures)
        text = f"""# {self.name}

{self.what}.

    {self._command()}

| score | |
|---|---|
{scores}

{pictures}

## A sample

From `model.onnx`, run by ONNX Runtime:

{_indented(self.sample)}

## The file

{_indented(describe(self.manifest, file.stat().st_size))}

## Settings

```json
{json.dumps(self.settings, indent=1, default=_file_name)}
```
"""
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def _command(self) -> str:
        spec = sys.modules["__main__"].__spec__
        arguments = [f"PATH/TO/{Path(a).name}" if "/" in a else a for a in sys.argv[1:]]
        return " ".join(["python -m", spec.name if spec else "pipelines", *arguments])


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())


def _file_name(path: Path) -> str:
    return path.name  # a card says nothing of the machine it was made on
