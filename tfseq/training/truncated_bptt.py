"""Truncated backpropagation through time: the state is carried forward for ever, gradients go back one chunk."""

import keras
from keras import ops, tree


class TruncatedBPTT(keras.Model):
    """Trains and evaluates a recurrent model on contiguous streams, with `keras.Model.fit` and `evaluate`.

    Row b of one chunk continues row b of the chunk before, and so does its hidden state: chunk k is read from the state
    that chunk k-1 left, as a constant, so the loss depends on all the text so far and its gradient on this chunk alone
    (Williams and Peng, 1990). Training and evaluation carry a state each, so evaluating does not disturb a run.

    Args:
        model: a model with `initial_state` and `unroll`, such as RecurrentLanguageModel.
        batch: number of training streams.
        evaluation_batch: number of evaluation streams; `batch` if not given.
        scheduled_sampling: feeds the model its own predictions while training; None feeds the true tokens (teacher
            forcing).

    Call arguments:
        inputs: {"tokens": (batch, time) int32, "starts": (batch,) bool}; True where a row begins, from the initial
            state.

    Returns:
        logits, (batch, time, vocabulary).
    """

    def __init__(self, model, batch, evaluation_batch=None, scheduled_sampling=None, **kwargs):
        super().__init__(**kwargs)
        self.model = model
        self.scheduled_sampling = scheduled_sampling
        if not model.built:
            model.build((None, None))
        self.carried_in_training = self._carried(batch, "train")
        self.carried_in_evaluation = self._carried(evaluation_batch or batch, "evaluation")
        self.built = True

    def _carried(self, batch, name):
        state = tree.flatten(self.model.initial_state((), batch))
        return [
            self.add_weight(
                shape=s.shape, dtype=s.dtype, initializer="zeros", trainable=False, name=f"{name}_state_{i}"
            )
            for i, s in enumerate(state)
        ]

    def call(self, inputs, training=False):
        tokens, starts = inputs["tokens"], inputs["starts"]
        carried = self.carried_in_training if training else self.carried_in_evaluation
        state = self._first_state(carried, starts)
        if training and self.scheduled_sampling is not None:
            teacher_forced, _ = self.model.unroll(tokens, state, training=True)
            tokens = self.scheduled_sampling(tokens, teacher_forced)
        logits, state = self.model.unroll(tokens, state, training=training)
        for variable, value in zip(carried, tree.flatten(state)):
            variable.assign(ops.stop_gradient(value))
        return logits

    def _first_state(self, carried, starts):
        """The initial state where a row starts (differentiable, so it can be learned), else the carried one, fixed."""
        initial = self.model.initial_state((), carried[0].shape[0])
        state = [
            ops.where(starts[:, None], first, ops.stop_gradient(ops.cast(last, first.dtype)))
            for first, last in zip(tree.flatten(initial), carried)
        ]
        return tree.pack_sequence_as(initial, state)
