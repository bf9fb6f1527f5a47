"""`Backbone`: networks of `keras.applications` as encoders, with random weights, so that nothing is downloaded."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
h5py = pytest.importorskip("h5py")
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

import tfseq
from tfseq.layers.backbone import Backbone
from tfseq.layers.caption_decoders import AttentionCaptionDecoder
from tfseq.models import Captioner

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 64, 32, 3)).astype("uint8")
SMALL = {
    "MobileNet": {"alpha": 0.25},
    "MobileNetV2": {"alpha": 0.35},
    "MobileNetV3Small": {"alpha": 0.75, "minimalistic": True},
}


def randomized(network):
    """Neutral means and variances would hide a normalization that is left out."""
    draw = np.random.default_rng(0)
    for weight in network.weights:
        if "seed" not in weight.path and len(weight.shape) == 1:
            weight.assign(weight + draw.uniform(0, 0.3, weight.shape))


def small(name="MobileNet", **options):
    return Backbone(name, **{"weights": None, "options": SMALL[name]} | options)


@pytest.mark.parametrize("name", SMALL)
def test_features_are_those_of_the_whole_network_before_pooling_and_classifier(name):
    """The network with its top, fed with what its own `preprocess_input` makes of pixels in NumPy."""
    whole = getattr(keras.applications, name)(weights=None, input_shape=(64, 32, 3), **SMALL[name])
    randomized(whole)
    pooling = next(layer for layer in whole.layers if isinstance(layer, keras.layers.GlobalAveragePooling2D))
    before = keras.Model(whole.input, pooling.input)
    module = {"MobileNet": "mobilenet", "MobileNetV2": "mobilenet_v2", "MobileNetV3Small": "mobilenet_v3"}[name]
    pixels = getattr(keras.applications, module).preprocess_input(IMAGES.astype("float32"))
    layer = small(name)
    layer.build(IMAGES.shape)
    layer.network.set_weights(before.get_weights())
    features = np.asarray(layer(IMAGES))
    assert features.shape == layer.compute_output_shape(IMAGES.shape) == (2, 2, 1, before.output.shape[-1])
    assert features.std() > 1e-3
    np.testing.assert_allclose(features, before(pixels), rtol=1e-4, atol=1e-5)


CAFFE, TORCH = np.array([103.939, 116.779, 123.68]), (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))
PREPROCESSED = {
    "MobileNetV2": lambda x: x / 127.5 - 1,
    "InceptionV3": lambda x: x / 127.5 - 1,
    "ResNet50V2": lambda x: x / 127.5 - 1,
    "ResNet50": lambda x: x[..., ::-1] - CAFFE,  # blue, green, red
    "VGG16": lambda x: x[..., ::-1] - CAFFE,
    "DenseNet121": lambda x: (x / 255 - TORCH[0]) / TORCH[1],
    "EfficientNetB0": lambda x: x,  # inside of the network
    "ConvNeXtTiny": lambda x: x,
}


@pytest.mark.parametrize("name", PREPROCESSED)
def test_pixels_are_prepared_as_each_network_was_trained(name):
    layer = Backbone(name, weights=None)
    layer.network, layer.built = keras.layers.Identity(), True
    np.testing.assert_allclose(layer(IMAGES), PREPROCESSED[name](IMAGES.astype("float64")), atol=1e-4)


def test_a_frozen_network_stays_in_inference_mode():
    layer = small()
    expected = np.asarray(layer(IMAGES))
    np.testing.assert_array_equal(layer(IMAGES, training=True), expected)
    assert layer.trainable_variables == []
    before = [np.asarray(weight) for weight in layer.weights]
    model = captioner(layer)
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.train_on_batch({"image": IMAGES, "target": np.ones((2, 3), "int32")}, np.ones((2, 3), "int32"))
    for weight, old in zip(layer.weights, before):
        np.testing.assert_array_equal(weight, old)


def test_fine_tuning_changes_weights_and_averages():
    layer = small(trainable=True)
    layer(IMAGES)
    assert len(layer.trainable_variables) == len(layer.network.trainable_variables) > 50
    average = next(weight for weight in layer.weights if "moving_mean" in weight.path)
    layer(IMAGES, training=True)
    assert np.abs(np.asarray(average)).max() > 0  # where it starts


def test_a_frozen_network_can_be_fine_tuned_later():
    layer = small()
    layer(IMAGES)
    layer.trainable = True
    assert len(layer.trainable_variables) > 50


def captioner(layer):
    model = Captioner(layer, AttentionCaptionDecoder(8), IMAGES.shape[1:], 7)
    model({"image": IMAGES, "target": np.ones((2, 3), "int32")})
    return model


def written(network, path):
    """As `save_weights` does it, or in the format of the files that Keras downloads."""
    if path.name.endswith(".weights.h5"):
        network.save_weights(path)
    else:
        with h5py.File(path, "w") as file:
            save_weights_to_hdf5_group(file, network)
    return path


@pytest.mark.parametrize("name", ["net.weights.h5", "mobilenet_2_5_224_tf_no_top.h5"])
def test_weights_come_from_a_file(name, tmp_path):
    first = small()
    first.build(IMAGES.shape)
    randomized(first)
    second = small(weights=str(written(first.network, tmp_path / name)))
    np.testing.assert_array_equal(second(IMAGES), first(IMAGES))


def test_a_saved_captioner_needs_neither_download_nor_file(tmp_path):
    first = small()
    first.build(IMAGES.shape)
    first.network.save_weights(tmp_path / "net.weights.h5")
    model = captioner(small(weights=str(tmp_path / "net.weights.h5")))
    randomized(model)
    assert model.encoder.get_config()["weights"] is None
    model.save(tmp_path / "model.keras")
    (tmp_path / "net.weights.h5").unlink()
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.encoder.get_config() == model.encoder.get_config()
    assert again.encoder.options == {"alpha": 0.25}
    assert not again.encoder.trainable
    inputs = {"image": IMAGES, "target": np.ones((2, 3), "int32")}
    np.testing.assert_array_equal(again(inputs), model(inputs))


def test_mixed_precision_reaches_every_layer():
    layer = small(dtype="mixed_bfloat16")
    assert layer(IMAGES).dtype == "bfloat16"
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    exact = small()
    exact.build(IMAGES.shape)
    exact.set_weights(layer.get_weights())
    expected = np.asarray(exact(IMAGES))
    np.testing.assert_allclose(np.asarray(layer(IMAGES), "float32"), expected, atol=0.05 * np.abs(expected).max())


def test_the_file_takes_pixels_and_looks_at_the_networks_grid(tmp_path):
    model = captioner(small())
    randomized(model)
    path = tmp_path / "captioner.onnx"
    manifest = tfseq.export(model, path, decode=tfseq.Greedy(), attention=True, samples=[IMAGES])
    assert manifest.parity["passed"]
    assert str(manifest.inputs[0]) == "image uint8 (batch, 64, 32, 3)"
    assert str(manifest.outputs[3]) == "attention float32 (batch, new_time, 2)"
    assert model.grid == (2, 1)


def test_a_download_that_fails_says_what_to_do(monkeypatch):
    def fails(*_, **__):
        raise Exception("URL fetch failure on https://example.org/net.h5: None -- no connection")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", fails)
    with pytest.raises(ValueError, match=r"MobileNetV2 can't be downloaded: .* no connection.*weights=PATH"):
        Backbone("MobileNetV2").build((None, 96, 96, 3))
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({"architecture": "AlexNet"}, (None, 64, 64, 3), "architecture is 'AlexNet'; expected one of .*MobileNetV2"),
        ({"weights": "nowhere.h5"}, (None, 64, 64, 3), "no file nowhere.h5; expected the weights of MobileNet"),
        ({}, (None, 64, 64, 1), r"have the shape \(None, 64, 64, 1\); expected \(batch, height, width, 3\)"),
        ({}, (None, 20, 64, 3), "MobileNet can't be made .* at least 32x32"),
        ({"options": {"width": 3}}, (None, 64, 64, 3), "MobileNet can't be made .*unexpected keyword"),
    ],
)
def test_what_can_not_be_is_refused(options, shape, message):
    with pytest.raises(ValueError, match=message):
        Backbone(**{"architecture": "MobileNet", "weights": None} | options).build(shape)


@pytest.mark.parametrize(
    ("file", "name", "options"),
    [
        ("net.weights.h5", "MobileNetV3Small", {"include_top": False}),
        ("net.h5", "MobileNetV3Small", {"include_top": False}),
        ("net.weights.h5", "MobileNet", {"include_top": False, "alpha": 0.5}),
        ("net.h5", "MobileNet", {"include_top": False, "alpha": 0.5}),
        ("net.h5", "MobileNet", {"alpha": 0.25}),
    ],
)
def test_weights_of_another_network_are_refused(file, name, options, tmp_path):
    network = getattr(keras.applications, name)(weights=None, input_shape=(32, 32, 3), **options)
    path = written(network, tmp_path / file)
    with pytest.raises(ValueError, match=f"{file} can't be read as weights of MobileNet without its top"):
        small(weights=path).build(IMAGES.shape)
