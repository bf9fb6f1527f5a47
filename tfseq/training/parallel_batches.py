"""A training step of several batches that are computed at the same time, one per core."""

import keras
import tensorflow as tf


class SideBySide(keras.Model):
    """Trains a model on several batches per step: on the mean of their gradients, which are computed at the same time.

    The products of a narrow model are too small for two cores to share, while two batches keep two cores busy. Needs
    the TensorFlow backend; with `tfseq.training.one_stream_per_core` each operator keeps to its core. Elsewhere
    `gradient_accumulation_steps` of Keras' optimizers does the same, one batch after the other.

    Args:
        model: what is trained; it is evaluated as ever.

    Call arguments:
        inputs: as the model takes them. `fit` takes batches as `batches_side_by_side` makes them.
    """

    def __init__(self, model, **kwargs):
        super().__init__(**kwargs)
        self.model = model
        self.built = True

    def call(self, inputs, training=False):
        return self.model(inputs, training=training)

    def train_step(self, data):
        gradients, measured = [], {}
        loss_so_far = next(metric for metric in self.metrics if metric.name == "loss")
        for batch in data:
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
            with tf.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.compute_loss(x, y, y_pred, sample_weight, training=True)
            gradients.append(tape.gradient(loss, self.trainable_variables))
            loss_so_far.update_state(loss, sample_weight=tf.shape(tf.nest.flatten(x)[0])[0])
            measured = self.compute_metrics(x, y, y_pred, sample_weight)
        self.optimizer.apply([_mean(parts) for parts in zip(*gradients)], self.trainable_variables)
        return measured


def batches_side_by_side(batches, count):
    """Tuples of `count` batches that follow each other, a tf.data.Dataset; what is left at the end is dropped."""

    def together(*window):
        ahead = tf.data.Dataset.zip(window)
        return tuple(ahead.skip(i).take(1).get_single_element() for i in range(count))

    return batches.window(count, drop_remainder=True).map(together)


def batches_of_whole_steps(batches, count):
    """The batches without those at the end that are too few for a step of `count`."""
    return batches.window(count, drop_remainder=True).flat_map(lambda *window: tf.data.Dataset.zip(window))


def _mean(gradients):
    """None where the loss does not depend on the variable."""
    if any(gradient is None for gradient in gradients):
        return None
    return tf.add_n([tf.convert_to_tensor(gradient) for gradient in gradients]) / len(gradients)
