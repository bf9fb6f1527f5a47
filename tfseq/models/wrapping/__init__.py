"""`as_generator`: Keras models of other people's making as a `Generator`."""
