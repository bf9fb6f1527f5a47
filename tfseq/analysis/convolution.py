"""Convolution by worked examples, as data and as a plot: definitions, channels, equivariance, gradients.

The definitions are continuous and discrete; gradients are a convolution again, and are compared with TensorFlow's.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfseq.analysis.convolution_by_definition import (
    Padding,
    box,
    convolve,
    convolved_boxes,
    correlate,
    dilated,
    gradients,
    integral,
    shifted,
)
from tfseq.runtime.atomic_write import atomic_write


@dataclass(frozen=True, eq=False)
class Channels:
    """Kernels over channels.

    Attributes:
        image: (height, width, 3), red, green and blue from 0 to 1.
        kernels: (size, size, 3, 2).
        parts: what each kernel makes of each channel alone, (2, 3, height, width).
        outputs: what the layer gives, the parts of a kernel added up, (2, height, width).
    """

    image: np.ndarray
    kernels: np.ndarray
    parts: np.ndarray
    outputs: np.ndarray


@dataclass(frozen=True)
class Agreement:
    """How far the formulas' gradients are from TensorFlow's automatic ones.

    Attributes:
        axes: 1 for signals, 2 for images.
        padding: "valid", "same" or the zeros before and after, along each axis.
        stride: of the layer.
        error: the largest difference of an entry of dL/dx or dL/dkernel, in float64.
    """

    axes: int
    padding: str
    stride: int
    error: float


@dataclass(frozen=True, eq=False)
class Explanation:
    """What `explain` found.

    Attributes:
        t: where two boxes of width 1 were convolved, (times,).
        integral, closed_form: the same at each t, by the sum and by the formula.
        f, g, convolution: the discrete definition on small numbers.
        channels: a picture under two kernels.
        picture, response: (height, width) before and after a layer.
        moved, moved_response: the same for the picture moved down by `move`.
        move: pixels.
        kernel: of that layer, (size, size).
        dy, spread, flipped, dx: backward through a signal's layer of stride 2, on small numbers.
        agreement: for each number of axes, padding and stride.
    """

    t: np.ndarray
    integral: np.ndarray
    closed_form: np.ndarray
    f: np.ndarray
    g: np.ndarray
    convolution: np.ndarray
    channels: Channels
    picture: np.ndarray
    response: np.ndarray
    moved: np.ndarray
    moved_response: np.ndarray
    move: int
    kernel: np.ndarray
    dy: np.ndarray
    spread: np.ndarray
    flipped: np.ndarray
    dx: np.ndarray
    agreement: tuple[Agreement, ...]

    def __str__(self) -> str:
        sums = [
            " + ".join(f"{self.f[a]:g}*{self.g[i - a]:g}" for a in range(len(self.f)) if 0 <= i - a < len(self.g))
            for i in range(len(self.convolution))
        ]
        error = np.abs(self.integral - self.closed_form).max()
        farthest = np.abs(self.moved_response[self.move + 1 : -1] - self.response[1 : -self.move - 1]).max()
        return "\n".join(
            [
                f"two boxes: integral and triangle differ by at most {error:.1e}",
                f"{_numbers(self.f)} * {_numbers(self.g)}:",
                *(f"  at {i}: {terms} = {value:g}" for i, (terms, value) in enumerate(zip(sums, self.convolution))),
                f"a picture moved by {self.move} pixels: its response is the old one, moved, within {farthest:.1e}",
                "backward, formulas against tf.GradientTape, largest difference:",
                *(f"  {c.axes}-D, {c.padding:<18} stride {c.stride}: {c.error:.1e}" for c in self.agreement),
            ]
        )


def explain(seed: int = 0) -> Explanation:
    """Computes every example; `plot` draws them and `print` lists them.

    Args:
        seed: of the numbers whose gradients are compared with TensorFlow's.
    """
    t = np.linspace(-1.5, 1.5, 61)
    f, g = np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.5])
    picture, kernel, move = _cross(), np.array([[-1.0, 0.0, 1.0]] * 3) / 3, 3
    moved = shifted(picture[None], move)[0]
    response, moved_response = (
        correlate(image[None, ..., None], kernel[..., None, None], padding="same")[0, ..., 0]
        for image in (picture, moved)
    )
    dy, weights = np.array([1.0, -2.0, 3.0])[None, :, None], np.array([1.0, 2.0, -1.0])[:, None, None]
    dx, _ = gradients(np.zeros((1, 7, 1)), weights, dy, stride=2)
    return Explanation(
        t=t,
        integral=integral(box, box, t, -0.5, 0.5),
        closed_form=convolved_boxes(t),
        f=f,
        g=g,
        convolution=convolve(f, g),
        channels=_over_channels(),
        picture=picture,
        response=response,
        moved=moved,
        moved_response=moved_response,
        move=move,
        kernel=kernel,
        dy=dy[0, :, 0],
        spread=dilated(dy, 2)[0, :, 0],
        flipped=weights[::-1, 0, 0],
        dx=dx[0, :, 0],
        agreement=tuple(_agreements(seed)),
    )


def tensorflow_gradients(
    x: np.ndarray, kernel: np.ndarray, dy: np.ndarray, stride: int = 1, padding: Padding = "valid"
) -> tuple[np.ndarray, np.ndarray]:
    """`gradients` by TensorFlow's automatic differentiation."""
    import tensorflow as tf

    x, kernel = tf.constant(x), tf.constant(kernel)
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        if isinstance(padding, str):
            y = tf.nn.convolution(x, kernel, stride, padding.upper())
        else:
            y = tf.nn.convolution(tf.pad(x, [(0, 0), *padding, (0, 0)]), kernel, stride, "VALID")
        loss = tf.reduce_sum(y * dy)
    dx, dkernel = tape.gradient(loss, [x, kernel])
    return dx.numpy(), dkernel.numpy()


