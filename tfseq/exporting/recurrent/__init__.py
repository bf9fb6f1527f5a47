"""Recurrent layers as ONNX' own RNN, GRU and LSTM: Keras layer -> marked trace -> ONNX operator -> fewer transposes.

- `markers`: in the trace, a marker takes the place of each recurrent layer's loop over time; with
  - `cells`: the weights of a Keras cell as ONNX' operator wants them, or why it has no operator,
  - `masked_sequences`: time-major sequences, with masks turned into sequence lengths, and back.
- `native_operators`: what a marker is, and its conversion to RNN, GRU or LSTM; `cudnn`: cuDNN's operators likewise.
- `rnn_as_scan`: over the ONNX graph, RNN becomes a Scan, which ONNX Runtime runs faster.
- `transposes`: over the ONNX graph, transposes between batch-major and time-major cancel out.
"""
