"""Engraving a tune as sheet music: staff, clef, signatures, notes, beams, rests, ties, bars, repeats and endings.

music21 parses and beams the tune; its own pictures need an engraving program, this one matplotlib alone.
Lengths are in staff spaces, the distance of two lines; height 0 is the lowest line, the E above middle C.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tfseq.analysis.abc_to_midi import parsed

LINE_WIDTH = 92.0  # of a staff
POINTS = 72 * 9 / (LINE_WIDTH + 4)  # of a staff space in a picture 9 inches wide
GAP = 12.0  # from one staff to the next
STEM = 3.3
LOWEST_LINE = 31  # music21's number of the E above middle C, which grows by 1 from white key to white key
SIGNS = {-2: "♭♭", -1: "♭", 0: "♮", 1: "♯", 2: "×"}
KEY_HEIGHTS = {"sharps": (4, 2.5, 4.5, 3, 1.5, 3.5, 2), "flats": (2, 3.5, 1.5, 3, 1, 2.5, 0.5)}


def plot_score(tune: str, path: Path, title: str = "") -> None:
    """Draws a tune in ABC notation, one melody without chords' fingerings or words.

    Args:
        tune: what music21 can parse.
        path: of the PNG file.
        title: above the first staff.

    Raises:
        DataError: music21 can't read the tune, or is not installed.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    part = parsed(tune).parts[0]
    systems = _systems([_Measure(measure) for measure in part.getElementsByClass("Measure")])
    height = GAP * len(systems) + (3 if title else 0)
    figure, axes = plt.subplots(figsize=(9, 9 * height / (LINE_WIDTH + 4)))
    key = part.recurse().getElementsByClass("KeySignature").first()
    for row, measures in enumerate(systems):
        _draw_system(_Pen(axes, -GAP * row), measures, key.sharps if key else 0, last=row == len(systems) - 1)
    _mark_endings(axes, part, systems)
    if title:
        axes.text(LINE_WIDTH / 2, 8.0, title, ha="center", fontsize=11)
    axes.set(xlim=(-2, LINE_WIDTH + 2), ylim=(-GAP * len(systems) + 6, 11 if title else 8), aspect="equal")
    axes.axis("off")
    figure.savefig(path, dpi=100, bbox_inches="tight", pad_inches=0.1)
    plt.close(figure)


class _Measure:
    """One bar: its notes and rests, and how far each stands from the one before."""

    def __init__(self, measure: Any):
        self.source = measure
        self.notes = [n for n in measure.notesAndRests if not n.duration.isGrace]
        self.metre = measure.timeSignature
        self.starts_repeat = _is_repeat(measure.leftBarline, "start")
        self.right = measure.rightBarline
        self.left_room = (3.0 if self.metre else 0.0) + (2.2 if self.starts_repeat else 0.8)
        self.steps = [_room(note) for note in self.notes]
        self.begin = self.end = 0.0  # where its bar lines stand, once it has been drawn

    @property
    def width(self) -> float:
        return self.left_room + sum(self.steps) + 0.8


def _room(note: Any) -> float:
    signed = any(_sign(pitch) for pitch in getattr(note, "pitches", ()))
    return 1.7 + 1.1 * float(note.duration.quarterLength) ** 0.7 + 0.5 * note.duration.dots + (0.9 if signed else 0.0)


def _sign(pitch: Any) -> str:
    shown = pitch.accidental is not None and pitch.accidental.displayStatus
    return SIGNS.get(int(pitch.accidental.alter), "") if shown else ""


def _is_repeat(barline: Any, direction: str) -> bool:
    return getattr(barline, "direction", None) == direction


def _systems(measures: Sequence[_Measure]) -> list[list[_Measure]]:
    """Fills one staff after the other."""
    systems: list[list[_Measure]] = [[]]
    for measure in measures:
        if systems[-1] and sum(m.width for m in systems[-1]) + measure.width > LINE_WIDTH - 9:
            systems.append([])
        systems[-1].append(measure)
    return systems


def _draw_system(pen: "_Pen", measures: Sequence[_Measure], sharps: int, last: bool) -> None:
    pen.clef(1.4)
    x = pen.key(3.4, sharps)
    stretch = (LINE_WIDTH - x) / sum(measure.width for measure in measures)
    if last:
        stretch = min(stretch, 1.4)
    for measure in measures:
        measure.begin = x
        _draw_measure(pen, measure, x, stretch)
        x += measure.width * stretch
        measure.end = x
        pen.bar_line(x, measure.right)
    for height in range(5):
        pen.line([0, x], [height, height], 0.6)


