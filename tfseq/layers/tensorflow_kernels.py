"""Layers trained fast on CPUs: the one place in layers, models and decoding that speaks TensorFlow.

What makes a recurrence slow on a CPU is less its arithmetic than how it is cut up. Three things are done about it:

- Products that don't wait for the state leave the loop: the input projection before it, and the gradients of all
  weights after it, are one large matrix product each. One product with the recurrent weights remains per step.
- Everything between two products (gates, state, casts) is compiled by XLA into one pass over the cache.
- The batch is cut into one stream per core. A (64, 512) by (512, 2048) product is too small for two threads, while
  two independent loops keep two cores busy.

Gradients are written by hand, which is what allows the second half of the first point. Products run in the type of the
inputs (bfloat16 under mixed precision), gates and carried state in float32.

Transformers have no loop to cut up; there XLA makes one pass of what stands between two products (`biased_gelu`,
`add_dropped`), and makes it again for the gradients rather than keep what was in between.
"""

import math
from functools import partial

import tensorflow as tf

from tfseq.layers.batch_streams import stream_count
from tfseq.machine import available_cores

by_xla = partial(tf.function, jit_compile=True, autograph=False)


def sigmoid(x):
    return 0.5 * tf.tanh(0.5 * x) + 0.5  # XLA's vectorised tanh is several times quicker than its logistic


class VanillaCell:
    """h_t = act(z_t + r_t), where z_t = W_xh x_t + b and r_t = W_hh h_{t-1}."""

    gates = remembered = 1
    carries = False

    def __init__(self, activation):
        self.activation = {"tanh": tf.tanh, "relu": tf.nn.relu}[activation]
        self.slope = {"tanh": lambda h: 1 - h * h, "relu": lambda h: tf.cast(h > 0, h.dtype)}[activation]

    def forward(self, z, r, bias, carry):
        h = self.activation(z + r)
        return h, carry, h

    def backward(self, dh, dcarry, h, carry, new_carry):
        da = dh * self.slope(h)
        return da, da, dcarry


class LSTMCell:
    """i, f, o = sigmoid, g = tanh of z_t + r_t, in the order i, f, g, o; c_t = f c_{t-1} + i g; h_t = o tanh(c_t)."""

    gates = remembered = 4
    carries = True

    def forward(self, z, r, bias, c):
        i, f, g, o = tf.split(z + r, 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), tf.tanh(g), sigmoid(o)
        c = f * c + i * g
        return o * tf.tanh(c), c, tf.concat([i, f, g, o], axis=1)

    def backward(self, dh, dc, gates, c, new_c):
        i, f, g, o = tf.split(gates, 4, axis=1)
        squashed = tf.tanh(new_c)
        dc = dc + dh * o * (1 - squashed * squashed)
        da = [dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g * g), dh * squashed * o * (1 - o)]
        da = tf.concat(da, axis=1)
        return da, da, dc * f


class GRUCell:
    """u, r = sigmoid; n = tanh(z_n + r (r_n + b_n)); h_t = u h_{t-1} + (1 - u) n: as `reset_after` has it."""

    gates, remembered = 3, 4
    carries = True

    def forward(self, z, r, bias, h):
        z_u, z_r, z_n = tf.split(z, 3, axis=1)
        r_u, r_r, r_n = tf.split(r + bias, 3, axis=1)
        u, reset = sigmoid(z_u + r_u), sigmoid(z_r + r_r)
        n = tf.tanh(z_n + reset * r_n)
        h = u * h + (1 - u) * n
        return h, h, tf.concat([u, reset, n, r_n], axis=1)

    def backward(self, dh, dcarry, gates, h, new_h):
        u, reset, n, r_n = tf.split(gates, 4, axis=1)
        dh = dh + dcarry
        du = dh * (h - n) * u * (1 - u)
        dn = dh * (1 - u) * (1 - n * n)
        dreset = dn * r_n * reset * (1 - reset)
        dz = tf.concat([du, dreset, dn], axis=1)
        dr = tf.concat([du, dreset, dn * reset], axis=1)
        return dz, dr, dh * u


