"""Parity of a file with its model: forward pass, chunks, decode steps and generated tokens; reports and provenance."""
