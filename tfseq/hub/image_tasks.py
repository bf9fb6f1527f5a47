"""`image_model`: a task of KerasHub's that reads pictures, behind its preprocessor: pixels of any size in."""

from typing import Any

import keras
from keras import ops

from tfseq.hub.task_settings import as_probabilities, refused


def image_model(task: Any, probabilities: bool = False) -> keras.Model:
    """The task behind what its preprocessor makes of pictures: another size, another scale.

    Args:
        task: an ImageClassifier or ImageSegmenter.
        probabilities: whether logits become probabilities: of a classifier without an activation.

    Returns:
        a model of `images`, (batch, height, width, channels) float32 of 0 to 255.

    Raises:
        ExportError: the task reads something else.
    """
    if isinstance(task.input, dict | list):
        raise refused(task, "reads something else beside pictures")
    converter = getattr(task.preprocessor, "image_converter", None)
    shape = task.input.shape[1:]
    if converter is None:
        images = keras.Input(shape, name="images")
        prepared = images
    else:
        first = converter.data_format == "channels_first"
        size = (None, None) if converter.image_size else shape[1:] if first else shape[:-1]
        shape = (shape[0], *size) if first else (*size, shape[-1])
        images = keras.Input(shape, name="images")
        prepared = Prepared(converter)(images)
    outputs = task(prepared)
    return keras.Model(images, as_probabilities(task, outputs) if probabilities else outputs, name=task.name)


@keras.saving.register_keras_serializable(package="tfseq")
class Prepared(keras.layers.Layer):
    """What an `ImageConverter` of KerasHub makes of pictures, computed by Keras in the model.

    Call arguments:
        images: (batch, height, width, channels) of 0 to 255, or with channels first.
    """

    def __init__(self, converter: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.converter = converter

    def call(self, images):
        converter = self.converter
        if converter.image_size:
            images = converter.resizing(images)
        for change, values in ((ops.multiply, converter.scale), (ops.add, converter.offset)):
            if values is not None:
                values = ops.convert_to_tensor(values, images.dtype)
                if converter.data_format == "channels_first" and len(values.shape) == 1:
                    values = values[:, None, None]
                images = change(images, values)
        return images

    def get_config(self):
        return super().get_config() | {"converter": keras.saving.serialize_keras_object(self.converter)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("converter")), **config)
