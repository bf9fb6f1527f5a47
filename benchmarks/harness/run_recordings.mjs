/**
 * Runs recordings of `benchmarks/harness/runtime_files.py` with a JavaScript ONNX Runtime. In Node:
 * `node run_recordings.mjs FOLDER PATHS`, where FOLDER has onnxruntime-node in its node_modules; a browser imports `answer`.
 */

const ARRAYS = {
  float32: Float32Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  uint32: Uint32Array,
  bool: Uint8Array,
};

/** What a runtime makes of a recording: its outputs, or why there are none. */
export async function answer(ort, recording, file) {
  try {
    const session = await ort.InferenceSession.create(file, { executionProviders: [ort.provider], logSeverityLevel: 4 });
    const outputs = [];
    for (const call of recording.calls) {
      const feeds = Object.entries(call.feeds).map(([name, array]) => [name, unpacked(ort, array)]);
      const given = await session.run(Object.fromEntries(feeds));
      outputs.push(Object.fromEntries(Object.entries(given).map(([name, tensor]) => [name, packed(tensor)])));
    }
    await session.release();
    return { outputs };
  } catch (error) {
    return { error: String(error?.message ?? error) };
  }
}

function unpacked(ort, { dtype, shape, bytes }) {
  const content = Uint8Array.from(atob(bytes), (character) => character.charCodeAt(0));
  return new ort.Tensor(dtype, new ARRAYS[dtype](content.buffer), shape);
}

function packed({ type, dims, data }) {
  const content = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  let text = "";
  for (const byte of content) text += String.fromCharCode(byte);
  return { dtype: type, shape: dims, bytes: btoa(text) };
}

if (globalThis.process?.argv[1]?.endsWith("run_recordings.mjs")) {
  const { readFileSync } = await import("node:fs");
  const { createRequire } = await import("node:module");
  const [folder, ...paths] = process.argv.slice(2);
  const ort = createRequire(`${folder}/package.json`)("onnxruntime-node");
  for (const path of paths) {
    const recording = JSON.parse(readFileSync(path, "utf8"));
    const found = await answer({ ...ort, provider: "cpu" }, recording, recording.file);
    console.log(JSON.stringify(found));
  }
}
