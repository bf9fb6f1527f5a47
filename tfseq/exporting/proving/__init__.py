"""The proof that a file gives what its model gives: forward pass, chunks, decode steps and generated tokens."""
