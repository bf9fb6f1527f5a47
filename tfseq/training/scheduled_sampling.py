"""Scheduled sampling: feeding a model its own predictions while it learns, with a rising probability."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfseq")
class ScheduledSampling(keras.layers.Layer):
    """Replaces true tokens by predicted ones with a probability that rises linearly (Bengio et al., 2015).

    Early predictions are noise and would teach nothing, so it begins with pure teacher forcing. The predictions come
    from one parallel pass over the true tokens instead of step by step (Duckworth et al., 2019), which keeps training
    as fast as two ordinary passes.

    Args:
        probability: of a prediction at the end of the rise, 0 to 1.
        steps: training steps that the rise takes.
        seed: of the draws.

    Call arguments:
        tokens: the true tokens, (batch, time) int32.
        logits: the model's scores after reading each of them, (batch, time, vocabulary).

    Returns:
        tokens to feed, (batch, time) int32. The first of each row stays true: what predicts it lies before the chunk.
    """

    def __init__(self, probability, steps, seed=0, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= probability <= 1 or steps < 1:
            raise ValueError(f"probability is {probability} and steps {steps}; expected 0 to 1, and at least 1.")
        self.probability, self.steps, self.seed = probability, steps, seed
        self.generator = keras.random.SeedGenerator(seed)
        self.step = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False, name="step")
        self.built = True

    def call(self, tokens, logits):
        predicted = ops.cast(ops.argmax(logits[:, :-1], axis=-1), tokens.dtype)  # (batch, time - 1)
        draw = keras.random.uniform(ops.shape(predicted), dtype="float32", seed=self.generator)
        mixed = ops.where(draw < self.current_probability(), predicted, tokens[:, 1:])
        self.step.assign_add(1)
        return ops.concatenate([tokens[:, :1], mixed], axis=1)

    def current_probability(self):
        """The probability at the present step, a scalar."""
        return self.probability * ops.minimum(ops.cast(self.step, "float32") / self.steps, 1.0)

    def get_config(self):
        return super().get_config() | {"probability": self.probability, "steps": self.steps, "seed": self.seed}
