"""Files on the disk: ONNX files whose weights are streamed into them, and how a new file takes an old one's place."""