@dataclass
class _Placed:
    """A note on the page: music21's note, where its head is, and the heights of its heads from low to high."""

    note: Any
    x: float
    heights: list[float]
    up: bool = True

    @property
    def stem_x(self) -> float:
        return self.x + (0.58 if self.up else -0.58)

    @property
    def root(self) -> float:
        return self.heights[0] if self.up else self.heights[-1]

    @property
    def tip(self) -> float:
        if self.up:
            return max(self.heights[-1] + STEM, 2.0)
        return min(self.heights[0] - STEM, 2.0)


def _draw_measure(pen: "_Pen", measure: _Measure, x: float, stretch: float) -> None:
    if measure.starts_repeat:
        pen.repeat_start(x)
        x += 1.2
    if measure.metre:
        pen.metre(x + 1.5, measure.metre.numerator, measure.metre.denominator)
        x += 2.4
    x += 0.8 * stretch
    all_placed: list[_Placed] = []
    group: list[_Placed] = []
    tied: _Placed | None = None
    for note, step in zip(measure.notes, measure.steps):
        signed = any(_sign(pitch) for pitch in getattr(note, "pitches", ()))
        center = x + (1.5 if signed else 0.7)
        if note.isRest:
            pen.rest(center, note.duration.type)
        else:
            placed = _Placed(note, center, sorted((p.diatonicNoteNum - LOWEST_LINE) / 2 for p in note.pitches))
            placed.up = sum(placed.heights) / len(placed.heights) < 2
            all_placed.append(placed)
            _draw_heads(pen, placed)
            if tied is not None:
                pen.tie(tied.x, placed.x, placed.heights[0])
            tied = placed if note.tie is not None and note.tie.type in ("start", "continue") else None
            beams = note.beams.getTypes() if note.beams else []
            if beams and (group or beams[0] == "start"):
                group.append(placed)
            if beams and beams[0] == "stop" and group:
                _draw_beamed(pen, group)
                group = []
            elif not group:
                _draw_alone(pen, placed)
        x += step * stretch
    for placed in group:  # a group that nothing ended
        _draw_alone(pen, placed)
    _draw_tuplet_numbers(pen, [placed for placed in all_placed if placed.note.duration.tuplets])


def _draw_heads(pen: "_Pen", placed: _Placed) -> None:
    hollow = placed.note.duration.type in ("half", "whole", "breve")
    for height, pitch in zip(placed.heights, sorted(placed.note.pitches, key=lambda p: p.diatonicNoteNum)):
        pen.ledger_lines(placed.x, height)
        pen.head(placed.x, height, hollow)
        if _sign(pitch):
            pen.text(placed.x - 1.35, height, _sign(pitch), 1.4)
        for dot in range(placed.note.duration.dots):
            pen.dot(placed.x + 1.1 + 0.5 * dot, height + (0.5 if height % 1 == 0 else 0.0))


def _draw_alone(pen: "_Pen", placed: _Placed) -> None:
    kind = placed.note.duration.type
    if kind in ("whole", "breve"):
        return
    pen.line([placed.stem_x] * 2, [placed.root, placed.tip], 1.0)
    for flag in range({"eighth": 1, "16th": 2, "32nd": 3}.get(kind, 0)):
        pen.flag(placed.stem_x, placed.tip + (-0.8 if placed.up else 0.8) * flag, placed.up)


def _draw_beamed(pen: "_Pen", group: Sequence[_Placed]) -> None:
    """Stems that end on one line, and a beam over each run of notes that has as many."""
    up = np.mean([height for placed in group for height in placed.heights]) < 2
    for placed in group:
        placed.up = bool(up)
    first, last = group[0], group[-1]
    slope = np.clip((last.tip - first.tip) / max(last.stem_x - first.stem_x, 1e-6), -0.2, 0.2)
    offsets = [placed.tip - slope * (placed.stem_x - first.stem_x) for placed in group]
    start = max(offsets) if up else min(offsets)

    def beam_height(x: float) -> float:
        return start + slope * (x - first.stem_x)

    for placed in group:
        pen.line([placed.stem_x] * 2, [placed.root, beam_height(placed.stem_x)], 1.0)
    inward = -0.85 if up else 0.85
    for level in range(max(len(placed.note.beams.getTypes()) for placed in group)):
        for left, right in pairwise(group):
            kinds = [p.note.beams.getTypes()[level : level + 1] for p in (left, right)]
            xs = [left.stem_x, right.stem_x]
            if not all(kinds):
                half = (xs[1] - xs[0]) / 2
                if kinds[0] == ["partial"] and _points(left, level) == "right":
                    xs[1] -= half
                elif kinds[1] == ["partial"] and _points(right, level) == "left":
                    xs[0] += half
                else:
                    continue
            elif kinds[0] in (["stop"], ["partial"]) or kinds[1] == ["start"]:
                continue
            pen.beam(xs, [beam_height(x) + inward * level for x in xs], bool(up))


