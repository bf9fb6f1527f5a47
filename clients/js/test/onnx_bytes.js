/** ONNX files written by hand, byte by byte. */

const varint = (number) => (number < 128 ? [number] : [(number % 128) + 128, ...varint(Math.floor(number / 128))]);
const utf8 = (text) => [...new TextEncoder().encode(text)];

/** A field of bytes (wire type 2). */
export const field = (number, bytes) => [...varint(number * 8 + 2), ...varint(bytes.length), ...bytes];

/** A field that holds a number (wire type 0). */
export const numberField = (number, value) => [...varint(number * 8), ...varint(value)];

/** One entry of metadata_props. */
export const entry = (key, value) => field(14, [...field(1, utf8(key)), ...field(2, utf8(value))]);

/** A file whose graph is `graph`, with metadata behind it. */
export function model(metadata, graph = [1, 2, 3]) {
  const entries = Object.entries(metadata).flatMap(([key, value]) => entry(key, value));
  return Uint8Array.from([...numberField(1, 8), ...field(2, utf8("maker")), ...field(7, graph), ...entries]);
}

/** A manifest with what is required, and more. */
export const manifest = (more = {}) => ({
  name: "test",
  task: "predict",
  inputs: [],
  outputs: [],
  operators: {},
  opset: 18,
  format: 1,
  ...more,
});