def plot(data: Explanation, path: Path) -> None:
    """Draws what `explain` returned as a PNG of five rows: definitions, channels, equivariance, backward."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 15), layout="constrained")
    rows = figure.subfigures(5, 1, squeeze=False, height_ratios=[2.2, 2.2, 4.2, 2.2, 2.6])[:, 0]
    for row, draw in zip(rows, (_plot_boxes, _plot_sums, _plot_channels, _plot_moves, _plot_backward)):
        draw(row, data)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")


def _plot_boxes(figure, data):
    figure.suptitle("Continuous: [f * g](t) = ∫ f(a) g(t - a) da, here for two boxes of width 1")
    slide, result = figure.subplots(1, 2)
    t, a = 0.4, np.linspace(-1.1, 1.1, 1101)
    slide.plot(a, box(a), label="f(a)")
    slide.plot(a, 1.03 * box(t - a), label=f"g({t:g} - a)")
    slide.fill_between(a, box(a) * box(t - a), alpha=0.3, color="C2", label="product")
    overlap = convolved_boxes(np.array([t]))[0]
    slide.text(t / 2, 0.5, f"area\n{overlap:.1f}", ha="center", va="center")
    slide.set(xlabel="a", ylim=(0, 1.5))
    slide.legend(ncols=3, loc="upper center", fontsize=8)
    result.plot(data.t, data.closed_form, color="0.6", label="closed form: a triangle")
    result.plot(data.t, data.integral, ".", color="C0", label="integral, summed up")
    result.plot(t, overlap, "o", color="C2", label="the area on the left")
    result.set(xlabel="t", ylim=(0, 1.5))
    result.legend(loc="upper right", fontsize=8)


def _plot_sums(figure, data):
    figure.suptitle("Discrete: [f * g](i) = Σ f(a) g(i - a): flip g, slide it along f, add up the products")
    i = 2
    places = np.arange(len(data.convolution))
    flipped = np.array([data.g[i - a] if 0 <= i - a < len(data.g) else 0.0 for a in places])
    f = np.pad(data.f, (0, len(places) - len(data.f)))
    terms = " + ".join(f"{x:g}·{y:g}" for x, y in zip(data.f, flipped))
    panels = (("f(a)", f, "C0"), (f"g({i} - a)", flipped, "C1"), ("[f * g](i)", data.convolution, "C2"))
    for axes, (title, values, color) in zip(figure.subplots(1, 3, sharey=True), panels):
        _stems(axes, values, color)
        axes.set(title=title, xlabel="i" if color == "C2" else "a", ylim=(0, 5.5))
        if color == "C2":
            axes.annotate(
                f"{terms} = {values[i]:g}", (i, values[i]), (0, 4.8), arrowprops={"arrowstyle": "->"}, fontsize=9
            )


def _plot_channels(figure, data):
    figure.suptitle("Kernels over channels: each output is a sum over the channels; two kernels give two outputs")
    channels = data.channels
    grid = figure.subplots(3, 5)
    for axes in grid.flat:
        axes.set_axis_off()
    grid[0, 4].imshow(channels.image)
    grid[0, 4].set_title("the picture", fontsize=9)
    for c, name in enumerate(("red", "green", "blue")):
        grid[0, c + 1].imshow(channels.image[..., c], cmap="gray", vmin=0, vmax=1)
        grid[0, c + 1].set_title(f"its {name}", fontsize=9)
    for k, name in enumerate(("vertical edges\nof red", "green\nminus blue")):
        bound = np.abs(channels.parts[k]).max()
        grid[k + 1, 0].text(0.5, 0.5, f"kernel {k + 1}:\n{name}", ha="center", va="center")
        for c, part in enumerate(channels.parts[k]):
            grid[k + 1, c + 1].imshow(part, cmap="RdBu", vmin=-bound, vmax=bound)
        grid[k + 1, 4].imshow(channels.outputs[k], cmap="RdBu", vmin=-bound, vmax=bound)
        grid[k + 1, 4].set_title("= the sum", fontsize=9)
        for c in (2, 3):
            grid[k + 1, c].text(-0.12, 0.5, "+", transform=grid[k + 1, c].transAxes, ha="center", va="center")


def _plot_moves(figure, data):
    figure.suptitle(f"Equivariance: what is moved by {data.move} pixels gives the same response, moved by {data.move}")
    bound = np.abs(data.response).max()
    panels = (
        ("picture", data.picture, "gray", 0),
        ("response", data.response, "RdBu", -bound),
        ("picture, moved", data.moved, "gray", 0),
        ("its response", data.moved_response, "RdBu", -bound),
    )
    for axes, (title, values, colors, low) in zip(figure.subplots(1, 4), panels):
        axes.imshow(values, cmap=colors, vmin=low, vmax=bound)
        axes.set_title(title, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])


def _plot_backward(figure, data):
    figure.suptitle("Backward is a convolution again: dL/dx = (dL/dy, spread by the stride) * kernel")
    signals, table = figure.subfigures(1, 2, width_ratios=[1, 1.1])
    panels = (
        (f"dL/dy = {_numbers(data.dy)}, stride 2, spread", data.spread, "C0"),
        (f"correlated with the flipped kernel {_numbers(data.flipped)}", data.dx, "C2"),
    )
    for axes, (title, values, color) in zip(signals.subplots(2, 1, sharey=True), panels):
        _stems(axes, values, color)
        axes.set_title(title, fontsize=9)
        axes.set_ylim(-6.5, 9)
    axes = table.subplots()
    axes.set_axis_off()
    axes.set_title("largest difference from tf.GradientTape", fontsize=9)
    strides = sorted({c.stride for c in data.agreement})
    kinds = list(dict.fromkeys((c.axes, c.padding) for c in data.agreement))
    error = {(c.axes, c.padding, c.stride): f"{c.error:.0e}" for c in data.agreement}
    cells = axes.table(
        [[error[*kind, stride] for stride in strides] for kind in kinds],
        rowLabels=[f"{axes_}-D {padding}" for axes_, padding in kinds],
        colLabels=[f"stride {stride}" for stride in strides],
        bbox=[0.34, 0.0, 0.66, 0.95],
    )
    cells.auto_set_font_size(False)
    cells.set_fontsize(8)


def _stems(axes, values, color):
    axes.stem(np.arange(len(values)), values, linefmt=color, markerfmt=f"{color}o", basefmt="0.7")
    for i, value in enumerate(values):
        axes.annotate(f"{value:g}", (i, value), xytext=(6, 2), textcoords="offset points", fontsize=8)
    axes.set_xticks(range(len(values)))
    axes.set_xlim(-0.3, len(values) - 0.5)


def _numbers(values):
    return f"[{', '.join(f'{value:g}' for value in values)}]"


def _cross():
    """A bright cross on black, (16, 16)."""
    picture = np.zeros((16, 16))
    picture[2:10, 7:9] = 1
    picture[5:7, 4:12] = 1
    return picture


def _over_channels():
    """A yellow disc before a blue sky above green, under the kernels "vertical edges of red" and "green minus blue"."""
    rows, columns = np.mgrid[:20, :20]
    image = np.zeros((20, 20, 3))
    image[:13] = (0.3, 0.5, 0.9)
    image[13:] = (0.1, 0.6, 0.2)
    image[(rows - 7) ** 2 + (columns - 11) ** 2 < 22] = (1.0, 0.9, 0.1)
    kernels = np.zeros((3, 3, 3, 2))
    kernels[:, 0, 0, 0], kernels[:, 2, 0, 0] = -1 / 3, 1 / 3
    kernels[:, :, 1, 1], kernels[:, :, 2, 1] = 1 / 9, -1 / 9
    parts = [
        [correlate(image[None, ..., c : c + 1], kernels[..., c : c + 1, k : k + 1])[0, ..., 0] for c in range(3)]
        for k in range(2)
    ]
    outputs = np.moveaxis(correlate(image[None], kernels)[0], -1, 0)
    return Channels(image, kernels, np.array(parts), outputs)


def _agreements(seed) -> Iterator[Agreement]:
    random = np.random.default_rng(seed)
    for axes, stride in itertools.product((1, 2), (1, 2, 3)):
        for padding in ("valid", "same", [(2, 1), (0, 3)][:axes]):
            x, kernel = random.normal(size=(2, *(11, 9)[:axes], 3)), random.normal(size=(*(4, 3)[:axes], 3, 2))
            dy = random.normal(size=correlate(x, kernel, stride, padding).shape)
            pairs = zip(gradients(x, kernel, dy, stride, padding), tensorflow_gradients(x, kernel, dy, stride, padding))
            error = max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs)
            name = padding if isinstance(padding, str) else f"zeros {' '.join(map(str, padding))}"
            yield Agreement(axes, name, stride, error)
