"""The worked examples of convolution: their values hold, and the plot is written."""

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from tfseq.analysis import convolution


@pytest.fixture(scope="module")
def data():
    return convolution.explain()


def test_the_integral_of_two_boxes_is_the_triangle(data):
    np.testing.assert_allclose(data.integral, np.maximum(1 - np.abs(data.t), 0), atol=1e-4)


def test_every_formula_agrees_with_the_framework(data):
    kinds = {(case.axes, case.padding, case.stride) for case in data.agreement}
    assert {case.padding for case in data.agreement if case.axes == 2} == {"valid", "same", "zeros (2, 1) (0, 3)"}
    assert len(kinds) == len(data.agreement) == 18
    assert max(case.error for case in data.agreement) < 1e-12


def test_a_disagreement_would_be_seen(monkeypatch):
    right = convolution.gradients
    monkeypatch.setattr(convolution, "gradients", lambda *args, **kwargs: [2 * part for part in right(*args, **kwargs)])
    assert min(case.error for case in convolution.explain().agreement) > 0.1


def test_outputs_of_a_kernel_are_its_channels_added_up(data):
    channels = data.channels
    np.testing.assert_allclose(channels.outputs, channels.parts.sum(1), atol=1e-12)
    patch = channels.image[4:7, 9:12]  # one place by hand: the second kernel is the mean green minus the mean blue
    assert channels.outputs[1, 4, 9] == pytest.approx(patch[..., 1].mean() - patch[..., 2].mean())
    assert channels.outputs[0, 4, 6] == pytest.approx((channels.image[4:7, 8, 0] - channels.image[4:7, 6, 0]).mean())


def test_the_response_moves_with_the_picture(data):
    np.testing.assert_allclose(data.moved_response[data.move :], data.response[: -data.move], atol=1e-12)
    assert np.abs(data.response).max() > 0.5


def test_backward_is_the_full_convolution_with_the_kernel(data):
    np.testing.assert_allclose(data.dx, np.convolve(data.spread, data.flipped[::-1]))


def test_it_reads_as_text(data):
    text = str(data)
    assert "at 2: 1*0.5 + 2*1 + 3*0 = 2.5" in text
    assert "2-D, same" in text


def test_the_picture_is_written(data, tmp_path):
    convolution.plot(data, tmp_path / "convolution.png")
    assert (tmp_path / "convolution.png").read_bytes().startswith(b"\x89PNG")
