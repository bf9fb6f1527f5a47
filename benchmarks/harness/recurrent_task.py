"""Sizes of the LSTM language model and its batch in `benchmarks.recurrent_training`, the same in every library."""

BATCH, TIME, VOCABULARY, EMBEDDING, UNITS, DEPTH = 64, 100, 96, 128, 512, 2
