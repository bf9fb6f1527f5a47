"""Synthetic captioning data: images of two coloured shapes, each with the one sentence that describes it."""

from dataclasses import dataclass

import numpy as np

from tfseq.data.dataset import DataSet, Part
from tfseq.data.files import sha256
from tfseq.errors import DataError

COLOURS = {
    "red": (214, 39, 40),
    "green": (44, 160, 44),
    "blue": (31, 119, 214),
    "yellow": (240, 200, 20),
    "purple": (148, 60, 189),
    "white": (245, 245, 245),
}
SHAPES = ("circle", "square", "triangle", "cross")
RELATIONS = ("left of", "above", "inside")
KINDS = [(colour, shape) for colour in COLOURS for shape in SHAPES]
SIZES = (6_000, 500, 1_000)  # pictures to train, to validate and to test on
SHARPNESS = 4  # samples per pixel, in each direction


@dataclass(frozen=True)
class _Placed:
    """A shape on the canvas: its middle and half its width, as shares of the canvas."""

    colour: str
    shape: str
    row: float
    column: float
    radius: float


def scenes(sizes: tuple[int, int, int] = SIZES, canvas: int = 32, seed: int = 0) -> DataSet:
    """Two coloured shapes and how they lie: "a red circle left of a blue square".

    Of two shapes side by side the left one is named first, of two above each other the upper one, and of one inside
    another the inner one, so that every picture has exactly one description. What the test part describes, the other
    parts do not: its pairs of shapes and relations have to be put together anew.

    Args:
        sizes: pictures to train, to validate and to test on.
        canvas: height and width in pixels.
        seed: of the draws.

    Returns:
        inputs (pictures, canvas, canvas, 3) uint8; targets a list of lists with one description each.

    Raises:
        DataError: an argument is out of range.
    """
    if canvas < 16 or min(sizes) < 1:
        raise DataError(f"canvas is {canvas} and sizes {sizes}; expected 16 pixels or more, and at least 1 picture.")
    draw = np.random.default_rng(seed)
    described = [
        (first, relation, second)
        for first in KINDS
        for relation in RELATIONS
        for second in KINDS
        if first[0] != second[0]  # a shape inside another of its colour could not be seen
    ]
    order = draw.permutation(len(described))
    tested = [described[i] for i in order[: len(order) // 6]]
    learned = [described[i] for i in order[len(order) // 6 :]]
    train, validation, test = (
        _drawn(choices, size, canvas, draw) for choices, size in zip((learned, learned, tested), sizes)
    )
    digest = sha256(part.inputs.tobytes() for part in (train, validation, test))
    return DataSet("scenes", train, validation, test, f"scenes of coloured shapes, drawn with seed {seed}", digest)


def _drawn(choices, size, canvas, draw) -> Part:
    pictures = np.empty((size, canvas, canvas, 3), np.uint8)
    captions = []
    for i in range(size):
        first, relation, second = choices[draw.integers(len(choices))]
        pictures[i] = _painted(_placed(first, relation, second, draw), canvas, draw)
        captions.append([f"a {first[0]} {first[1]} {relation} a {second[0]} {second[1]}"])
    return Part(pictures, captions)


def _placed(first, relation, second, draw) -> list[_Placed]:
    """Both shapes, that which is behind first."""
    if relation == "inside":
        row, column = draw.uniform(0.4, 0.6, 2)
        outer = _Placed(second[0], second[1], row, column, draw.uniform(0.3, 0.38))
        down, right = draw.uniform(-0.03, 0.03, 2)
        drop = 0.08 if second[1] == "triangle" else 0.0  # a triangle is widest below its middle
        return [outer, _Placed(first[0], first[1], row + drop + down, column + right, draw.uniform(0.1, 0.12))]
    along = (draw.uniform(0.2, 0.3), draw.uniform(0.7, 0.8))
    across = draw.uniform(0.35, 0.65) + draw.uniform(-0.1, 0.1, 2)
    places = [(across[i], along[i]) if relation == "left of" else (along[i], across[i]) for i in (0, 1)]
    radii = draw.uniform(0.12, 0.19, 2)
    return [_Placed(k[0], k[1], place[0], place[1], radius) for k, place, radius in zip((first, second), places, radii)]


def _painted(shapes: list[_Placed], canvas: int, draw) -> np.ndarray:
    """(canvas, canvas, 3) uint8, with soft edges, on a dark ground."""
    fine = canvas * SHARPNESS
    steps = (np.arange(fine) + 0.5) / fine
    rows, columns = steps[:, None], steps[None, :]
    picture = np.broadcast_to(draw.uniform(0, 60, 3), (fine, fine, 3)).copy()
    for shape in shapes:
        picture[_covers(shape, rows, columns)] = COLOURS[shape.colour]
    blocks = picture.reshape(canvas, SHARPNESS, canvas, SHARPNESS, 3)
    return np.round(blocks.mean((1, 3))).astype(np.uint8)


def _covers(shape: _Placed, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Which samples lie on the shape."""
    down, right, radius = rows - shape.row, columns - shape.column, shape.radius
    match shape.shape:
        case "circle":
            return down**2 + right**2 <= radius**2
        case "square":
            return np.maximum(np.abs(down), np.abs(right)) <= 0.9 * radius
        case "triangle":
            return (np.abs(right) <= (down + radius) / 2) & (down <= radius)
        case _:
            thick = radius / 3
            arms = (np.abs(down) <= thick) | (np.abs(right) <= thick)
            return arms & (np.maximum(np.abs(down), np.abs(right)) <= radius)
