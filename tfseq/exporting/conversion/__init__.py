"""A Keras model's function, traced by TensorFlow and converted: to an ONNX graph by tf2onnx, or to a SavedModel."""
