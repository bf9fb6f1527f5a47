"""Interpretable hidden units of a character-level language model: search, scores, coloured text.

After Karpathy et al. (2015): the hidden state is recorded along a text; the unit that best follows a property of the
text that has a name is chosen on one part of the text and scored on another; and the text is shown coloured by the
unit's activation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfseq.analysis.palette import BLUE, ORANGE
from tfseq.errors import InputError
from tfseq.layers.loops import compiled
from tfseq.runtime.atomic_write import atomic_write

STREAMS, WARM_UP = 256, 100  # parts of the text in a batch; tokens that each reads before its own part


def hidden_states(model: Any, tokens: Sequence[int] | np.ndarray, streams: int = STREAMS) -> dict[str, np.ndarray]:
    """The hidden state of a recurrent language model after each token of a text.

    Args:
        model: a `tfseq.models.Generator` without sources, whose state is vectors, such as RecurrentLanguageModel.
        tokens: the text, (time,).
        streams: parts of the text that are read as one batch; each begins 100 tokens early, to warm its state up.

    Returns:
        "layer 1 h", "layer 1 c" (LSTM) and so on: (time, units) float32 each.

    Raises:
        InputError: the model is none of these, or the text is empty.
    """
    tokens = np.asarray(tokens, "int32")
    if tokens.ndim != 1 or not len(tokens):
        raise InputError(f"Tokens are of shape {tokens.shape}; expected (time,), at least one token.")
    if not hasattr(model, "initial_state") or getattr(model, "sources", None):
        raise InputError(f"{type(model).__name__} is no recurrent language model; its state can't be followed.")
    part = -(-len(tokens) // streams)
    rows = -(-len(tokens) // part)
    starts = np.maximum(np.arange(rows) * part - WARM_UP, 0)
    warm_up = np.arange(rows) * part - starts  # of each row
    state = model.initial_state((), rows)
    names = _names(state)
    read = compiled(lambda token, state: model.step(token, state, ())[1])  # eagerly a step takes ten times as long
    recorded: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for step in range(part + warm_up.max()):
        at = np.minimum(starts + step, len(tokens) - 1)
        state = read(keras.ops.convert_to_tensor(tokens[at]), state)
        for name, vectors in zip(names, keras.tree.flatten(state)):
            recorded[name].append(keras.ops.convert_to_numpy(keras.ops.cast(vectors, "float32")))
    own = warm_up[:, None] + np.arange(part)  # (rows, part)
    return {
        name: np.stack(vectors, axis=1)[np.arange(rows)[:, None], own].reshape(rows * part, -1)[: len(tokens)]
        for name, vectors in recorded.items()
    }


def _names(state):
    leaves = keras.tree.flatten(state)
    if not leaves or any(len(leaf.shape) != 2 for leaf in leaves):
        raise InputError("The model's state is not made of vectors; expected that of an RNN, GRU or LSTM.")
    return [f"layer {layer + 1} {'hc'[i]}" for layer, parts in enumerate(state) for i in range(len(parts))]


def inside_quotes(text: str) -> np.ndarray:
    """Whether each character is between double quotes, the opening one included, (time,) bool; empty lines end it."""
    return _inside(text, lambda character, inside: character == '"' and not inside, '"')


def inside_brackets(text: str) -> np.ndarray:
    """Whether each character is between round brackets, the opening one included, (time,) bool; they don't nest."""
    return _inside(text, lambda character, inside: character == "(", ")")


def _inside(text, opens, closing):
    now, inside = False, []
    for character, after in zip(text, text[1:] + " "):
        if opens(character, now):
            now = True
        elif character == closing or (character == "\n" and after == "\n"):
            now = False
        inside.append(now)
    return np.array(inside, bool)


def position_in_line(text: str) -> np.ndarray:
    """Characters since the line began, this one included, (time,) int; 0 at the line's end."""
    position, positions = 0, []
    for character in text:
        position = 0 if character == "\n" else position + 1
        positions.append(position)
    return np.array(positions, int)


def indentation(text: str) -> np.ndarray:
    """Blanks that the line began with, as far as it has been read, (time,) int."""
    blanks, leading, found = 0, True, []
    for character in text:
        if character == "\n":
            blanks, leading = 0, True
        elif character == " " and leading:
            blanks += 1
        else:
            leading = False
        found.append(blanks)
    return np.array(found, int)


TRACKED: dict[str, Callable[[str], np.ndarray]] = {
    "inside quotes": inside_quotes,
    "inside brackets": inside_brackets,
    "position in the line": position_in_line,
    "indentation": indentation,
}


