import numpy as np
import pytest

keras = pytest.importorskip("keras")

from tfseq.training import ScheduledSampling

TOKENS = np.zeros((4, 500), "int32")
LOGITS = np.tile(np.array([0.0, 0.0, 5.0], "float32"), (4, 500, 1))  # the model always predicts 2


def test_it_begins_with_teacher_forcing_and_its_share_of_predictions_rises_linearly():
    sampling = ScheduledSampling(0.5, steps=10)
    shares = [float(np.mean(np.asarray(sampling(TOKENS, LOGITS)) == 2)) for _ in range(13)]
    assert shares[0] == 0
    np.testing.assert_allclose(shares, [0.5 * min(step / 10, 1) for step in range(13)], atol=0.05)


def test_a_prediction_stands_where_the_token_it_predicts_stood():
    sampling = ScheduledSampling(1.0, steps=1)
    sampling(TOKENS[:, :4], LOGITS[:, :4])
    tokens = np.array([[7, 7, 7, 7]], "int32")
    logits = np.eye(5, dtype="float32")[[[3, 1, 4, 2]]]
    np.testing.assert_array_equal(sampling(tokens, logits), [[7, 3, 1, 4]])


@pytest.mark.parametrize("wrong", [{"probability": 1.5, "steps": 10}, {"probability": 0.5, "steps": 0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="expected 0 to 1"):
        ScheduledSampling(**wrong)
