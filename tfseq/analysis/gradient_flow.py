"""Gradient flow through recurrent layers: norms of Jacobian products over time, and where they vanish or explode.

The chain rule goes back from step T to step t through a product of Jacobians,

    dh_T/dh_t = prod over j = t+1..T of dh_j/dh_{j-1},

and in a vanilla RNN dh_j/dh_{j-1} = diag(slope_j) W_hh. Slopes of tanh and ReLU are at most 1, so with the largest
singular value of W_hh below 1 the product vanishes; above 1 it can explode (Bengio et al., 1994; Pascanu et al., 2013).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfseq.analysis.palette import BLACK, BLUE, COLORS, GREEN, RED
from tfseq.errors import InputError
from tfseq.layers.recurrent import CELLS, recurrent_layer
from tfseq.runtime.atomic_write import atomic_write

GATES = {"gru": ("z", "r", "h"), "lstm": ("i", "f", "g", "o")}  # in the order of Keras' recurrent weights


def step_jacobians(layer: Any, inputs: Any, initial_state: Sequence[Any] | None = None) -> np.ndarray:
    """The Jacobian of every step, of the whole state in the whole state before, by automatic differentiation.

    Args:
        layer: any Keras layer with a recurrent cell (SimpleRNN, GRU, LSTM, ours among them), built, on TensorFlow.
        inputs: what it reads, (batch, time, width).
        initial_state: one (batch, units) per state of the cell; zeros if None.

    Returns:
        J of shape (batch, time, states, states) float64, where states is the units of h and, for LSTM, of c after them:
        J[b, j, k, i] = ds_{j+1}[k] / ds_j[i], where s_0 is the initial state.

    Raises:
        InputError: the layer has no cell or is not built, or the inputs don't fit.
    """
    import tensorflow as tf

    cell, inputs = _checked(layer, inputs)
    sizes = keras.tree.flatten(cell.state_size)
    batch, time, _ = inputs.shape
    dtype, total = cell.compute_dtype, sum(sizes)
    # Copy k of a row asks for entry k of the new state, so one backward pass gives all of a Jacobian's rows.
    questions = tf.split(tf.tile(tf.eye(total, dtype=dtype), (batch, 1)), sizes, axis=1)  # (batch * total, units) each

    @tf.function
    def step(x, state):
        copies = [tf.repeat(s, total, axis=0) for s in state]
        with tf.GradientTape() as tape:
            tape.watch(copies)
            _, new = cell(tf.repeat(x, total, axis=0), copies)
        answers = tape.gradient(new, copies, questions, unconnected_gradients="zero")
        return [s[::total] for s in new], tf.reshape(tf.concat(answers, axis=1), (batch, total, total))

    state = [tf.zeros((batch, size)) for size in sizes] if initial_state is None else initial_state
    state = [tf.cast(s, dtype) for s in state]
    jacobians = np.empty((batch, time, total, total))
    for t in range(time):
        state, jacobian = step(tf.cast(inputs[:, t], dtype), state)
        jacobians[:, t] = tf.cast(jacobian, "float64")
    return jacobians


def norms_back(jacobians: np.ndarray, units: int) -> dict[str, np.ndarray]:
    """The norm (largest singular value) of dh_T/dh_t, and of dh_T/dc_t where there is a c, for every t.

    Args:
        jacobians: as `step_jacobians` returns them, (batch, time, states, states).
        units: of h.

    Returns:
        "h", and "c" for LSTM: (batch, time + 1) each; column k is the norm at T - t = k.
    """
    batch, time, states, _ = jacobians.shape
    parts = {name: slice(i * units, (i + 1) * units) for i, name in enumerate("hc"[: states // units])}
    norms = {name: np.empty((batch, time + 1)) for name in parts}
    for row in range(batch):
        product = np.eye(states)[:units]  # dh_T/ds_T
        for k in range(time + 1):
            for name, part in parts.items():
                norms[name][row, k] = np.linalg.norm(product[:, part], 2)
            if k < time:
                product = product @ jacobians[row, time - 1 - k]  # dh_T/ds_{T-k-1}
    return norms


def reach(jacobians: np.ndarray, units: int, chunk: int | None = None) -> np.ndarray:
    """The norm of dh_t/dh_s for every pair of steps: how far back a loss at step t is felt.

    Args:
        jacobians: of one sequence, (time, states, states).
        units: of h.
        chunk: steps after which truncated BPTT takes the state for a constant; None goes back to the beginning.

    Returns:
        (time + 1, time + 1): row t, column s; 0 for s > t, and where truncation cuts the way.
    """
    time, states, _ = jacobians.shape
    norms = np.zeros((time + 1, time + 1))
    for t in range(time + 1):
        # Truncated, the state that t's chunk began with is a constant, and so is all before it.
        last_constant = -1 if chunk is None or t == 0 else (t - 1) // chunk * chunk
        product = np.eye(states)[:units]
        for s in range(t, last_constant, -1):
            norms[t, s] = np.linalg.norm(product[:, :units], 2)
            if s:
                product = product @ jacobians[s - 1]
    return norms


def largest_singular_values(layer: Any) -> np.ndarray:
    """Of the recurrent weights, (gates,): one for a vanilla RNN, z, r, h for GRU, i, f, g, o for LSTM."""
    return np.array([np.linalg.norm(block, 2) for block in _blocks(layer)])


def scale_recurrent_weights(layer: Any, largest_singular_value: float) -> None:
    """Scales the recurrent weights, those of each gate by themselves, to this largest singular value."""
    blocks = [block / np.linalg.norm(block, 2) * largest_singular_value for block in _blocks(layer)]
    layer.cell.recurrent_kernel.assign(np.concatenate(blocks, axis=1))


def _blocks(layer):
    weights = keras.ops.convert_to_numpy(layer.cell.recurrent_kernel).astype("float64")  # (units, gates * units)
    return np.split(weights, weights.shape[1] // weights.shape[0], axis=1)


def _checked(layer, inputs):
    cell: Any = getattr(layer, "cell", None)
    if not hasattr(cell, "recurrent_kernel"):
        what = "is not built" if cell is not None else "has no recurrent cell"
        raise InputError(f"The layer {layer.name} {what}; expected a SimpleRNN, GRU or LSTM that has its weights.")
    inputs = keras.ops.convert_to_numpy(inputs)
    width = cell.kernel.shape[0]
    if inputs.ndim != 3 or inputs.shape[2] != width or 0 in inputs.shape:
        raise InputError(
            f"Inputs are of shape {inputs.shape}; expected (batch, time, {width}), what {layer.name} reads."
        )
    return cell, inputs


@dataclass(frozen=True, eq=False)
class Flow:
    """Norms of the gradient on its way back through one recurrent layer.

    Attributes:
        name: label in plots.
        norms: "h", and "c" for LSTM: the norm of dh_T/dh_t and dh_T/dc_t, (sequences, time + 1), by T - t.
        singular_values: the largest of the recurrent weights, (gates,).
    """

    name: str
    norms: dict[str, np.ndarray]
    singular_values: np.ndarray

    def mean(self, of: str = "h") -> np.ndarray:
        """Over the sequences, (time + 1,)."""
        return self.norms[of].mean(axis=0)


def flow(layer: Any, inputs: Any, initial_state: Sequence[Any] | None = None, name: str | None = None) -> Flow:
    """Follows the gradient back through a layer.

    Args:
        layer, inputs, initial_state: as `step_jacobians` takes them.
        name: label in plots; the layer's name if None.
    """
    jacobians = step_jacobians(layer, inputs, initial_state)
    units = layer.cell.recurrent_kernel.shape[0]
    return Flow(name or layer.name, norms_back(jacobians, units), largest_singular_values(layer))


def flow_in_model(model: keras.Model, inputs: Any) -> list[Flow]:
    """Follows the gradient back through each recurrent layer of a model, on what that layer reads there.

    Args:
        model: any Keras model, trained or not, with SimpleRNN, GRU or LSTM somewhere inside.
        inputs: what the model reads, such as tokens (batch, time); sequences without padding.

    Raises:
        InputError: the model has no recurrent layer, or a mask hides steps.
    """
    calls: dict[int, tuple[Any, Any, Any]] = {}
    layers = [
        layer for layer in model._flatten_layers() if hasattr(layer, "cell") and isinstance(layer, keras.layers.RNN)
    ]
    if not layers:
        raise InputError(f"The model {model.name} has no recurrent layer; expected a SimpleRNN, GRU or LSTM in it.")
    originals = [layer.call for layer in layers]
    for layer, original in zip(layers, originals):
        layer.call = _recording(layer, original, calls)
    try:
        model(inputs)
    finally:
        for layer in layers:
            del layer.call  # the class has its own
    flows = []
    for layer in layers:
        sequences, state, mask = calls[id(layer)]
        if mask is not None and not np.all(keras.ops.convert_to_numpy(mask)):
            raise InputError("Some steps are masked; give sequences of one length, without padding.")
        flows.append(flow(layer, sequences[:, ::-1] if layer.go_backwards else sequences, state))
    return flows


def _recording(layer, call, calls):
    def record(sequences, initial_state=None, mask=None, training=False):
        calls[id(layer)] = sequences, initial_state, mask
        return call(sequences, initial_state=initial_state, mask=mask, training=training)

    return record


@dataclass(frozen=True, eq=False)
class Explanation:
    """What `explain` found.

    Attributes:
        flows: by cell, then by the largest singular value of its recurrent weights.
        remembering: by cell, GRU and LSTM with biases that make the gates keep the state, at the middle singular value.
    """

    flows: dict[str, dict[float, Flow]]
    remembering: dict[str, Flow]

    def __str__(self) -> str:
        steps = len(next(iter(self.flows["rnn"].values())).mean()) - 1
        lines = [f"the norm of dh_T/dh_t, {steps} steps back:"]
        for cell, flows in self.flows.items():
            for sigma, flow in flows.items():
                lines.append(f"  {NAMES[cell]:12} largest singular value {sigma:<4g} {_said(flow.mean()[-1])}")
            if cell in self.remembering:
                lines.append(
                    f"  {'':12} gates set to remember   {_said(self.remembering[cell].mean(_highway(cell))[-1])}"
                )
        return "\n".join(lines)


NAMES = {"rnn": "vanilla RNN", "irnn": "IRNN", "gru": "GRU", "lstm": "LSTM"}
EXPLODED, VANISHED = 1e2, 1e-2  # where the pictures say so


def _said(norm):
    verdict = "explodes" if norm > EXPLODED else "vanishes" if norm < VANISHED else "is kept"
    return f"{norm:8.1e}  {verdict}"


def explain(
    singular_values: Sequence[float] = (0.8, 1.0, 1.3),
    units: int = 32,
    steps: int = 100,
    sequences: int = 4,
    seed: int = 0,
) -> Explanation:
    """Measures the four cells, untrained, on weak noise that leaves tanh nearly straight.

    The recurrent weights of vanilla RNN, GRU and LSTM are orthogonal, each gate's by itself, times the singular value;
    those of the IRNN are the identity, times the singular value.

    Args:
        singular_values: of the recurrent weights: below, at and above 1.
        units: of h.
        steps: T.
        sequences: to take the mean over.
        seed: of weights and noise.
    """
    random = np.random.default_rng(seed)
    noise = 0.1 * random.normal(size=(sequences, steps, units))
    flows = {
        cell: {sigma: flow(_layer(cell, units, sigma, seed), noise, name=cell) for sigma in singular_values}
        for cell in CELLS
    }
    middle = sorted(singular_values)[len(singular_values) // 2]
    remembering = {}
    for cell, opened in (("gru", {"z": 5.0}), ("lstm", {"i": -5.0, "f": 5.0})):
        layer = _layer(cell, units, middle, seed)
        _set_gates(layer, cell, opened)
        remembering[cell] = flow(layer, noise, name=cell)
    return Explanation(flows, remembering)


def _layer(cell, units, sigma, seed):
    gates = len(GATES.get(cell, "h"))
    orthogonal = keras.initializers.Orthogonal
    layer = recurrent_layer(cell, units, kernel_initializer=keras.initializers.GlorotUniform(seed))
    layer.build((None, None, units))
    if cell != "irnn":
        blocks = [orthogonal(seed=seed + i)((units, units)) for i in range(gates)]
        layer.cell.recurrent_kernel.assign(keras.ops.concatenate(blocks, axis=1))
    scale_recurrent_weights(layer, sigma)
    return layer


def _set_gates(layer, cell, biases):
    """Biases of gates, by name: 5 holds a gate open (0.99), -5 closed."""
    bias = np.array(keras.ops.convert_to_numpy(layer.cell.bias))
    units = layer.cell.recurrent_kernel.shape[0]
    for gate, value in biases.items():
        place = GATES[cell].index(gate)
        first_row = bias[0] if bias.ndim == 2 else bias  # GRU has a row for the inputs and one for the state
        first_row[place * units : (place + 1) * units] = value
    layer.cell.bias.assign(bias)


def _highway(cell):
    return "c" if cell == "lstm" else "h"


def plot(data: Explanation, path: Path) -> None:
    """Draws what `explain` returned as a PNG: a panel per cell, vanishing and exploding named."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.5), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    for axes, (cell, flows) in zip(panels.flat, data.flows.items()):
        for (sigma, flow), color, style in zip(sorted(flows.items()), (BLUE, BLACK, RED), ("-", "--", "-")):
            _line(axes, flow.mean(), color, style, f"{sigma:g}")
        if cell in data.remembering:
            _line(axes, data.remembering[cell].mean(_highway(cell)), GREEN, "-.", "1, gates set to remember")
        norm = r"$\|\partial h_T/\partial h_t\|$" + (
            r", green: $\|\partial h_T/\partial c_t\|$" if cell == "lstm" else ""
        )
        axes.set_title(f"{NAMES[cell]}: {norm}", fontsize=11)
        name_regions(axes, 1e-10, 1e10)
    for axes in panels[1]:
        axes.set_xlabel("steps back, T − t")
    handles = panels[1, 1].get_legend_handles_labels()
    title = "largest singular value of the recurrent weights"
    figure.legend(*handles, loc="outside lower center", ncols=4, title=title, handlelength=3)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=90, format="png")


