"""What others use, written from their published recipes in a few lines of PyTorch."""
