"""Multilayer perceptron (or logistic regression) for binary classification of feature vectors (one to one)."""

import keras

from tfseq.models.hyperparameters import check_sizes


@keras.saving.register_keras_serializable(package="tfseq")
class DenseClassifier(keras.Model):
    """P(positive | x) = sigmoid(w . h + b), h = act(W x' + c), x' = (x - mean) / deviation: one to one.

    The lecture's first pattern: no sequence on either side, as height, weight and age tell high from normal blood
    pressure. Without hidden layers it is logistic regression.

    Args:
        hidden: units of each hidden layer; () for none.
        activation: of the hidden layers.
        dropout: rate on each hidden layer's output.

    Call arguments:
        inputs: features in their own units, (batch, features) float32. Their means and deviations are part of the
            model: `model.normalize.adapt(x)` learns them from the examples, (examples, features).

    Returns:
        probability of the positive class, (batch, 1) float32.

    Raises:
        ValueError: hyper-parameters that can't be.

    Example:
        >>> model = DenseClassifier(hidden=(16,))
        >>> model.normalize.adapt([[59.0, 32.1], [48.0, 21.6]])
        >>> model(keras.ops.convert_to_tensor([[60.0, 30.0]])).shape
        TensorShape([1, 1])
    """

    def __init__(self, hidden=(16,), activation="tanh", dropout=0.0, **kwargs):
        super().__init__(autocast=False, **kwargs)  # features are normalized before they lose bits
        check_sizes(**{f"hidden layer {i + 1}": units for i, units in enumerate(hidden)})
        self.settings = {"hidden": list(hidden), "activation": activation, "dropout": dropout}
        policy = {"dtype": self.dtype_policy}
        self.normalize = keras.layers.Normalization(dtype="float32", name="normalize")
        self.hidden = [
            keras.layers.Dense(n, activation, name=f"hidden_{i + 1}", **policy) for i, n in enumerate(hidden)
        ]
        self.dropout = keras.layers.Dropout(dropout, name="dropout", **policy)
        self.head = keras.layers.Dense(1, "sigmoid", dtype="float32", name="probability")

    def build(self, input_shape=None):
        width = input_shape[-1]
        if not self.normalize.built:
            self.normalize.build((None, width))
        for layer in self.hidden:
            layer.build((None, width))
            width = layer.units
        self.head.build((None, width))
        self.built = True

    def call(self, inputs, training=False):
        x = self.normalize(inputs)  # (batch, features)
        for layer in self.hidden:
            x = self.dropout(layer(x), training=training)  # (batch, units)
        return self.head(x)

    def get_config(self):
        return super().get_config() | self.settings
