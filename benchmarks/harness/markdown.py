"""Puts a table between its markers in a Markdown file."""

from pathlib import Path


def insert(path: Path, name: str, text: str) -> None:
    """Puts the text between `<!-- name -->` and `<!-- end of name -->`."""
    before, marker, rest = path.read_text(encoding="utf-8").partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- end of {name} -->")
    if not (marker and end):
        raise SystemExit(f"{path} has no markers <!-- {name} --> and <!-- end of {name} -->.")
    path.write_text(f"{before}{marker}\n{text}\n\n{end}{after}", encoding="utf-8")