def recurrence(cell, x, kernel, recurrent_kernel, bias, recurrent_bias, h, carry, mask=None):
    """Runs a cell over a sequence, differentiable in every tensor it is given.

    Args:
        cell: a VanillaCell, LSTMCell or GRUCell, with G = gates * units.
        x: inputs, (batch, time, width).
        kernel, recurrent_kernel: (width, G) and (units, G), of x's type.
        bias, recurrent_bias: (G,) each, of x's type.
        h: first hidden state, (batch, units), of x's type.
        carry: first carried state, (batch, units) float32: c for LSTM, h for GRU; VanillaCell ignores it.
        mask: True at steps that are real, (batch, time) bool; others leave both states as they are. None: all are.

    Returns:
        hidden states (batch, time, units) of x's type, and the last carried state.
    """
    streams = stream_count(x.shape[0], available_cores())
    cut = partial(tf.split, num_or_size_splits=streams, axis=0)

    @tf.custom_gradient
    def run(x, kernel, recurrent_kernel, bias, recurrent_bias, h, carry):
        weights = (kernel, recurrent_kernel, bias, recurrent_bias)
        transposed = tf.transpose(kernel), tf.transpose(recurrent_kernel)
        masks = [None] * streams if mask is None else cut(mask)
        parts = [_Stream(cell, *part, weights, transposed) for part in zip(cut(x), cut(h), cut(carry), masks)]

        def gradient(d_outputs, d_carry):
            parts_of = [part.gradient(do, dc) for part, do, dc in zip(parts, cut(d_outputs), cut(d_carry))]
            dx, dh, dcarry, *d_weights = zip(*parts_of)
            d_weights = [tf.cast(tf.add_n(d), w.dtype) for d, w in zip(d_weights, weights)]
            return tf.concat(dx, 0), *d_weights, tf.concat(dh, 0), tf.concat(dcarry, 0)

        outputs = tf.concat([part.outputs for part in parts], 0)
        return (outputs, tf.concat([part.last_carry for part in parts], 0)), gradient

    return run(x, kernel, recurrent_kernel, bias, recurrent_bias, h, carry)


def batch_norm(x, scale, offset, epsilon):
    """scale (x - mean) / sqrt(variance + epsilon) + offset, and mean and variance of the batch: images in two passes.

    Args:
        x: (batch, height, width, channels), float32 or bfloat16.
        scale, offset: (channels,) each.

    Returns:
        the normalized x, of its type, and mean and variance, (channels,) float32 each.
    """
    scale, offset, empty = tf.cast(scale, tf.float32), tf.cast(offset, tf.float32), tf.zeros((0,))
    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=scale, offset=offset, mean=empty, variance=empty, epsilon=epsilon
    )
    count = tf.cast(tf.reduce_prod(tf.shape(x)[:3]), tf.float32)
    return y, mean, variance * (count - 1) / count  # it is n / (n - 1) of what the kernel itself divides by


def gpu_visible() -> bool:
    """Whether TensorFlow would place a layer on a GPU, where cuDNN is faster than these kernels."""
    return bool(tf.config.list_logical_devices("GPU"))


def biased_gelu(x, bias):
    """gelu(x + bias) with the exact Gauss error function (Hendrycks and Gimpel, 2016), computed in float32.

    Args:
        x: (..., units).
        bias: (units,), of x's type.

    Returns:
        (..., units) of x's type.
    """

    @tf.custom_gradient
    def run(x, bias):
        return _biased_gelu(x, bias), lambda d: _gelu_gradient(x, bias, d)

    return run(x, bias)


@by_xla
def _biased_gelu(x, bias):
    z = tf.cast(x, tf.float32) + tf.cast(bias, tf.float32)
    return tf.cast(z * _normal_cdf(z), x.dtype)


@by_xla
def _gelu_gradient(x, bias, d):
    z = tf.cast(x, tf.float32) + tf.cast(bias, tf.float32)
    density = tf.exp(-0.5 * z * z) * (2 * math.pi) ** -0.5
    dx = tf.cast(d, tf.float32) * (_normal_cdf(z) + z * density)
    return tf.cast(dx, x.dtype), tf.cast(tf.reduce_sum(dx, tf.range(x.shape.rank - 1)), bias.dtype)


def _normal_cdf(z):
    return 0.5 + 0.5 * tf.math.erf(z * 0.5**0.5)


