import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from tfseq.models import RecurrentLanguageModel
from tfseq.training import TruncatedBPTT

CELLS = ["rnn", "irnn", "lstm", "gru"]
CHUNK_ONE = np.array([[1, 2, 2, 1, 2]], "int32")
CHUNK_TWO = np.array([[3, 4, 4, 3, 4]], "int32")


def trainer_of(cell):
    model = RecurrentLanguageModel(5, units=6, depth=2, cell=cell, embedding_dim=3)
    trainer = TruncatedBPTT(model, batch=1)
    model.set_weights([w + np.random.default_rng(0).normal(0, 0.3, w.shape) for w in model.get_weights()])
    return trainer, model


def logits_of(trainer, tokens, starts):
    return trainer({"tokens": tokens, "starts": np.array([starts])}, training=True)


@pytest.mark.parametrize("cell", CELLS)
def test_the_state_of_chunk_one_is_carried_into_chunk_two(cell):
    trainer, model = trainer_of(cell)
    logits_of(trainer, CHUNK_ONE, starts=True)
    carried = logits_of(trainer, CHUNK_TWO, starts=False)
    whole = model(np.concatenate([CHUNK_ONE, CHUNK_TWO], axis=1))[:, 5:]
    np.testing.assert_allclose(carried, whole, atol=1e-5)
    afresh = logits_of(trainer, CHUNK_TWO, starts=True)
    assert np.abs(carried - afresh).max() > 1e-3


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_stop_at_the_edge_of_the_chunk(cell):
    """The tokens of the two chunks differ, so a row of the embedding's gradient belongs to one chunk."""
    trainer, model = trainer_of(cell)
    embedding = model.embed.embeddings.value

    def gradient_of_the_loss_on_chunk_two(carry):
        with tf.GradientTape() as tape:
            logits = carry()
            loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(CHUNK_TWO, logits))
        return tf.convert_to_tensor(tape.gradient(loss, embedding)).numpy()

    def truncated():
        logits_of(trainer, CHUNK_ONE, starts=True)
        return logits_of(trainer, CHUNK_TWO, starts=False)

    def not_truncated():
        return model(np.concatenate([CHUNK_ONE, CHUNK_TWO], axis=1), training=True)[:, 5:]

    cut, full = gradient_of_the_loss_on_chunk_two(truncated), gradient_of_the_loss_on_chunk_two(not_truncated)
    assert np.all(cut[[1, 2]] == 0)
    assert np.all(np.abs(full[[1, 2]]).max(axis=1) > 1e-6)
    assert np.all(np.abs(cut[[3, 4]]).max(axis=1) > 1e-6)


def test_evaluating_does_not_disturb_the_state_of_training():
    trainer, _ = trainer_of("gru")
    logits_of(trainer, CHUNK_ONE, starts=True)
    expected = logits_of(trainer, CHUNK_TWO, starts=False)
    logits_of(trainer, CHUNK_ONE, starts=True)
    trainer({"tokens": CHUNK_TWO, "starts": np.array([True])}, training=False)
    np.testing.assert_array_equal(logits_of(trainer, CHUNK_TWO, starts=False), expected)


def test_a_learned_initial_state_receives_a_gradient_where_a_row_starts():
    model = RecurrentLanguageModel(5, units=6, cell="lstm", initial_state="learned")
    trainer = TruncatedBPTT(model, batch=1)
    with tf.GradientTape(persistent=True) as tape:
        first = tf.reduce_sum(logits_of(trainer, CHUNK_ONE, starts=True) ** 2)
        second = tf.reduce_sum(logits_of(trainer, CHUNK_TWO, starts=False) ** 2)
    h0 = [w.value for w in model.trainable_variables if "initial_state" in w.path]
    assert len(h0) == 2
    assert all(np.abs(g).max() > 0 for g in tape.gradient(first, h0))
    assert all(g is None or np.abs(g).max() == 0 for g in tape.gradient(second, h0))
