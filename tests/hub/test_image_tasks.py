"""KerasHub's tasks of pictures: pixels of any size in, KerasHub's own predictions behind its preprocessor out."""

import numpy as np
import pytest

keras_hub = pytest.importorskip("keras_hub")
import keras

import tfseq
from tests.hub.test_text_tasks import same_classes

LABELS = ["cat", "dog", "owl"]
SIZES = ((30, 47), (16, 16), (61, 20))


def classifier(m, **converter):
    backbone = m.ViTBackbone(
        image_shape=(16, 16, 3), patch_size=4, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=24
    )
    made = keras_hub.layers.ViTImageConverter(image_size=(16, 16), **converter)
    preprocessor = m.ViTImageClassifierPreprocessor(image_converter=made)
    return m.ViTImageClassifier(backbone=backbone, preprocessor=preprocessor, num_classes=3)


def residual(m, **converter):
    backbone = m.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 16],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(None, None, 3),
    )
    preprocessor = m.ResNetImageClassifierPreprocessor(
        keras_hub.layers.ResNetImageConverter(image_size=(24, 24), **converter)
    )
    return m.ResNetImageClassifier(backbone=backbone, preprocessor=preprocessor, num_classes=3, activation="softmax")


SCALED = {"scale": [0.01, 0.02, 0.03], "offset": [-0.5, 0.25, 1.0]}
CASES = [
    (classifier, {"scale": 1 / 127.5, "offset": -1.0}),
    (classifier, {"crop_to_aspect_ratio": False, "interpolation": "bicubic", **SCALED}),
    (residual, {"pad_to_aspect_ratio": True, "crop_to_aspect_ratio": False, **SCALED}),
]


@pytest.mark.parametrize(("make", "converter"), CASES)
def test_a_picture_of_any_size_gets_the_class_that_predict_gives_it(make, converter, tmp_path):
    task, random = make(keras_hub.models, **converter), np.random.default_rng(0)
    for weight in task.trainable_weights:
        weight.assign(random.normal(size=weight.shape) * (0.1 + weight.shape[0] ** -0.5))
    task.output_dense.kernel.assign(task.output_dense.kernel / np.ptp(logits(task), axis=1).max() * 2)
    task.output_dense.bias.assign(-logits(task).mean(axis=1))
    tfseq.export(task, tmp_path / "pictures.onnx", labels=LABELS)
    file = tfseq.runtime.load(tmp_path / "pictures.onnx")
    for size in SIZES:
        pixels = pictures(random, size)
        scores = np.asarray(task.predict(pixels, verbose=0), "float64")
        if make is classifier:  # which gives logits
            scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        same_classes(file.classify(pixels), scores / scores.sum(axis=1, keepdims=True), LABELS)
    assert tfseq.verify(tmp_path / "pictures.onnx", task).passed


def pictures(random, size):
    """Of a colour each, with noise."""
    colours = random.integers(0, 256, (4, 1, 1, 3))
    return (0.7 * colours + 0.3 * random.integers(0, 256, (4, *size, 3))).astype("float32")


def logits(task):
    """Of some pictures, (classes, pictures), without bias and softmax."""
    pixels = pictures(np.random.default_rng(1), SIZES[0])
    states = task.preprocessor(pixels)
    features = keras.Model(task.input, task.output_dense.input)(states)
    return np.asarray(task.output_dense.kernel).T @ np.asarray(features).T


def test_a_segmenter_takes_pictures_of_any_size(tmp_path):
    m = keras_hub.models
    encoder = m.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 16, 16],
        stackwise_num_blocks=[1, 1, 1],
        stackwise_num_strides=[1, 2, 2],
        block_type="basic_block",
        image_shape=(32, 32, 3),
    )
    backbone = m.DeepLabV3Backbone(
        image_encoder=encoder,
        low_level_feature_key="P2",
        spatial_pyramid_pooling_key="P4",
        dilation_rates=[2, 4],
        upsampling_size=4,
        image_shape=(32, 32, 3),
    )
    preprocessor = m.DeepLabV3ImageSegmenterPreprocessor(
        keras_hub.layers.DeepLabV3ImageConverter(image_size=(32, 32), scale=1 / 255)
    )
    task = m.DeepLabV3ImageSegmenter(backbone=backbone, preprocessor=preprocessor, num_classes=4)
    tfseq.export(task, tmp_path / "segments.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 51, 3)).astype("float32")
    found = tfseq.runtime.load(tmp_path / "segments.onnx").predict(pixels)
    np.testing.assert_allclose(found, task.predict(pixels, verbose=0), atol=1e-4)
