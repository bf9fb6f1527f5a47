"""Export of models on JAX and PyTorch: a process with TensorFlow converts a copy, and asks the model for parity."""
