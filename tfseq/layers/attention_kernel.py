"""Training kernel for CPUs, in TensorFlow, of recurrent decoders with attention.

As in `tfseq.layers.tensorflow_kernels`, what doesn't wait for the state leaves the loop. The part of the input that is
known beforehand goes in one product before it. After it come the gradients of the cell's weights, a product each, and
those of the memory and of the alignment's weights: by then all states are known, and each is a query beside the others.
In the backward loop remains the gradient in the state alone. Products run in the type of the inputs (bfloat16 under
mixed precision), gates and carried state in float32.
"""

from functools import partial

import tensorflow as tf

from tfseq.layers.batch_streams import stream_count
from tfseq.layers.tensorflow_kernels import by_xla
from tfseq.machine import available_cores


def attentive_recurrence(cell, attend, y, weights, h, carry, given, fixed):
    """s_t, carry_t = cell(s_{t-1}, [y_t; c_t]), c_t = attend(s_{t-1}), differentiable in every tensor it is given.

    Args:
        cell: a cell of `tensorflow_kernels`, with G = gates * units.
        attend: (s (batch, queries, units), given, fixed) -> c (batch, queries, context).
        y: inputs known beforehand, (batch, time, width).
        weights: kernel (width + context, G), recurrent kernel (units, G), bias and recurrent bias (G,), of y's type.
        h, carry: first hidden state, (batch, units), of y's type, and first carried state, float32.
        given: tensors that `attend` depends on, (batch, ...) each.
        fixed: tensors that `attend` depends on and that have no batch, such as its weights.

    Returns:
        s and c, (batch, time, units or context) each, of y's type.
    """
    streams = stream_count(y.shape[0], available_cores())
    cut = partial(tf.split, num_or_size_splits=streams, axis=0)
    parts = zip(cut(y), cut(h), cut(carry), *map(cut, given))
    run, fixed = partial(_stream, cell, attend), [tf.convert_to_tensor(x) for x in fixed]  # reads variables
    outputs = [run(y, weights, h, carry, given, fixed) for y, h, carry, *given in parts]
    return tuple(tf.concat(part, axis=0) for part in zip(*outputs))


def _stream(cell, attend, y, weights, h, carry, given, fixed):
    """One part of the batch."""
    known = len(given)

    @tf.custom_gradient
    def run(y, kernel, recurrent_kernel, bias, recurrent_bias, h, carry, *given):
        loop = _Loop(cell, attend, y, (kernel, recurrent_kernel, bias, recurrent_bias), h, carry, given, known)
        return (loop.outputs, loop.contexts), loop.gradient

    return run(y, *weights, h, carry, *given, *fixed)


