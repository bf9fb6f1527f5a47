"""Patch embedding and Vision Transformer encoder: patches by hand, positions, attention weights."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from tfseq.layers.vision import PatchEmbedding, VisionEncoder

DRAW = np.random.default_rng(0)
IMAGES = DRAW.integers(0, 256, (2, 6, 9, 2), np.uint8)


def randomized(layer, images):
    layer(images)
    draw = np.random.default_rng(1)
    layer.set_weights([draw.normal(0, 0.5, weight.shape) for weight in layer.get_weights()])
    return layer


def test_a_patch_is_projected_from_its_own_pixels_and_its_place_is_added():
    layer = randomized(PatchEmbedding(3, 4), IMAGES)
    positions, kernel, bias = (np.asarray(w) for w in (layer.positions, *layer.project.weights))
    found = np.asarray(layer(IMAGES))
    assert found.shape == (2, 6, 4) == layer.compute_output_shape(IMAGES.shape)
    for image, vectors in zip(IMAGES, found):
        for i in range(6):
            row, column = divmod(i, 3)
            patch = image[3 * row : 3 * row + 3, 3 * column : 3 * column + 3] / 255
            np.testing.assert_allclose(vectors[i], patch.ravel() @ kernel + bias + positions[i], atol=1e-5)


def test_images_without_a_channel_axis_have_one_channel():
    layer = randomized(PatchEmbedding(3, 4), IMAGES[..., :1])
    np.testing.assert_allclose(np.asarray(layer(IMAGES[..., 0])), np.asarray(layer(IMAGES[..., :1])), atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 7, 9, 1), (2, 6, 10), (2, 6), (2, None, 9, 1)])
def test_images_that_cannot_be_cut_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected \(batch, height, width\).*multiples of the patches' size, 3"):
        PatchEmbedding(3, 4).build(shape)


def test_without_positions_the_image_is_a_set_of_patches():
    encoder = randomized(VisionEncoder(3, 8, heads=2, depth=2), IMAGES)
    swapped = np.concatenate([IMAGES[:, 3:], IMAGES[:, :3]], axis=1)  # the rows of patches change places
    assert np.abs(np.asarray(encoder(IMAGES)) - np.asarray(encoder(swapped)))[:, 0].max() > 1e-3
    encoder.patches.positions.assign(np.zeros((6, 8)))
    states, others = np.asarray(encoder(IMAGES)), np.asarray(encoder(swapped))
    np.testing.assert_allclose(others[:, 0], states[:, 0], atol=1e-4)
    np.testing.assert_allclose(others[:, [4, 5, 6, 1, 2, 3]], states[:, 1:], atol=1e-4)


@pytest.mark.parametrize("class_token", [True, False])
def test_the_attention_it_shows_is_the_attention_it_pays(class_token):
    """A block of its own, in NumPy: x + W_o (A V), A the weights shown."""
    encoder = randomized(VisionEncoder(3, 8, heads=2, depth=1, class_token=class_token), IMAGES)
    positions = 6 + class_token
    assert encoder(IMAGES).shape == (2, positions, 8) == encoder.compute_output_shape(IMAGES.shape)
    (weights,) = (np.asarray(w) for w in encoder.attention(IMAGES))
    assert weights.shape == (2, 2, positions, positions)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    block = encoder.blocks[0]
    x = np.asarray(encoder.patches(IMAGES))
    if class_token:
        x = np.concatenate([np.repeat(np.asarray(encoder.token), 2, axis=0), x], axis=1)
    gamma, beta = block.around_attention.normalize.get_weights()
    normal = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * gamma + beta
    kernel, bias = block.attention.qkv.get_weights()
    values = (normal @ kernel + bias)[..., 16:].reshape(2, positions, 2, 4).transpose(0, 2, 1, 3)
    mixed = (weights @ values).transpose(0, 2, 1, 3).reshape(2, positions, 8)
    kernel, bias = block.attention.out.get_weights()
    found = np.asarray(block.attention(keras.ops.convert_to_tensor(normal.astype("float32"))))
    np.testing.assert_allclose(found, mixed @ kernel + bias, atol=1e-4)


def test_the_feed_forward_networks_have_the_activation_that_was_asked_for():
    encoder = VisionEncoder(3, 8, heads=2, depth=2, activation="relu")
    encoder = VisionEncoder.from_config(encoder.get_config())
    x = DRAW.normal(size=(2, 3, 8)).astype("float32")
    for block in encoder.blocks:
        block.build((None, None, 8))
        layer = block.feed_forward
        (kernel, bias), (other, shift) = layer.widen.get_weights(), layer.narrow.get_weights()
        expected = np.maximum(x @ kernel + bias, 0) @ other + shift
        np.testing.assert_allclose(np.asarray(layer(x)), expected, atol=1e-5)