def add_dropped(x, y, rate, seed):
    """x + y with a share of y's elements dropped and the others divided by 1 - rate (Srivastava et al., 2014).

    Which ones is a hash of their index and the seed, a few operations per element where TensorFlow's own numbers take
    several times as long as all else in a Transformer that is not a product.

    Args:
        x, y: of one shape.
        rate: share that is dropped.
        seed: (2,) integers, as `keras.random.SeedGenerator.next` gives them.
    """
    return x + dropped(y, rate, seed)


def dropped(x, rate, seed):
    """x with a share of its elements dropped and the others divided by 1 - rate; see `add_dropped`."""
    seed = tf.bitcast(tf.cast(seed, tf.int32), tf.uint32)

    @tf.custom_gradient
    def run(x):
        return _dropped(x, rate, seed), lambda d: _dropped(d, rate, seed)

    return run(x)


@by_xla
def _dropped(y, rate, seed):
    start = _mixed(seed[0] * 0x9E3779B9 + _mixed(seed[1]))  # seeds that follow each other begin far apart
    bits = _mixed(tf.cast(tf.range(tf.size(y)), tf.uint32) * 0x9E3779B9 + start)
    kept = tf.reshape(bits, tf.shape(y)) >= tf.constant(int(rate * 2**32), tf.uint32)
    return tf.where(kept, y * tf.cast(1 / (1 - rate), y.dtype), tf.zeros((), y.dtype))


