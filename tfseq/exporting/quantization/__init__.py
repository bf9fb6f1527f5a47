"""Weight quantization of exported files to int8 and float16, with the accuracy drop and the speed-up measured."""
