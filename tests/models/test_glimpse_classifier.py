"""The recurrent attention model: glimpses, its REINFORCE loss, and exported files."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
import keras

import tfseq
from tfseq.layers.glimpse import GlimpseSensor
from tfseq.models import RecurrentAttentionModel

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (5, 8, 8, 1)).astype("uint8")
LABELS = np.array([0, 2, 1, 1, 0], "int32")
CELLS = ("rnn", "irnn", "lstm", "gru")


def model_of(classes=3, **settings):
    keras.utils.set_random_seed(2)
    model = RecurrentAttentionModel(classes, **({"glimpses": 3, "size": 4, "units": 8} | settings))
    model(IMAGES)
    return model


def compiled(model):
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
    return model


def relu(x):
    return np.maximum(x, 0)


def dense(layer, x):
    kernel, bias = (np.asarray(w, "float64") for w in layer.get_weights())
    return x @ kernel + bias


def test_the_equations_in_numpy():
    model = model_of()
    outputs = model(IMAGES)
    kernel, recurrent, bias = (np.asarray(w, "float64") for w in model.core.get_weights())
    h, places = np.zeros((5, 8)), []
    for _ in range(3):
        n = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-3)
        place = np.tanh(dense(model.location, 0.4 * n))
        crops = np.asarray(GlimpseSensor(4)((IMAGES / 255).astype("float32"), place.astype("float32")))
        what, where = relu(dense(model.glimpse.see, crops.reshape(5, -1))), relu(dense(model.glimpse.place, place))
        g = relu(dense(model.glimpse.both, np.concatenate([what, where], -1)))
        h = relu(g @ kernel + h @ recurrent + bias)
        places.append(place)
    logits = dense(model.answer, h)
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5)
    np.testing.assert_allclose(outputs["locations"], np.stack(places, 1), atol=1e-5)


def test_it_looks_at_its_means_but_tries_places_around_them_while_training():
    model = model_of(sigma=0.2)
    images = np.repeat(IMAGES[:1], 2000, 0)
    first, second = model(images, training=True), model(images, training=True)
    off = np.asarray(first["locations"] - first["means"])
    assert off.std() == pytest.approx(0.2, rel=0.05)
    assert abs(off.mean()) < 0.01
    assert np.abs(first["locations"] - second["locations"]).max() > 0.1
    still = model(images[:2])
    assert still.keys() == {"probabilities", "locations"}
    np.testing.assert_array_equal(still["locations"], model(images[:2])["locations"])


def gradients(model, location_weight):
    """Of `compute_loss` by weight, at given draws: those of the seed."""
    model.location_weight = location_weight
    model.random.state.assign([1, 2])
    with tf.GradientTape() as tape:
        outputs = model(IMAGES, training=True)
        loss = model.compute_loss(IMAGES, LABELS, outputs)
    found = tape.gradient(loss, [w.value for w in model.trainable_variables], unconnected_gradients="zero")
    return {w.path: np.asarray(g) for w, g in zip(model.trainable_variables, found)}, outputs, float(loss)


def test_places_learn_by_reinforce_and_nothing_else_does():
    model = compiled(model_of(sigma=0.3))
    for layer in (model.location, model.baseline):  # a state of 0 and an untrained baseline would hide mistakes
        layer.bias.assign(RANDOM.normal(0, 0.3, layer.bias.shape))
    without, outputs, _ = gradients(model, 0.0)
    with_it, same, _ = gradients(model, 1.0)
    np.testing.assert_array_equal(outputs["locations"], same["locations"])
    others = [name for name in without if "location" not in name and "baseline" not in name]
    assert len(others) == 11
    for name in others:
        np.testing.assert_allclose(with_it[name], without[name], atol=1e-6, err_msg=name)
    assert all(np.abs(without[name]).max() == 0 for name in without if name not in others)

    p, places, means, b = (np.asarray(outputs[k]) for k in ("probabilities", "locations", "means", "baselines"))
    reward = p[np.arange(5), LABELS]
    slope = (places - means) / 0.3**2 * (1 - means**2)  # of log N through tanh, (batch, glimpses, 2)
    expected = -np.mean(np.sum((reward[:, None] - b)[..., None] * slope, 1), 0)
    np.testing.assert_allclose(with_it[model.location.bias.path], expected, rtol=1e-4)
    expected = -2 * np.mean(np.sum(reward[:, None] - b, 1))
    np.testing.assert_allclose(with_it[model.baseline.bias.path], [expected], rtol=1e-4)


def test_the_loss_is_the_answers_beside_both_others():
    model = compiled(model_of(sigma=0.3, location_weight=0.5))
    _, outputs, loss = gradients(model, 0.5)
    p, places, means, b = (np.asarray(outputs[k], "float64") for k in outputs)
    reward = p[np.arange(5), LABELS][:, None]
    log_density = -(((places - means) / 0.3) ** 2).sum(-1) / 2
    answer = -np.log(p[np.arange(5), LABELS]).mean()
    beside = (-log_density * (reward - b) + (reward - b) ** 2).sum(1).mean()
    assert loss == pytest.approx(answer + 0.5 * beside, rel=1e-4)


def test_validation_measures_the_answer_alone():
    model = compiled(model_of())
    p = np.asarray(model(IMAGES)["probabilities"], "float64")
    loss, accuracy = model.evaluate(IMAGES, LABELS, verbose=0)
    assert loss == pytest.approx(-np.log(p[np.arange(5), LABELS]).mean(), rel=1e-4)
    assert accuracy == pytest.approx((p.argmax(-1) == LABELS).mean())


def test_it_learns_to_look_where_the_answer_is():
    """Four pixels on the right side say black or white; a glimpse of the middle does not reach them."""
    labels = RANDOM.integers(0, 2, 256).astype("int32")
    images = np.full((256, 9, 9, 1), 128, "uint8")
    images[:, 3:6, 6:9, 0] = np.where(labels, 255, 0)[:, None, None]
    keras.utils.set_random_seed(0)
    model = RecurrentAttentionModel(2, glimpses=1, size=3, units=16, sigma=0.4, location_weight=0.1)
    before = model(images[:1])["locations"][0, 0]
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(images, labels, batch_size=64, epochs=40, verbose=0)
    after = model(images[:1])["locations"][0, 0]
    assert abs(before[0]) < 1e-6
    assert after[0] > 0.3
    assert (np.asarray(model(images)["probabilities"]).argmax(-1) == labels).all()


@pytest.mark.parametrize("cell", CELLS)
def test_models_come_back_from_a_file(cell, tmp_path):
    model = model_of(cell=cell, scales=2, dropout=0.1, sigma=0.2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    np.testing.assert_array_equal(loaded(IMAGES)["probabilities"], model(IMAGES)["probabilities"])


def test_images_may_leave_out_a_single_channel():
    model = model_of()
    np.testing.assert_array_equal(model(IMAGES[..., 0])["probabilities"], model(IMAGES)["probabilities"])


def test_places_and_answers_are_float32_where_products_are_bfloat16():
    model = compiled(model_of(dtype="mixed_bfloat16"))
    model.train_on_batch(IMAGES, LABELS)
    assert {str(tensor.dtype) for tensor in model(IMAGES).values()} == {"<dtype: 'float32'>"}
    assert model.core.compute_dtype == "bfloat16"


def test_files_name_the_classes_and_say_where_they_looked(tmp_path):
    model = model_of(glimpses=2)
    names = ["one", "two", "three"]
    for file in ("model.onnx", "saved_model"):
        manifest = tfseq.export(model, tmp_path / file, labels=names, samples=[IMAGES])
        assert [str(spec) for spec in manifest.inputs] == ["images uint8 (batch, 8, 8, 1)"]
        described = [str(spec) for spec in manifest.outputs]
        assert described == ["probabilities float32 (batch, 3)", "locations float32 (batch, 2, 2)"]
    file, expected = tfseq.runtime.load(tmp_path / "model.onnx"), model(IMAGES)
    np.testing.assert_allclose(file.predict(IMAGES)["locations"], expected["locations"], atol=1e-5)
    most_likely = np.asarray(expected["probabilities"]).argmax(-1)
    assert [answer.name for answer in file.classify(IMAGES)] == [names[i] for i in most_likely]
    assert not {"Loop", "Scan", "GridSample"} & manifest.operators.keys()


ON_JAX = """
import sys
import keras, numpy as np
import tfseq.models
assert keras.backend.backend() == "jax"
folder = sys.argv[1]
images, labels = np.load(f"{folder}/images.npy"), np.load(f"{folder}/labels.npy")
for cell in ("rnn", "irnn", "lstm", "gru"):
    model = keras.models.load_model(f"{folder}/{cell}.keras")
    outputs = model(images)
    np.savez(f"{folder}/{cell}.npz", probabilities=outputs["probabilities"], locations=outputs["locations"])
model.compile("adam", "sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
before = np.asarray(model.location.kernel)
history = model.fit(images, labels, epochs=2, verbose=0).history
assert np.isfinite(history["loss"]).all() and np.abs(np.asarray(model.location.kernel) - before).max() > 0
"""


def test_jax_sees_the_same_and_can_train(tmp_path, on_jax):
    np.save(tmp_path / "images.npy", IMAGES)
    np.save(tmp_path / "labels.npy", LABELS)
    models = {cell: model_of(cell=cell, scales=2) for cell in CELLS}
    for cell, model in models.items():
        model.save(tmp_path / f"{cell}.keras")
    on_jax(ON_JAX, tmp_path)
    for cell, model in models.items():
        with np.load(tmp_path / f"{cell}.npz") as on_jax:
            for name, values in model(IMAGES).items():
                np.testing.assert_allclose(on_jax[name], values, atol=2e-5, err_msg=f"{cell} {name}")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"glimpses": 0}, "glimpses is 0"),
        ({"classes": 0}, "classes is 0"),
        ({"sigma": 0.0}, "sigma is 0.0; expected more than 0"),
        ({"cell": "elman"}, "cell is 'elman'; expected one of rnn"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        RecurrentAttentionModel(**({"classes": 3} | wrong))
