"""Files on the disk: ONNX files whose weights are streamed in and out, and how a new file takes an old one's place."""
