"""Recurrent layers as ONNX' own RNN, GRU and LSTM: marked while traced, converted whole, transposed rarely."""
