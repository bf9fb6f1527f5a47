/** Writes small ONNX files byte by byte. */

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
  inputs: [{ name: "x", dtype: "float32", shape: ["batch", 3] }],
  outputs: [{ name: "y", dtype: "float32", shape: ["batch", 3] }],
  operators: {},
  opset: 18,
  format: 1,
  ...more,
});

const named = (name) => field(1, utf8(name));
const FLOAT = 1;
const INT64 = 7;

/** A ValueInfoProto: the name, the type and the axes of an input or output. */
function value(name, type, ...axes) {
  const shape = axes.flatMap((axis) => field(1, field(2, utf8(axis))));
  return [...named(name), ...field(2, field(1, [...numberField(1, type), ...field(2, shape)]))];
}

/** A file that predicts, and fails where `index` is none of `data`: element = data[index]. */
export function gatherer() {
  const node = [...named("data"), ...named("index"), ...field(2, utf8("element")), ...field(4, utf8("Gather"))];
  const graph = [
    ...field(1, node),
    ...field(2, utf8("gatherer")),
    ...field(11, value("data", FLOAT, "n")),
    ...field(11, value("index", INT64)),
    ...field(12, value("element", FLOAT)),
  ];
  const inputs = [
    { name: "data", dtype: "float32", shape: ["n"] },
    { name: "index", dtype: "int64", shape: [] },
  ];
  const outputs = [{ name: "element", dtype: "float32", shape: [] }];
  const opset = field(8, numberField(2, 18));
  return Uint8Array.from([...opset, ...model({ tfseq: JSON.stringify(manifest({ inputs, outputs })) }, graph)]);
}

/** A file that predicts y = x + w, for w of `count` numbers in a second file; `location` is where the graph looks for it. */
export function adder(external, count, location = external.file) {
  const weights = [
    ...numberField(1, count),
    ...numberField(2, FLOAT),
    ...field(8, utf8("w")),
    ...Object.entries({ location, offset: "0", length: String(4 * count) }).flatMap(([key, value]) =>
      field(13, [...field(1, utf8(key)), ...field(2, utf8(value))]),
    ),
    ...numberField(14, 1), // data_location: EXTERNAL
  ];
  const graph = [
    ...field(1, [...named("x"), ...named("w"), ...field(2, utf8("y")), ...field(4, utf8("Add"))]),
    ...field(2, utf8("adder")),
    ...field(5, weights),
    ...field(11, value("x", FLOAT, "n")),
    ...field(12, value("y", FLOAT, "n")),
  ];
  const [inputs, outputs] = ["x", "y"].map((name) => [{ name, dtype: "float32", shape: ["n"] }]);
  const json = JSON.stringify(manifest({ inputs, outputs, external_data: external }));
  return Uint8Array.from([...field(8, numberField(2, 18)), ...model({ tfseq: json }, graph)]);
}
