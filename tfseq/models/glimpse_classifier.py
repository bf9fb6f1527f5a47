"""Recurrent attention model: classifies an image by a sequence of glimpses, and learns where to look by REINFORCE."""

import keras
from keras import ops

from tfseq.layers.glimpse import GlimpseNetwork, GlimpseSensor
from tfseq.layers.recurrent import recurrent_layer
from tfseq.models.hyperparameters import check_sizes

# Of W_l, whose weights Adam moves by as much as all others: places that move faster end at the border, where tanh is
# flat and nothing more is learnt.
PACE = 0.4


@keras.saving.register_keras_serializable(package="tfseq")
class RecurrentAttentionModel(keras.Model):
    """An image as a sequence of glimpses (Mnih et al., 2014).

    At each step t the model chooses a place from what it has seen so far, looks there, and takes that into its state:

        m_t = tanh(W_l norm(h_{t-1})),   l_t ~ N(m_t, sigma^2)  (at inference l_t = m_t),
        g_t = glimpse network(sensor(image, l_t), l_t),   h_t = cell(h_{t-1}, g_t);

    after the last one it answers: P(class) = softmax(W_a h_T). norm gives h mean 0 and variance 1 over its units (the
    paper has h itself); a ReLU's h grows with t, and places would drift with it.

    Looking has no gradient to learn from, so W_l learns from reward: R = P(right class), which is the paper's, 1 for a
    right answer and 0 for a wrong one, averaged over the answers that could be drawn. `compute_loss` is the hybrid of
    section 3.1: the loss that `compile` was given trains glimpse network, cell and answer; REINFORCE trains W_l,

        L_l = -sum_t log N(l_t; m_t, sigma^2) (R - b_t),

    with a baseline b_t = W_b h_{t-1} that learns to expect R by its squared error. Neither changes h.

    Args:
        classes: kinds of images.
        glimpses: T, how often it looks.
        size: height and width of a glimpse, pixels.
        scales: crops in a glimpse, each covering twice the height and width of the one before.
        units: width of g and h.
        cell: "rnn", "irnn" (that of the paper: ReLU), "lstm" or "gru".
        sigma: standard deviation of the places while training; an image is 2 wide.
        dropout: rate on h_T before the answer.
        location_weight: of L_l and the baseline's loss beside the loss of the answer.

    Call arguments:
        images: (batch, height, width) or (batch, height, width, channels) from 0 to 255, uint8 or float.

    Returns:
        a dict: probabilities (batch, classes) float32, and locations (batch, glimpses, 2) float32: x and y of each
        glimpse's middle, from (-1, -1) at the image's upper left to (1, 1) at the lower right. While training also
        means and baselines, m and b of each glimpse, (batch, glimpses, 2) and (batch, glimpses).

    Raises:
        ValueError: hyper-parameters that can't be.
    """

    def __init__(
        self,
        classes,
        glimpses=6,
        size=8,
        scales=1,
        units=256,
        cell="irnn",
        sigma=0.1,
        dropout=0.0,
        location_weight=0.01,
        seed=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_sizes(classes=classes, glimpses=glimpses, size=size, scales=scales, units=units)
        if not sigma > 0:
            raise ValueError(f"sigma is {sigma}; expected more than 0: without it no new place is ever tried.")
        self.settings = {
            "classes": classes,
            "glimpses": glimpses,
            "size": size,
            "scales": scales,
            "units": units,
            "cell": cell,
            "sigma": sigma,
            "dropout": dropout,
            "location_weight": location_weight,
            "seed": seed,
        }
        self.classes, self.glimpses, self.units = classes, glimpses, units
        self.sigma, self.location_weight = sigma, location_weight
        policy = {"dtype": self.dtype_policy}
        self.rescale = keras.layers.Rescaling(1 / 255, dtype="float32", name="rescaling")
        self.sensor = GlimpseSensor(size, scales, dtype="float32", name="sensor")
        self.glimpse = GlimpseNetwork(units, name="glimpse", **policy)
        self.core = recurrent_layer(cell, units, name=cell, **policy).cell
        self.dropout = keras.layers.Dropout(dropout, name="dropout", **policy)
        self.answer = keras.layers.Dense(classes, "softmax", dtype="float32", name="probabilities")
        self.normalize = keras.layers.LayerNormalization(center=False, scale=False, dtype="float32", name="norm")
        self.location = keras.layers.Dense(2, "tanh", dtype="float32", name="location")
        self.baseline = keras.layers.Dense(1, dtype="float32", name="baseline")
        self.random = keras.random.SeedGenerator(seed)

    def build(self, images_shape):
        channels = images_shape[3] if len(images_shape) == 4 else 1
        size, scales = self.sensor.size, self.sensor.scales
        self.glimpse.build((None, scales, channels, size, size), (None, 2))
        self.core.build((None, self.units))
        for layer in (self.answer, self.normalize, self.location, self.baseline):
            layer.build((None, self.units))
        self.built = True

    def call(self, images, training=False):
        images = images if len(images.shape) == 4 else images[..., None]
        images = self.rescale(images)  # (batch, height, width, channels)
        state = self.core.get_initial_state(batch_size=ops.shape(images)[0])
        h = state[0]  # (batch, units)
        steps = []
        for _ in range(self.glimpses):
            known = ops.stop_gradient(h)
            mean = self.location(PACE * self.normalize(known))  # (batch, 2)
            place = mean
            if training:
                place += self.sigma * keras.random.normal(ops.shape(mean), dtype="float32", seed=self.random)
                place = ops.stop_gradient(place)
            g = self.glimpse(self.sensor(images, place), place)  # (batch, units)
            h, state = self.core(g, state, training=training)
            steps.append((place, mean, self.baseline(known)[:, 0]))
        places, means, baselines = (ops.stack(parts, axis=1) for parts in zip(*steps))  # (batch, glimpses, ...)
        outputs = {"probabilities": self.answer(self.dropout(h, training=training)), "locations": places}
        return outputs | {"means": means, "baselines": baselines} if training else outputs

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The loss of the answer, and while training those of places and baselines beside it."""
        loss = super().compute_loss(x, y, y_pred["probabilities"], sample_weight, training)
        if "means" not in y_pred:
            return loss
        right = ops.one_hot(ops.cast(y, "int32"), self.classes, dtype="float32")
        reward = ops.sum(right * ops.stop_gradient(y_pred["probabilities"]), axis=-1, keepdims=True)  # (batch, 1)
        error = reward - y_pred["baselines"]  # (batch, glimpses)
        off = (ops.stop_gradient(y_pred["locations"]) - y_pred["means"]) / self.sigma
        log_density = -0.5 * ops.sum(off**2, axis=-1)  # but for a constant
        reinforce = -ops.mean(ops.sum(log_density * ops.stop_gradient(error), axis=1))
        return loss + self.location_weight * (reinforce + ops.mean(ops.sum(error**2, axis=1)))

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, y, y_pred["probabilities"], sample_weight)

    def get_config(self):
        return super().get_config() | self.settings
