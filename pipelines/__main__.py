"""`python -m pipelines`: what there is to train. Nothing is imported to say so, so it says it at once."""

import ast
import re
from pathlib import Path

COLUMNS = ("pipeline", "learns from", "makes", "quick")


def listing() -> list[tuple[str, str, str, str]]:
    """Name, data, product and duration of `quick` of every script beside this one, as its docstring says them."""
    rows = []
    for script in sorted(Path(__file__).parent.glob("[!_]*.py")):
        docstring = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
        said = dict(re.findall(r"^(Learns from|Makes|Quick): (.+)\.$", docstring, re.MULTILINE))
        rows.append((script.stem, said["Learns from"], said["Makes"], said["Quick"]))
    return rows


def main() -> None:
    rows = [COLUMNS, *listing()]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    print(
        "\nRun one by `python -m pipelines.NAME quick`, or `full`. --help lists presets, `quick --help` all settings."
        "\nWhat quick takes, everything included: two at a time on two AVX2 cores; char_lm alone, explain on AVX-512."
    )


if __name__ == "__main__":
    main()