def _mixed(bits):
    """The finalizer of MurmurHash3 (Appleby): of 32 bits, each depends on all."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        bits = tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, tf.constant(shift, tf.uint32))) * factor
    return bits


def turned(x, cos, sin):
    """The pairs (x_i, x_{i + d/2}) turned by angles, of which cosines and sines are given, computed in float32.

    Args:
        x: (..., d).
        cos, sin: broadcastable to (..., d / 2), float32.
    """

    @tf.custom_gradient
    def run(x):
        return _turned(x, cos, sin), lambda d: _turned(d, cos, -sin)

    return run(x)


@by_xla
def _turned(x, cos, sin):
    first, second = tf.split(tf.cast(x, tf.float32), 2, axis=-1)
    return tf.cast(tf.concat([first * cos - second * sin, second * cos + first * sin], -1), x.dtype)


class _Stream:
    """One part of the batch: its forward loop, and what its backward loop has to remember."""

    def __init__(self, cell, x, h, carry, mask, weights, transposed):
        kernel, self.recurrent_kernel, bias, self.recurrent_bias = weights
        self.cell, self.x, self.h, self.transposed = cell, tf.transpose(x, [1, 0, 2]), h, transposed
        self.dtype = x.dtype
        self.rows = x.shape[0]  # None where the batch is unknown while tracing
        self.time, self.batch, self.width = _sizes(self.x)
        self.units = self.recurrent_kernel.shape[0]
        self.mask = None if mask is None else tf.transpose(mask)[..., None]  # (time, batch, 1)
        z = tf.nn.bias_add(tf.matmul(self._flat(self.x), kernel), bias)  # (time * batch, G)
        self._forward(tf.reshape(z, (self.time, self.batch, z.shape[-1])), carry)

    def _forward(self, z, carry):
        step = by_xla(self._forward_step)
        inputs, masks = self._array(z.shape[-1]).unstack(z), self._masks()
        carries = self._array(self.units, tf.float32, size=self.time + 1).write(0, carry)
        arrays = self._array(self.units), self._array(self.cell.remembered * self.units), carries

        def body(t, h, carry, hidden, gates, carries):
            r = tf.matmul(h, self.recurrent_kernel)
            masked = () if masks is None else (masks.read(t), h)
            h, carry, saved = step(inputs.read(t), r, self.recurrent_bias, carry, *masked)
            if self.cell.carries:
                carries = carries.write(t + 1, carry)
            return t + 1, h, carry, hidden.write(t, h), gates.write(t, saved), carries

        loop = tf.while_loop(lambda t, *_: t < self.time, body, (0, self.h, carry, *arrays))
        _, _, self.last_carry, hidden, self.gates, self.carries = loop
        self.hidden = hidden.stack()  # (time, batch, units)
        self.outputs = tf.transpose(self.hidden, [1, 0, 2])

    def _forward_step(self, z, r, bias, carry, real=None, before=None):
        single = partial(tf.cast, dtype=tf.float32)
        h, new_carry, saved = self.cell.forward(single(z), single(r), single(bias), carry)
        h, saved = tf.cast(h, self.dtype), tf.cast(saved, self.dtype)
        if real is not None:
            h, new_carry = tf.where(real, h, before), tf.where(real, new_carry, carry)
        return h, new_carry, saved

    def gradient(self, d_outputs, d_carry):
        """Gradients in x, h, carry, kernel, recurrent kernel, bias, recurrent bias; the last four in float32."""
        dz, dr, dh, dcarry = self._backward(tf.transpose(d_outputs, [1, 0, 2]), d_carry)
        previous = tf.concat([self.h[None], self.hidden[:-1]], 0)  # (time, batch, units)
        ones = tf.ones((1, self.time * self.batch), self.dtype)
        x, previous, dz, dr = map(self._flat, (self.x, previous, dz, dr))
        dx = tf.reshape(tf.matmul(dz, self.transposed[0]), (self.time, self.batch, self.width))
        of_weights = (
            tf.matmul(x, dz, transpose_a=True),
            tf.matmul(previous, dr, transpose_a=True),
            tf.matmul(ones, dz)[0],  # a product sums in float32 even where its result is bfloat16
            tf.matmul(ones, dr)[0],
        )
        return tf.transpose(dx, [1, 0, 2]), dh, dcarry, *(tf.cast(d, tf.float32) for d in of_weights)

    def _backward(self, d_outputs, d_carry):
        step = by_xla(self._backward_step)
        d_outputs, masks = self._array(self.units).unstack(d_outputs), self._masks()
        width = self.cell.gates * self.units
        has_own_dr = isinstance(self.cell, GRUCell)

        def body(t, dh, dcarry, dzs, drs):
            t = t - 1
            at = (t, t + 1) if self.cell.carries else (0, 0)
            before, after = (self.carries.read(i) for i in at)
            real = None if masks is None else masks.read(t)
            dz, dr, dcarry, passed = step(d_outputs.read(t), dh, dcarry, self.gates.read(t), before, after, real)
            drs = drs.write(t, dr) if has_own_dr else drs
            dh = tf.matmul(dr, self.transposed[1])
            return t, dh if real is None else dh + passed, dcarry, dzs.write(t, dz), drs

        start = self.time, tf.zeros_like(self.h), d_carry, self._array(width), self._array(width)
        _, dh, dcarry, dzs, drs = tf.while_loop(lambda t, *_: t > 0, body, start)
        dz = dzs.stack()
        return dz, drs.stack() if has_own_dr else dz, dh, dcarry

    def _backward_step(self, d_output, dh, dcarry, saved, carry, new_carry, real):
        single = partial(tf.cast, dtype=tf.float32)
        dh = single(d_output) + single(dh)
        dz, dr, d_old_carry = self.cell.backward(dh, dcarry, single(saved), carry, new_carry)
        passed = tf.zeros_like(dh)  # to the state before, past a step that is not real
        if real is not None:
            dz, dr, passed = tf.where(real, dz, 0.0), tf.where(real, dr, 0.0), tf.where(real, 0.0, dh)
            d_old_carry = tf.where(real, d_old_carry, dcarry)
        return tf.cast(dz, self.dtype), tf.cast(dr, self.dtype), d_old_carry, tf.cast(passed, self.dtype)

    def _masks(self):
        return None if self.mask is None else self._array(1, tf.bool).unstack(self.mask)

    def _array(self, width, dtype=None, size=None):
        size = self.time if size is None else size
        return tf.TensorArray(dtype or self.dtype, size, element_shape=(self.rows, width), clear_after_read=False)

    def _flat(self, x):
        return tf.reshape(x, (self.time * self.batch, x.shape[-1]))


def _sizes(x):
    """The shape of x: numbers where they are known while tracing, scalars of the graph where not."""
    return [fixed if fixed is not None else sized for fixed, sized in zip(x.shape, tf.unstack(tf.shape(x)))]
