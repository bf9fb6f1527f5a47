"""Weight quantization of exported files to int8, int4 and float16, with accuracy drop and speed-up measured."""
