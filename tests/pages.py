"""`blocks`: the code of a document, as a reader takes it from there."""

import re
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[1] / "docs"


class Block(NamedTuple):
    """Code between fences: its language, its text, and its place."""

    language: str
    code: str
    page: str
    line: int

    def run(self, names: dict) -> None:
        """Runs Python; what it defines is in `names` then. A traceback names the page and the line."""
        exec(compile("\n" * self.line + self.code, f"docs/{self.page}", "exec"), names)


def blocks(page: str) -> list[Block]:
    """Every block of a page of docs/, in order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [Block(each[1], each[2], page, text[: each.start()].count("\n") + 1) for each in found]


def block(page: str, beginning: str) -> Block:
    """The one block that has this text."""
    (found,) = (each for each in blocks(page) if beginning in each.code)
    return found
