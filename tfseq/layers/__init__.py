"""Keras layers that the models share: attention, recurrent cells, Transformer blocks, KV cache, image encoders."""
