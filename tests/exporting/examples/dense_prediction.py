"""Networks whose output is as large as their input, and networks over points and graphs."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from tests.exporting.examples.registry import example, floats, integers, pixels


def augmentation():
    """Does nothing at inference."""
    return keras.Sequential(
        [
            layers.Resizing(12, 12),
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(factor=0.02),
            layers.RandomZoom(height_factor=0.2, width_factor=0.2),
            layers.RandomContrast(0.1),
        ]
    )


@example({"image": pixels(16, 16, 3)})
def xception_with_augmentation():
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Rescaling(1.0 / 255)(augmentation()(image))
    x = layers.Activation("relu")(layers.BatchNormalization()(layers.Conv2D(8, 3, strides=2, padding="same")(x)))
    before = x
    for size in (8, 12):
        x = layers.BatchNormalization()(layers.SeparableConv2D(size, 3, padding="same")(layers.Activation("relu")(x)))
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        before = layers.Conv2D(size, 1, strides=2, padding="same")(before)
        x = before = layers.add([x, before])
    x = layers.GaussianNoise(0.1)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(1, name="cat")(layers.Dropout(0.25)(x)))


@example({"image": pixels(16, 16, 3)})
def unet():
    image = keras.Input((16, 16, 3), name="image")
    x, skips = image, []
    for channels in (4, 8):
        x = layers.Conv2D(channels, 3, padding="same", activation="relu", kernel_initializer="he_normal")(x)
        skips.append(x)
        x = layers.MaxPool2D(2)(x)
    x = layers.Conv2D(12, 3, padding="same", activation="relu")(x)
    for channels, skip in zip((8, 4), reversed(skips)):
        x = layers.concatenate([layers.Conv2DTranspose(channels, 3, 2, padding="same")(x), skip])
        x = layers.Conv2D(channels, 3, padding="same", activation="relu")(x)
    return keras.Model(image, layers.Conv2D(3, 1, activation="softmax", padding="same", name="classes")(x))


@example({"image": pixels(16, 16, 3)})
def dilated_pyramid():
    """Dilated convolutions at several rates, pooling over everything, bilinear resizing back."""
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same")(image)
    pooled = layers.AveragePooling2D(pool_size=(8, 8))(x)
    pooled = layers.UpSampling2D(size=(8, 8), interpolation="bilinear")(layers.Conv2D(4, 1)(pooled))
    rates = [layers.Conv2D(4, 3, dilation_rate=rate, padding="same", use_bias=False)(x) for rate in (1, 2, 3)]
    x = layers.Concatenate(axis=-1)([pooled, *rates])
    x = ops.image.resize(layers.Conv2D(3, 1)(x), (16, 16), interpolation="bilinear")
    return keras.Model(image, layers.Identity(name="logits")(x))


class DepthToSpace(layers.Layer):
    def call(self, x):
        return tf.nn.depth_to_space(x, 3)


@example({"image": pixels(8, 8, 1)})
def super_resolution():
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(8, 5, padding="same", activation="relu", kernel_initializer="orthogonal")(image)
    x = DepthToSpace()(layers.Conv2D(9, 3, padding="same")(x))
    return keras.Model(image, layers.Identity(name="large")(x))


class Involution(layers.Layer):
    """A kernel for each place, made from the place itself (Li et al., 2021)."""

    def __init__(self, channels, groups, size):
        super().__init__()
        self.channels, self.groups, self.size = channels, groups, size
        self.reduce = keras.Sequential([layers.Conv2D(2, 1), layers.BatchNormalization(), layers.ReLU()])
        self.kernel = layers.Conv2D(size * size * groups, 1)

    def call(self, x):
        _, height, width, _ = x.shape
        kernel = ops.reshape(self.kernel(self.reduce(x)), (-1, height, width, self.size**2, 1, self.groups))
        patches = ops.image.extract_patches(x, size=self.size, strides=1, dilation_rate=1, padding="same")
        patches = ops.reshape(patches, (-1, height, width, self.size**2, self.channels // self.groups, self.groups))
        return ops.reshape(ops.sum(kernel * patches, axis=3), (-1, height, width, self.channels))


@example({"image": pixels(8, 8, 4)})
def involution():
    image = keras.Input((8, 8, 4), name="image")
    x = layers.ReLU()(Involution(4, 2, 3)(image))
    return keras.Model(image, layers.Dense(3, name="label")(layers.Flatten()(x)))


class MobileBlock(layers.Layer):
    """Convolution, then attention among the pixels of one place in every patch (Mehta, Rastegari, 2021)."""

    def __init__(self, width):
        super().__init__()
        self.local = layers.Conv2D(width, 3, padding="same", activation="swish")
        self.attention, self.norm = layers.MultiHeadAttention(2, width), layers.LayerNormalization(epsilon=1e-6)
        self.unfold, self.fold = layers.Reshape((4, 16, width)), layers.Reshape((8, 8, width))
        self.merge = layers.Conv2D(4, 3, padding="same", activation="swish")

    def call(self, x):
        y = self.unfold(self.local(x))
        z = self.norm(y)
        y = self.fold(self.attention(z, z) + y)
        return self.merge(layers.Concatenate(axis=-1)([x, y]))


@example({"image": pixels(8, 8, 4)})
def mobile_transformer():
    """Attention over four axes."""
    image = keras.Input((8, 8, 4), name="image")
    x = layers.GlobalAvgPool2D()(MobileBlock(6)(image))
    return keras.Model(image, layers.Dense(3, activation="softmax", name="label")(x))


def alignment(x, size):
    """A square matrix from the points themselves, starting at the identity."""
    y = layers.Activation("relu")(layers.BatchNormalization(momentum=0.0)(layers.Conv1D(8, 1, padding="valid")(x)))
    y = layers.Dense(8, activation="relu")(layers.GlobalMaxPooling1D()(y))
    y = layers.Dense(
        size * size, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(np.eye(size).ravel())
    )(y)
    return layers.Dot(axes=(2, 1))([x, layers.Reshape((size, size))(y)])


@example({"points": floats("time", 3)})
def point_cloud():
    points = keras.Input((None, 3), name="points")
    x = layers.Conv1D(6, 1, activation="relu")(alignment(points, 3))
    x = layers.GlobalMaxPooling1D()(alignment(x, 6))
    return keras.Model(points, layers.Dense(4, activation="softmax", name="shape")(x))


class GraphAttention(layers.Layer):
    """Scores edges, normalizes them at each node by segment sums (Velickovic et al., 2018)."""

    def __init__(self, units, edges, nodes):
        super().__init__()
        self.units, self.nodes = units, nodes
        self.edges = np.array(edges, "int32")

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")
        self.score = self.add_weight(shape=(self.units * 2, 1), name="score")

    def call(self, x):
        """x: (batch, nodes, features)."""
        x = ops.transpose(ops.matmul(x, self.kernel), (1, 0, 2))  # (nodes, batch, units)
        pairs = ops.reshape(ops.take(x, self.edges, axis=0), (len(self.edges), 2, -1, self.units))
        pairs = ops.reshape(ops.transpose(pairs, (0, 2, 1, 3)), (len(self.edges), -1, 2 * self.units))
        scores = ops.exp(ops.clip(ops.leaky_relu(ops.matmul(pairs, self.score)), -2, 2))
        totals = ops.segment_sum(scores, self.edges[:, 0], num_segments=self.nodes)
        weights = scores / ops.take(totals, self.edges[:, 0], axis=0)
        found = ops.segment_sum(weights * ops.take(x, self.edges[:, 1], axis=0), self.edges[:, 0], self.nodes)
        return ops.transpose(ops.relu(found), (1, 0, 2))


@example({"papers": floats(5, 4)})
def citations():
    papers = keras.Input((5, 4), name="papers")
    edges = [(i, i) for i in range(5)] + [(0, 1), (1, 2), (2, 0), (3, 4), (4, 1)]
    x = layers.Concatenate()([GraphAttention(3, edges, 5)(papers) for _ in range(2)])
    return keras.Model(papers, layers.Dense(2, name="subject")(x))


class DecisionTree(layers.Layer):
    """Soft routes from the root to the leaves, level by level (Kontschieder et al., 2015)."""

    def __init__(self, depth, features, classes):
        super().__init__()
        self.depth, self.leaves = depth, 2**depth
        chosen = np.random.default_rng(0).permutation(features)[: features // 2]
        self.mask = np.eye(features, dtype="float32")[chosen]
        self.decide, self.classes = layers.Dense(self.leaves, activation="sigmoid"), classes

    def build(self, shape):
        self.pi = self.add_weight(shape=(self.leaves, self.classes), initializer="random_normal", name="pi")

    def call(self, features):
        batch = ops.shape(features)[0]
        features = ops.matmul(features, ops.transpose(self.mask))
        decisions = ops.expand_dims(self.decide(features), axis=2)
        decisions = layers.concatenate([decisions, 1 - decisions], axis=2)
        mu, begin, end = ops.ones([batch, 1, 1]), 1, 2
        for level in range(self.depth):
            mu = ops.tile(ops.reshape(mu, [batch, -1, 1]), (1, 1, 2)) * decisions[:, begin:end, :]
            begin, end = end, end + 2 ** (level + 1)
        mu = ops.reshape(mu, [batch, self.leaves])
        return ops.matmul(mu, ops.softmax(self.pi))


@example({"age": floats(1), "education": integers(5, 1), "hours": floats(1)})
def decision_forest():
    inputs = {
        "age": keras.Input((1,), name="age"),
        "education": keras.Input((1,), dtype="int32", name="education"),
        "hours": keras.Input((1,), name="hours"),
    }
    education = layers.Flatten()(layers.Embedding(5, 3)(inputs["education"]))
    x = layers.BatchNormalization()(layers.concatenate([inputs["age"], education, inputs["hours"]]))
    votes = [DecisionTree(3, 5, 2)(x) for _ in range(2)]
    return keras.Model(inputs, layers.Average(name="income")(votes))
