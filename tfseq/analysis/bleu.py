"""BLEU of translations by sacrebleu: of a corpus, and by the length of the sources, with a plot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from tfseq.data.optional_packages import import_package
from tfseq.errors import InputError
from tfseq.runtime.atomic_write import atomic_write

EDGES = (8, 11, 14, 18)  # longest source of each group but the last, in words


@dataclass(frozen=True)
class OfLength:
    """BLEU of the texts whose sources have a similar length.

    Attributes:
        shortest, longest: lengths of the shortest and the longest source, in words.
        texts: number of texts.
        bleu: from 0 to 100.
    """

    shortest: int
    longest: int
    texts: int
    bleu: float


def bleu(written: Sequence[str], references: Sequence[str | Sequence[str]], lowercase: bool = True) -> float:
    """Corpus BLEU (Papineni et al., 2002) from 0 to 100, with sacrebleu's tokenizer 13a and smoothing.

    Args:
        written: translations, or captions.
        references: one of each, or a list of several; their number may differ.
        lowercase: whether to ignore case.

    Raises:
        DataError: sacrebleu is not installed.
        InputError: there is no text, or not as many of both, or one without a reference.
    """
    if not written or len(written) != len(references):
        raise InputError(f"{len(written)} translations and {len(references)} references; expected one for each.")
    several = [[texts] if isinstance(texts, str) else list(texts) for texts in references]
    if not all(several):
        raise InputError("A text has no reference; expected at least one for each.")
    sacrebleu = import_package("sacrebleu", "sacrebleu", "Measuring translations")
    columns = list(zip_longest(*several))  # the first reference of each text, the second or None, ...
    return float(sacrebleu.corpus_bleu(list(written), columns, lowercase=lowercase).score)


def bleu_by_length(
    sources: Sequence[str],
    written: Sequence[str],
    references: Sequence[str],
    lowercase: bool = True,
    edges: Sequence[int] = EDGES,
) -> list[OfLength]:
    """`bleu` of texts grouped by the number of words in their sources; groups without a text are left out.

    Args:
        sources: texts that were translated; words are what spaces part.
        edges: longest source of each group but the last, rising.
    """
    groups: list[list[int]] = [[] for _ in range(len(edges) + 1)]
    words = [len(source.split()) for source in sources]
    for row, count in enumerate(words):
        groups[sum(count > edge for edge in edges)].append(row)
    return [
        OfLength(
            min(words[row] for row in rows),
            max(words[row] for row in rows),
            len(rows),
            bleu([written[row] for row in rows], [references[row] for row in rows], lowercase),
        )
        for rows in groups
        if rows
    ]


def plot_bleu_by_length(models: Mapping[str, Sequence[OfLength]], path: Path, title: str = "") -> None:
    """Writes a PNG: a line per model over the length of sources.

    Args:
        models: name -> `bleu_by_length` of the same sources.
        path: where the picture goes.
        title: what was translated.
    """
    from matplotlib.figure import Figure

    from tfseq.analysis.palette import COLORS

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    best_first = sorted(models.items(), key=lambda model: -model[1][-1].bleu)  # as the lines end
    for (name, groups), color in zip(best_first, COLORS):
        axes.plot([group.bleu for group in groups], "o-", color=color, label=name)
    groups = next(iter(models.values()))
    axes.set_xticks(range(len(groups)), [f"{g.shortest} to {g.longest}\n({g.texts} texts)" for g in groups])
    axes.set(xlabel="words of the source", ylabel="BLEU", title=title)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")