def _draw_tuplet_numbers(pen: "_Pen", notes: list[_Placed]) -> None:
    """A number at the stems of every three notes of a triplet, every five of a quintuplet."""
    while notes:
        count = notes[0].note.duration.tuplets[0].numberNotesActual
        group, notes = notes[:count], notes[count:]
        tips = [placed.tip + (1.1 if placed.up else -1.1) for placed in group]
        height = max(tips) if group[0].up else min(tips)
        pen.text((group[0].stem_x + group[-1].stem_x) / 2, height, str(count), 1.0, "italic")


def _points(placed: _Placed, level: int) -> str | None:
    return placed.note.beams.beamsList[level].direction


class _Pen:
    """Draws signs at a horizontal place and a height on one staff."""

    def __init__(self, axes: Any, base: float):
        self.axes, self.base = axes, base

    def line(self, xs: Sequence[float], heights: Sequence[float], width: float) -> None:
        self.axes.plot(
            xs, np.add(heights, self.base), color="black", linewidth=width * POINTS / 9, solid_capstyle="butt"
        )

    def text(self, x: float, height: float, text: str, size: float, style: str = "normal", weight="normal") -> None:
        kind = {"family": "DejaVu Serif", "style": style, "weight": weight}
        self.axes.text(x, self.base + height, text, fontsize=size * POINTS, ha="center", va="center_baseline", **kind)

    def shape(self, points: Sequence[tuple[float, float]]) -> None:
        from matplotlib.patches import Polygon

        self.axes.add_patch(Polygon(np.add(points, (0, self.base)), color="black", linewidth=0))

    def curve(self, points: Sequence[tuple[float, float]], width: float) -> None:
        """A smooth line through points (Catmull and Rom, 1974)."""
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path as Outline

        p = np.add(np.array(points, float), (0, self.base))
        p = np.concatenate([p[:1], p, p[-1:]])
        vertices, codes = [p[1]], [Outline.MOVETO]
        for i in range(1, len(p) - 2):
            vertices += [p[i] + (p[i + 1] - p[i - 1]) / 6, p[i + 1] - (p[i + 2] - p[i]) / 6, p[i + 1]]
            codes += [Outline.CURVE4] * 3
        self.axes.add_patch(
            PathPatch(Outline(vertices, codes), fill=False, linewidth=width * POINTS / 9, capstyle="round")
        )

    def dot(self, x: float, height: float, radius: float = 0.22) -> None:
        from matplotlib.patches import Circle

        self.axes.add_patch(Circle((x, self.base + height), radius, color="black", linewidth=0))

    def head(self, x: float, height: float, hollow: bool) -> None:
        from matplotlib.patches import Ellipse

        place = (x, self.base + height)
        self.axes.add_patch(Ellipse(place, 1.3, 0.92, angle=18, color="black", linewidth=0, zorder=3))
        if hollow:
            self.axes.add_patch(Ellipse(place, 1.05, 0.5, angle=35, color="white", linewidth=0, zorder=4))

    def ledger_lines(self, x: float, height: float) -> None:
        for ledger in [*range(-1, int(np.ceil(height)) - 1, -1), *range(5, int(np.floor(height)) + 1)]:
            self.line([x - 1.0, x + 1.0], [ledger, ledger], 0.6)

    def flag(self, x: float, tip: float, up: bool) -> None:
        sign = -1 if up else 1
        self.curve(
            [(x, tip), (x + 0.35, tip + 0.8 * sign), (x + 1.0, tip + 1.5 * sign), (x + 0.8, tip + 2.5 * sign)], 1.4
        )

    def beam(self, xs: Sequence[float], heights: Sequence[float], up: bool) -> None:
        thick = -0.5 if up else 0.5
        (left, right), (a, b) = xs, heights
        self.shape([(left, a), (right, b), (right, b + thick), (left, a + thick)])

    def tie(self, left: float, right: float, height: float) -> None:
        middle = (left + right) / 2
        self.curve([(left + 0.4, height - 0.8), (middle, height - 1.4), (right - 0.4, height - 0.8)], 1.2)

    def rest(self, x: float, kind: str) -> None:
        if kind in ("whole", "half"):
            bottom = 2.5 if kind == "whole" else 2.0
            self.shape([(x - 0.6, bottom), (x + 0.6, bottom), (x + 0.6, bottom + 0.5), (x - 0.6, bottom + 0.5)])
        elif kind == "quarter":
            self.curve([(x - 0.3, 3.4), (x + 0.3, 2.6), (x - 0.25, 2.0), (x + 0.35, 1.2)], 2.0)
            self.curve([(x + 0.35, 1.2), (x - 0.4, 1.2), (x + 0.05, 0.5)], 1.4)
        else:
            for hook in range({"eighth": 1, "16th": 2, "32nd": 3}.get(kind, 1)):
                self.dot(x - 0.45, 2.5 - hook, 0.28)
                self.curve([(x - 0.45, 2.3 - hook), (x, 2.2 - hook), (x + 0.45, 2.7 - hook)], 1.0)
            self.line([x + 0.45, x - 0.1], [2.7, 0.6], 1.0)

    def clef(self, x: float) -> None:
        spiral = [(0.35, 0.6), (-0.3, 0.75), (-0.35, 1.35), (0.15, 1.75), (0.85, 1.4), (0.95, 0.6), (0.3, 0.0)]
        body = [(-0.7, 0.15), (-1.15, 1.0), (-0.8, 2.1), (0.0, 3.1), (0.55, 4.2), (0.45, 5.3), (0.15, 5.5), (-0.2, 4.7)]
        tail = [(-0.05, 3.5), (0.25, 1.5), (0.55, -0.6), (0.4, -1.4), (-0.1, -1.6), (-0.45, -1.2)]
        self.curve([(x + a, b) for a, b in [*spiral, *body, *tail]], 1.8)
        self.dot(x - 0.25, -1.2, 0.3)

    def key(self, x: float, sharps: int) -> float:
        """Draws a key signature and returns where it ends."""
        heights = KEY_HEIGHTS["sharps" if sharps > 0 else "flats"][: abs(sharps)]
        for height in heights:
            self.text(x, height, SIGNS[1 if sharps > 0 else -1], 1.4)
            x += 1.0
        return x + 0.3

    def metre(self, x: float, above: int, below: int) -> None:
        self.text(x, 3.0, str(above), 1.75, weight="bold")
        self.text(x, 1.0, str(below), 1.75, weight="bold")

    def repeat_start(self, x: float) -> None:
        self.line([x + 0.3] * 2, [0, 4], 3.0)
        self.line([x + 0.8] * 2, [0, 4], 0.8)
        for height in (1.5, 2.5):
            self.dot(x + 1.3, height)

    def bar_line(self, x: float, barline: Any) -> None:
        kind = getattr(barline, "type", "regular")
        if _is_repeat(barline, "end"):
            for height in (1.5, 2.5):
                self.dot(x - 1.2, height)
        if kind in ("final",) or _is_repeat(barline, "end"):
            self.line([x - 0.7] * 2, [0, 4], 0.8)
            self.line([x - 0.2] * 2, [0, 4], 3.0)
            return
        if kind == "double":
            self.line([x - 0.5] * 2, [0, 4], 0.8)
        self.line([x] * 2, [0, 4], 0.8)


def _mark_endings(axes: Any, part: Any, systems: Sequence[Sequence[_Measure]]) -> None:
    """Brackets over first and second endings."""
    for bracket in part.recurse().getElementsByClass("RepeatBracket"):
        spanned = set(map(id, bracket.getSpannedElements()))
        for row, measures in enumerate(systems):
            inside = [measure for measure in measures if id(measure.source) in spanned]
            if inside:
                pen = _Pen(axes, -GAP * row)
                left, right = inside[0].begin + 0.2, inside[-1].end - 0.2
                pen.line([left, left, right], [6.0, 7.2, 7.2], 0.8)
                pen.text(left + 0.8, 6.5, f"{bracket.number}.", 0.95)