def roc_auc(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The chance that a character with the label has a higher value than one without; equal values count half.

    Args:
        values: (time, units).
        labels: (time,) bool, of both kinds.

    Returns:
        (units,): 1 and 0 separate perfectly, 0.5 says nothing.
    """
    positive = int(labels.sum())
    negative = len(labels) - positive
    areas = []
    for column in values.T:
        _, place, counts = np.unique(column, return_inverse=True, return_counts=True)
        ranks = np.cumsum(counts) - (counts - 1) / 2  # the mean rank of equal values, from 1
        areas.append((ranks[place][labels].sum() - positive * (positive + 1) / 2) / (positive * negative))
    return np.array(areas)


def correlation(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each unit with a number, (units,); 0 for a unit that never moves.

    Args:
        values: (time, units).
        labels: (time,).
    """
    values = values - values.mean(axis=0, dtype="float64")
    labels = labels - labels.mean()
    size = np.sqrt((values**2).sum(axis=0) * (labels**2).sum())
    return labels @ values / np.where(size > 0, size, 1)


@dataclass(frozen=True)
class Unit:
    """One dimension of the state that follows something.

    Attributes:
        tracks: what it follows.
        part: of the state, such as "layer 1 c".
        index: in that part.
        sign: 1 if it is high where there is more of it, -1 if it is low there.
        measure: "ROC AUC" for what is or is not, where 0.5 is chance; "correlation" for numbers, where 0 is.
        found: the score where the unit was chosen, its sign turned.
        held_out: the score on text that played no part in the choice.
    """

    tracks: str
    part: str
    index: int
    sign: int
    measure: str
    found: float
    held_out: float

    def __str__(self) -> str:
        return f"{self.part}[{self.index}]"


def find_unit(tracks: str, states: Mapping[str, np.ndarray], labels: np.ndarray, fraction: float = 0.5) -> Unit:
    """The unit that follows the labels best, chosen on the first part of the text and scored on the rest.

    Args:
        tracks: what the labels are, for people.
        states: as `hidden_states` returns them.
        labels: (time,): bool for what is or is not, else numbers.
        fraction: of the text to choose on.

    Raises:
        InputError: in one of the two parts the labels are all the same.
    """
    cut = int(len(labels) * fraction)
    choose, score = labels[:cut], labels[cut:]
    if not (len(np.unique(choose)) > 1 and len(np.unique(score)) > 1):
        raise InputError(f"{tracks}: all the same in a part of the text; give a longer text that has it.")
    measure, name, chance = (roc_auc, "ROC AUC", 0.5) if labels.dtype == bool else (correlation, "correlation", 0.0)
    scores = {part: measure(values[:cut], choose) - chance for part, values in states.items()}
    part = max(scores, key=lambda part: np.abs(scores[part]).max())
    index = int(np.abs(scores[part]).argmax())
    sign = 1 if scores[part][index] >= 0 else -1
    held_out = measure(states[part][cut:, index : index + 1], score)[0] - chance
    found, held_out = (float(chance + sign * value) for value in (scores[part][index], held_out))
    return Unit(tracks, part, index, sign, name, found, held_out)


@dataclass(frozen=True, eq=False)
class Tracking:
    """A unit, beside the best one of a network that has learned nothing, and some held-out text.

    Attributes:
        unit: of the trained model.
        untrained: the best one of the same architecture with random weights, chosen and scored in the same way.
        text: from the held-out part, where what it tracks changes most.
        activations: of the unit there, from -1 to 1, positive where there is more of it, (characters,).
    """

    unit: Unit
    untrained: Unit
    text: str
    activations: np.ndarray


@dataclass(frozen=True, eq=False)
class Explanation:
    """What `explain` found, by what is tracked."""

    trackings: tuple[Tracking, ...]

    def __str__(self) -> str:
        lines = ["the unit that follows it best, on text that played no part in the choice:"]
        for tracking in self.trackings:
            unit, untrained = tracking.unit, tracking.untrained
            lines.append(
                f"  {unit.tracks:21} {unit!s:16} {unit.measure} {unit.held_out:.2f}   "
                f"(best of untrained units: {untrained.held_out:.2f})"
            )
        return "\n".join(lines)


def explain(model: Any, tokenizer: Any, text: str, characters: int = 1200) -> Explanation:
    """Searches a character model for units that follow quotes, brackets, the position in the line and indentation.

    Args:
        model: as `hidden_states` takes it, trained.
        tokenizer: one token per character.
        text: that the model was not trained on; units are chosen on its first half and scored on its second.
        characters: of text to colour.

    Raises:
        InputError: the tokenizer is not of characters, the model is none of these, or nothing can be tracked.
    """
    tokens = tokenizer.encode(text)
    if len(tokens) != len(text):
        raise InputError(f"The tokenizer makes {len(tokens)} tokens of {len(text)} characters; expected one of each.")
    states, untrained_states = hidden_states(model, tokens), hidden_states(untrained(model), tokens)
    trackings = []
    cut = len(text) // 2
    for tracks, label in TRACKED.items():
        labels = label(text)
        try:
            unit = find_unit(tracks, states, labels)
        except InputError:
            continue  # the text has none of it
        values = activations(states, unit)[cut:]
        where = _most_varied(labels[cut:], text[cut:], characters)
        trackings.append(Tracking(unit, find_unit(tracks, untrained_states, labels), text[cut:][where], values[where]))
    if not trackings:
        raise InputError(f"The text has nothing that is tracked ({', '.join(TRACKED)}); give another, or a longer one.")
    return Explanation(tuple(trackings))


def untrained(model: keras.Model, seed: int = 0) -> keras.Model:
    """The same architecture with random weights."""
    keras.utils.set_random_seed(seed)
    fresh = model.__class__.from_config(model.get_config())
    fresh.build((None, None))
    return fresh


def activations(states: Mapping[str, np.ndarray], unit: Unit) -> np.ndarray:
    """A unit's activations for colouring, from -1 to 1: their distance from the mean, in what 98 % stay below."""
    values = states[unit.part][:, unit.index] * unit.sign
    values = values - values.mean()
    return np.clip(values / max(np.quantile(np.abs(values), 0.98), 1e-9), -1, 1)


def _most_varied(labels, text, length, width=80):
    """A slice of whole lines, about `length` long, in which the labels vary most; of short lines, if there is one."""
    starts = [0, *(i + 1 for i, character in enumerate(text) if character == "\n")]
    starts = [start for start in starts if start + length <= len(text)] or [0]
    short = [start for start in starts if max(map(len, text[start : start + length].split("\n"))) <= width]
    best = max(short or starts, key=lambda start: labels[start : start + length].astype("float64").std())
    end = text.find("\n", best + length)
    return slice(best, end if 0 <= end < best + 2 * length else best + length)


def coloured_html(data: Explanation) -> str:
    """A page that shows each text in the colours of its unit: orange where it is high, blue where it is low."""
    sections = [
        f"<h2>{escape(t.unit.tracks)}: {escape(str(t.unit))}</h2>\n"
        f"<p>{t.unit.measure} {t.unit.held_out:.2f} on held-out text; the best unit of an untrained network: "
        f"{t.untrained.held_out:.2f}.</p>\n"
        f"<pre>{_coloured_text(t.text, t.activations)}</pre>"
        for t in data.trackings
    ]
    return _PAGE.format(low=_colour(-1), none=_colour(0), high=_colour(1), sections="\n".join(sections))


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Hidden units</title>
<style>
body {{ font-family: sans-serif; max-width: 60em; margin: 2em auto; color: #000; background: #fff; }}
pre {{ font-size: 1.05em; line-height: 1.35; white-space: pre-wrap; }}
.bar {{ display: inline-block; width: 12em; height: 1em;
  background: linear-gradient(to right, {low}, {none}, {high}); }}
</style>
</head>
<body>
<h1>What single hidden units follow</h1>
<p>Each character has the colour of one unit after the model has read it.
Low <span class="bar"></span> high</p>
{sections}
</body>
</html>
"""


def _coloured_text(text, values):
    """Spans of characters of one colour."""
    colours = [_colour(value) for value in values]
    spans, start = [], 0
    for i in range(1, len(text) + 1):
        if i == len(text) or colours[i] != colours[start]:
            spans.append(f'<span style="background:{colours[start]}">{escape(text[start:i])}</span>')
            start = i
    return "".join(spans)


def _colour(value):
    """White at 0, blue towards -1, orange towards 1, in 20 shades each, as #rrggbb."""
    full = ORANGE if value > 0 else BLUE
    amount = round(abs(float(value)) * 20) / 20
    channels = (round(255 + (int(full[i : i + 2], 16) - 255) * amount) for i in (1, 3, 5))
    return "#" + "".join(f"{channel:02x}" for channel in channels)


def write_html(data: Explanation, path: Path) -> None:
    """Writes `coloured_html` to a file."""
    with atomic_write(path) as temporary:
        temporary.write_text(coloured_html(data), encoding="utf-8")


def plot(data: Explanation, path: Path, width: int = 80, lines: int = 7) -> None:
    """Draws what `explain` returned as a PNG: for each thing that is tracked, some lines in the colours of its unit.

    Args:
        data: as `explain` returned it.
        path: where the picture goes.
        width: characters in a line; longer ones are wrapped.
        lines: of each text.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.23 * len(data.trackings) * (lines + 3)), layout="constrained")
    for axes, tracking in zip(figure.subplots(len(data.trackings), 1, squeeze=False).flat, data.trackings):
        unit = tracking.unit
        score = f"{unit.measure} {unit.held_out:.2f} (untrained network: {tracking.untrained.held_out:.2f})"
        axes.set_title(f"{unit.tracks}: {unit}, {score}", fontsize=10, loc="left")
        _draw_text(axes, tracking.text, tracking.activations, width, lines)
    figure.supxlabel("orange: the unit is high after this character, blue: low", fontsize=10)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=80, format="png")


def _draw_text(axes, text, values, width, lines):
    from matplotlib.colors import to_rgb

    cells = np.ones((lines, width, 3))
    row = column = 0
    for character, value in zip(text, values):
        if character == "\n" and column == 0:
            continue  # no room for empty lines
        if column == width:
            row, column = row + 1, 0
        if row == lines:
            break
        cells[row, column] = to_rgb(_colour(value))
        if character == "\n":
            row, column = row + 1, 0
            continue
        if character.isprintable():
            shown = character.replace("$", r"\$")  # which would begin a formula
            axes.text(column, row, shown, ha="center", va="center", family="monospace", fontsize=7.5)
        column += 1
    axes.imshow(cells, aspect="auto", interpolation="nearest")
    axes.set_axis_off()