class _Loop:
    """The forward loop, and the activations that it saves for the backward loop, time-major."""

    def __init__(self, cell, attend, y, weights, h, carry, given, known):
        self.cell, self.h, self.given, self.dtype = cell, h, given, y.dtype
        self.kernel, self.recurrent_kernel, bias, self.recurrent_bias = weights
        self.attend = lambda s, given: attend(s, given[:known], given[known:])
        self.y = tf.transpose(y, [1, 0, 2])
        self.rows, self.units, self.width = y.shape[0], h.shape[-1], y.shape[-1]
        self.context = self.kernel.shape[0] - self.width
        self.time, self.batch = (y.shape[i] or tf.shape(y)[i] for i in (1, 0))
        z = tf.nn.bias_add(tf.matmul(self._flat(self.y), self.kernel[: self.width]), bias)
        self._forward(tf.reshape(z, (self.time, self.batch, z.shape[-1])), carry)

    def _forward(self, z, carry):
        step = by_xla(self._gates)
        of_context = self.kernel[self.width :]
        inputs = self._array(z.shape[-1]).unstack(z)
        carries = self._array(self.units, tf.float32, self.time + 1).write(0, carry)
        arrays = (self._array(self.units), self._array(self.context), self._array(self.cell.remembered * self.units))

        def body(t, h, carry, hidden, contexts, saved, carries):
            c = self._context(h)
            r, u = tf.matmul(h, self.recurrent_kernel), tf.matmul(c, of_context)
            h, carry, gates = step(inputs.read(t), u, r, self.recurrent_bias, carry)
            if self.cell.carries:
                carries = carries.write(t + 1, carry)
            return t + 1, h, carry, hidden.write(t, h), contexts.write(t, c), saved.write(t, gates), carries

        loop = tf.while_loop(lambda t, *_: t < self.time, body, (0, self.h, carry, *arrays, carries))
        *_, hidden, contexts, self.saved, self.carries = loop
        self.hidden, self.looked = hidden.stack(), contexts.stack()
        self.outputs, self.contexts = (tf.transpose(x, [1, 0, 2]) for x in (self.hidden, self.looked))

    def _context(self, h):
        return tf.squeeze(self.attend(h[:, None], self.given), 1)

    def _d_state(self, h, dc):
        with tf.GradientTape() as tape:
            tape.watch(h)
            c = self._context(h)
        return tape.gradient(c, h, dc)

    def _gates(self, z, u, r, bias, carry):
        single = partial(tf.cast, dtype=tf.float32)
        h, carry, saved = self.cell.forward(single(z) + single(u), single(r), single(bias), carry)
        return tf.cast(h, self.dtype), carry, tf.cast(saved, self.dtype)

    def gradient(self, d_outputs, d_contexts):
        """Gradients in y, the four weights, h, carry and all that is given."""
        previous = tf.concat([self.h[None], self.hidden[:-1]], axis=0)  # (time, batch, units)
        dz, dr, dcs, dh, dcarry = self._backward(previous, d_outputs, d_contexts)
        d_given = self._of_given(tf.transpose(previous, [1, 0, 2]), tf.transpose(dcs, [1, 0, 2]))
        ones = tf.ones((1, self.time * self.batch), self.dtype)
        read = tf.concat([self.y, self.looked], axis=-1)
        dz, dr = self._flat(dz), self._flat(dr)
        of_weights = (
            tf.matmul(self._flat(read), dz, transpose_a=True),
            tf.matmul(self._flat(previous), dr, transpose_a=True),
            tf.matmul(ones, dz)[0],  # a product sums in float32 even where its result is bfloat16
            tf.matmul(ones, dr)[0],
        )
        dy = tf.matmul(dz, self.kernel[: self.width], transpose_b=True)
        dy = tf.transpose(tf.reshape(dy, (self.time, self.batch, self.width)), [1, 0, 2])
        return dy, *of_weights, dh, dcarry, *d_given

    def _backward(self, previous, d_outputs, d_contexts):
        step = by_xla(self._d_gates)
        to_context, to_state = tf.transpose(self.kernel[self.width :]), tf.transpose(self.recurrent_kernel)
        d_outputs = self._array(self.units).unstack(tf.transpose(d_outputs, [1, 0, 2]))
        d_contexts = self._array(self.context).unstack(tf.transpose(d_contexts, [1, 0, 2]))
        previous = self._array(self.units).unstack(previous)
        width = self.cell.gates * self.units

        def body(t, dh, dcarry, dzs, drs, dcs):
            t = t - 1
            at = (t, t + 1) if self.cell.carries else (0, 0)
            before, after = (self.carries.read(i) for i in at)
            dz, dr, dcarry = step(d_outputs.read(t), dh, dcarry, self.saved.read(t), before, after)
            dc = d_contexts.read(t) + tf.matmul(dz, to_context)
            dh = tf.matmul(dr, to_state) + self._d_state(previous.read(t), dc)
            return t, dh, dcarry, dzs.write(t, dz), drs.write(t, dr), dcs.write(t, dc)

        start = (self.time, tf.zeros_like(self.h), tf.zeros_like(self.h, tf.float32))
        arrays = (self._array(width), self._array(width), self._array(self.context))
        _, dh, dcarry, dzs, drs, dcs = tf.while_loop(lambda t, *_: t > 0, body, (*start, *arrays))
        return dzs.stack(), drs.stack(), dcs.stack(), dh, dcarry

    def _of_given(self, states, d_contexts):
        """Gradients in what is given, of all steps at once; None for tensors that are not floats."""
        learned = [x for x in self.given if x.dtype.is_floating]
        with tf.GradientTape() as tape:
            tape.watch(learned)
            contexts = self.attend(states, self.given)  # (batch, time, context)
        gradients = iter(tape.gradient(contexts, learned, d_contexts, unconnected_gradients="zero"))
        return [next(gradients) if x.dtype.is_floating else None for x in self.given]

    def _d_gates(self, d_output, dh, dcarry, saved, carry, new_carry):
        single = partial(tf.cast, dtype=tf.float32)
        dh = single(d_output) + single(dh)
        dz, dr, dcarry = self.cell.backward(dh, dcarry, single(saved), carry, new_carry)
        return tf.cast(dz, self.dtype), tf.cast(dr, self.dtype), dcarry

    def _array(self, width, dtype=None, size=None):
        size = self.time if size is None else size
        return tf.TensorArray(dtype or self.dtype, size, element_shape=(self.rows, width), clear_after_read=False)

    def _flat(self, x):
        return tf.reshape(x, (self.time * self.batch, x.shape[-1]))
