import numpy as np
import pytest

keras = pytest.importorskip("keras")

from tfseq.training.exact_match import WholeAnswers

SCORES = np.eye(4)[[[1, 2, 3], [1, 2, 0], [1, 2, 3]]]  # most likely tokens, (batch, time, vocabulary)
TRUTH = np.array([[1, 2, 3], [1, 2, 3], [1, 3, 3]])
WEIGHTS = np.array([[1, 1, 1], [1, 1, 0], [1, 1, 1]])


def test_an_answer_is_whole_if_every_token_that_counts_is_right():
    share = WholeAnswers()
    share.update_state(TRUTH, SCORES, WEIGHTS)
    assert float(share.result()) == pytest.approx(2 / 3)
    share.update_state(TRUTH[2:], SCORES[2:], WEIGHTS[2:])
    assert float(share.result()) == pytest.approx(2 / 4)


def test_without_weights_every_step_counts():
    share = WholeAnswers()
    share.update_state(TRUTH, SCORES)
    assert float(share.result()) == pytest.approx(1 / 3)


def test_keras_measures_it_beside_the_loss_and_saves_it_with_the_model(tmp_path):
    model = keras.Sequential([keras.Input((3, 4)), keras.layers.Softmax()])
    model.compile(loss="sparse_categorical_crossentropy", weighted_metrics=[WholeAnswers()], jit_compile=False)
    model.save(tmp_path / "model.keras")
    for measured in (model, keras.models.load_model(tmp_path / "model.keras")):
        logs = measured.evaluate(SCORES, TRUTH, sample_weight=WEIGHTS, verbose=0, return_dict=True)
        assert logs["whole_answers"] == pytest.approx(2 / 3)
