"""Graphs that generate: the decoding loop, or one decode step of it; token ids or code points in and out."""
