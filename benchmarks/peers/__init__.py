"""Peers of the benchmarks: PyTorch models written from published recipes, CTranslate2, and the loop in Python."""