def plot_flows(flows: Sequence[Flow], path: Path, title: str = "") -> None:
    """Draws flows, such as those of a model's layers, into one panel of a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    lines = [(flow.name, of, flow.mean(of)) for flow in flows for of in flow.norms]
    colors = dict(zip(dict.fromkeys(flow.name for flow in flows), COLORS * len(flows)))
    for name, of, norms in lines:
        label = rf"{name}: $\|\partial h_T/\partial {of}_t\|$"
        _line(axes, norms, colors[name], "-" if of == "h" else "--", label)
    drawn = np.concatenate([norms[norms > 0] for *_, norms in lines])
    name_regions(axes, min(1e-4, drawn.min() / 10), max(1e4, drawn.max() * 10))
    axes.set(xlabel="steps back, T − t", title=title)
    figure.legend(loc="outside right upper")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=90, format="png")


def name_regions(axes: Any, low: float, high: float) -> None:
    """Shades and names where a gradient has vanished and where it has exploded."""
    axes.set(yscale="log", ylim=(low, high))
    axes.axhspan(EXPLODED, high, color=RED, alpha=0.08, lw=0)
    axes.axhspan(low, VANISHED, color=BLUE, alpha=0.08, lw=0)
    axes.axhline(1, color="0.6", lw=0.8)
    axes.text(0.02, 0.97, "exploding", transform=axes.transAxes, va="top", color=RED, style="italic")
    axes.text(0.02, 0.03, "vanishing", transform=axes.transAxes, color=BLUE, style="italic")


def _line(axes, norms, color, style, label):
    left = norms > 0
    axes.plot(np.arange(len(norms))[left], norms[left], style, color=color, label=label)
    if not left[-1]:  # ReLU's units can all be off
        last = np.flatnonzero(left)[-1]
        axes.annotate("0: all units off", (last, norms[last]), xytext=(4, 0), textcoords="offset points", color=color)
