"""Selective state-space layer (Mamba): a linear recurrence that its input steers, by a parallel scan or by steps."""

import math

import keras
from keras import ops

from tfseq.keras_versions import RMSNormalization
from tfseq.layers.cpu_training import compiled, kernels_apply
from tfseq.layers.loops import associative_scan, scan

DELTAS = 0.001, 0.1  # step sizes that a layer begins with (Gu and Dao, 2023, section 3.6)


@keras.saving.register_keras_serializable(package="tfseq")
class SelectiveStateSpace(keras.layers.Layer):
    """A selective state space behind a short convolution, beside a gate (Gu and Dao, 2023: "Mamba", figure 3).

    x and z are projections of the input; then, of each of the `channels` = `expansion` units,

        u_t = silu(b + sum_i w_i x_{t-i})                          the causal, depthwise convolution
        delta_t, B_t, C_t = softplus(W_delta W_r u_t + b_delta), W_B u_t, W_C u_t
        h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t             the state: `states` numbers per channel
        y_t = C_t h_t + D u_t                                      with A diagonal, and below 0

    and the output is a projection of y_t silu(z_t). The state forgets and takes in as the input says (selection), yet
    is linear in the past, so that a parallel scan computes it at all positions.

    Args:
        units: width of input and output.
        expansion: channels per unit.
        states: numbers that each channel remembers.
        window: positions that the convolution sees, its own included; at least 2.
        rank: width that step sizes are computed from; None for a sixteenth of the units.

    Call arguments:
        x: (batch, time, units).

    Returns:
        (batch, time, units).

    Raises:
        ValueError: a size is too small.
    """

    def __init__(self, units, expansion=2, states=16, window=4, rank=None, **kwargs):
        super().__init__(**kwargs)
        self.settings = {"units": units, "expansion": expansion, "states": states, "window": window, "rank": rank}
        for name, size in self.settings.items():
            least = 2 if name == "window" else 1
            if size is not None and size < least:
                raise ValueError(f"{name} is {size}; expected at least {least}.")
        self.units, self.channels, self.states, self.window = units, expansion * units, states, window
        self.rank = -(-units // 16) if rank is None else rank
        policy = {"use_bias": False, "dtype": self.dtype_policy}
        self.enter = keras.layers.Dense(2 * self.channels, name="enter", **policy)
        self.select = keras.layers.Dense(self.rank + 2 * states, name="select", **policy)
        spread = keras.initializers.RandomUniform(-(self.rank**-0.5), self.rank**-0.5)
        self.spread = keras.layers.Dense(self.channels, kernel_initializer=spread, name="spread", **policy)
        self.leave = keras.layers.Dense(units, name="leave", **policy)

    def build(self, shape):
        self.enter.build((None, None, self.units))
        for layer in (self.select, self.leave):
            layer.build((None, None, self.channels))
        self.spread.build((None, None, self.rank))
        taps = keras.initializers.RandomUniform(-(self.window**-0.5), self.window**-0.5)
        self.taps = self.add_weight((self.window, self.channels), taps, name="taps")
        self.taps_bias = self.add_weight((self.channels,), "zeros", name="taps_bias")
        own = {"autocast": False}  # float32 in every precision
        self.delta_bias = self.add_weight((self.channels,), _InitialDeltas(), name="delta_bias", **own)
        self.log_decay = self.add_weight((self.channels, self.states), _initial_decay, name="log_decay", **own)
        self.skip = self.add_weight((self.channels,), "ones", name="skip", **own)

    def call(self, x, training=False):
        output, _ = self._read(x, self._empty_window(ops.shape(x)[0]), None, training)
        return output

    def initial_state(self, batch_size):
        """Zeros: the last `window` - 1 of x, (batch, window - 1, channels), and h, (batch, channels, states)."""
        h = ops.zeros((batch_size, self.channels, self.states), self.compute_dtype)
        return self._empty_window(batch_size), h

    def _empty_window(self, batch_size):
        return ops.zeros((batch_size, self.window - 1, self.channels), self.compute_dtype)

    def step(self, x, state):
        """One decode step: x (rows, units) -> (rows, units), and the new state."""
        past, h = state
        x, gate = ops.split(self.enter(x), 2, axis=-1)  # (rows, channels)
        past = ops.concatenate([past, x[:, None]], axis=1)  # (rows, window, channels)
        taps, bias = self._filter
        u = ops.silu(ops.sum(past * taps, axis=1) + bias)
        delta, b, c = self._selected(u)
        decay, entering = transition(u, delta, self._a, b)
        h = decay * ops.cast(h, "float32") + entering  # (rows, channels, states)
        return self._output(read_out(h, c), u, gate), (past[:, 1:], ops.cast(h, self.compute_dtype))

    def read(self, x, state):
        """Several steps at once: x (batch, time, units) -> (batch, time, units), and the state after them."""
        return self._read(x, *state)

    def _read(self, x, past, h, training=False):
        x, gate = ops.split(self.enter(x), 2, axis=-1)  # (batch, time, channels)
        past = ops.concatenate([past, x], axis=1)  # (batch, window - 1 + time, channels)
        (taps, bias), before = self._filter, self.window - 1
        u = ops.silu(sum(past[:, i : i - before or None] * taps[i] for i in range(self.window)) + bias)
        delta, b, c = self._selected(u)
        y, h = selective_scan(u, delta, b, c, self._a, h, training)
        return self._output(y, u, gate), (past[:, -before:], ops.cast(h, self.compute_dtype))

    @property
    def _filter(self):
        return [ops.cast(weight, self.compute_dtype) for weight in (self.taps, self.taps_bias)]

    @property
    def _a(self):
        return -ops.exp(self.log_decay)

    def _selected(self, u):
        """delta (..., channels), B and C (..., states), float32, of u (..., channels)."""
        delta, b, c = ops.split(self.select(u), [self.rank, self.rank + self.states], axis=-1)
        delta, b, c = (ops.cast(part, "float32") for part in (self.spread(delta), b, c))
        return ops.softplus(delta + self.delta_bias), b, c

    def _output(self, y, u, gate):
        y = y + self.skip * ops.cast(u, "float32")  # (..., channels)
        return self.leave(ops.cast(y, self.compute_dtype) * ops.silu(gate))

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return super().get_config() | self.settings


def transition(u, delta, a, b):
    """exp(delta_t A) and delta_t B_t u_t, (..., channels, states), of u and delta (..., channels), B (..., states)."""
    return ops.exp(delta[..., None] * a), (delta * ops.cast(u, "float32"))[..., None] * b[..., None, :]


def read_out(h, c):
    """C_t h_t, (..., channels), of h (..., channels, states)."""
    return ops.matmul(h, c[..., None])[..., 0]


def selective_scan(u, delta, b, c, a, h=None, training=False):
    """h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t and y_t = C_t h_t at all positions.

    Args:
        u, delta: (batch, time, channels).
        b, c: (batch, time, states).
        a: (channels, states).
        h: before the first position, (batch, channels, states); None for zeros.
        training: whether gradients follow.

    Returns:
        y (batch, time, channels), and h after the last position, both float32.
    """
    if h is None and kernels_apply(training):
        return _scan_in_order(u, delta, b, c, a)
    decays, states = associative_scan(_composed, transition(u, delta, a, b), axis=1)
    if h is not None:
        states = states + decays * ops.cast(h, "float32")[:, None]
    return read_out(states, c), states[:, -1]


def _composed(earlier, later):
    """h -> a h + x, and then h -> b h + y, as one such step."""
    (a, x), (b, y) = earlier, later
    return a * b, b * x + y


@compiled
def _scan_in_order(u, delta, b, c, a):
    """`selective_scan` as one pass over time: a core does less, while many cores would wait."""
    states = _recurrence(*(ops.swapaxes(part, 0, 1) for part in transition(u, delta, a, b)))
    return read_out(ops.swapaxes(states, 0, 1), c), states[-1]


@ops.custom_gradient
def _recurrence(decay, entering):
    """h_t = decay_t h_{t-1} + entering_t from zeros, (time, ...) each; its gradient is such a recurrence, backward."""
    states = _steps(decay, entering)

    def gradient(*passed, upstream=None):
        upstream = passed[0] if upstream is None else upstream
        later = ops.concatenate([decay[1:], ops.zeros_like(decay[:1])])
        d = ops.flip(_steps(ops.flip(later, 0), ops.flip(upstream, 0)), 0)
        before = ops.concatenate([ops.zeros_like(states[:1]), states[:-1]])
        return d * before, d

    return states, gradient


def _steps(decay, entering):
    def step(h, parts):
        h = parts[0] * h + parts[1]
        return h, h

    return scan(step, ops.zeros_like(entering[0]), (decay, entering), "float32")[1]


class _InitialDeltas(keras.initializers.Initializer):
    """Biases whose softplus are step sizes spread evenly over the logarithms of `DELTAS`."""

    def __call__(self, shape, dtype=None):
        low, high = (math.log(delta) for delta in DELTAS)
        deltas = ops.exp(keras.random.uniform(shape, low, high, "float32"))
        return deltas + ops.log(-ops.expm1(-deltas))


def _initial_decay(shape, dtype=None):
    """log n of the n-th state: A_n = -n, of each channel (S4D-Real; Gu et al., 2022)."""
    return ops.broadcast_to(ops.log(ops.arange(1, shape[1] + 1, dtype="float32")), shape)


@keras.saving.register_keras_serializable(package="tfseq")
class StateSpaceBlock(keras.layers.Layer):
    """x + f(norm(x)) with a `SelectiveStateSpace` f and RMS normalization (Gu and Dao, 2023, section 3.4).

    Args:
        units, expansion, states, window, rank: as in `SelectiveStateSpace`.
        dropout: rate on what f returns.

    Call arguments:
        x: (batch, time, units).
    """

    def __init__(self, units, expansion=2, states=16, window=4, rank=None, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        policy = {"dtype": self.dtype_policy}
        self.norm = RMSNormalization(epsilon=1e-5, name="norm", **policy)
        self.mix = SelectiveStateSpace(units, expansion, states, window, rank, name="mix", **policy)
        self.dropout = keras.layers.Dropout(dropout, name="dropout", **policy)
        self.settings = {**self.mix.settings, "dropout": dropout}

    def build(self, shape):
        for layer in (self.norm, self.mix):
            layer.build(shape)

    def call(self, x, training=False):
        return x + self.dropout(self.mix(self.norm(x), training=training), training=training)

    def initial_state(self, batch_size):
        return self.mix.initial_state(batch_size)

    def step(self, x, state):
        """One decode step: x (rows, units) -> (rows, units), and the new state."""
        y, state = self.mix.step(self.norm(x), state)
        return x + y, state

    def read(self, x, state):
        """Several steps at once: x (batch, time, units) -> (batch, time, units), and the state after them."""
        y, state = self.mix.read(self.norm(x), state)
        return x + y, state

    def get_config(self):
        return super().get_config() | self.settings
