"""Chunk graphs of recurrent models: a chunk of a sequence and the states in, its outputs and the new states out."""
