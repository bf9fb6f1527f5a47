/** What a manifest is, field by field, as `tfseq/runtime/manifest_schema.py` has it. */

import { among, anything, damaged, either, flag, listOf, mapOf, number, orNone, record, shown, text, whole } from "./schema.js";

export const TASKS = ["predict", "generate", "stream_generate"];
/** @type {Record<string, number>} bytes of an element */
const WIDTHS = {
  ...{ bool: 1, int8: 1, uint8: 1, int16: 2, uint16: 2, float16: 2, int32: 4, uint32: 4, float32: 4 },
  ...{ int64: 8, uint64: 8, float64: 8, string: 8 },
};
const MOST_STATE = 2 ** 30; // bytes that the states of one row may have before the first chunk
const INT32 = 2 ** 31 - 1;
const token = whole(0, INT32);
const count = whole(0);
const numbers = (/** @type {string[]} */ ...names) => Object.fromEntries(names.map((name) => [name, number]));
const counts = (/** @type {string[]} */ ...names) => Object.fromEntries(names.map((name) => [name, count]));
const texts = (/** @type {string[]} */ ...names) => Object.fromEntries(names.map((name) => [name, text()]));

const tensor = record({
  name: text(1),
  dtype: among(Object.keys(WIDTHS)),
  shape: listOf(either(whole(0, INT32), text(1)), 0, 32),
});
const state = record({ input: text(1), output: text(1), initial: either(number, listOf(anything)) });
const setting = record(
  {},
  {
    ...{ dtype: among(["float32", "int32", "float64", "int64"]), above: flag, description: text() },
    ...numbers("neutral", "low", "high"),
  },
);
const decoding = record(
  {},
  {
    strategy: text(),
    rules: orNone(listOf(record({}, texts("rule")))),
    start: orNone(token),
    end: orNone(either(token, listOf(token))),
    max_positions: orNone(whole(1, INT32)),
    max_length: orNone(whole(0, INT32)),
    settings: orNone(mapOf(setting)),
  },
);
const check = record(
  {},
  {
    ...texts("name", "of", "against", "where", "on"),
    ...counts("cases", "sequences", "identical", "ties"),
    ...numbers("worst_absolute", "worst_relative", "tolerance"),
  },
);
const quantization = record(
  {
    ...texts("to", "data"),
    weights: record(counts("multiplied", "stored", "kept")),
    bytes: record(counts("before", "after")),
    milliseconds: record({ ...numbers("before", "after", "faster", "low", "high"), rounds: count, of: text() }),
    gate: record({ metric: text(), tolerance: number }),
    scores: listOf(record({ ...texts("what", "metric"), ...numbers("loss", "before", "after") })),
    contrib: flag,
  },
  { block_size: orNone(count) },
);
const manifest = record(
  {
    format: whole(1),
    name: text(),
    task: among(TASKS),
    inputs: listOf(tensor, 1),
    outputs: listOf(tensor, 1),
    operators: mapOf(count),
    opset: whole(0, 10 ** 6),
  },
  {
    tokenizer: orNone(record({ kind: text() })),
    labels: orNone(listOf(text())),
    decoding: orNone(decoding),
    provenance: orNone(mapOf(anything)),
    states: orNone(listOf(state)),
    notes: orNone(listOf(text())),
    parity: orNone(record({ passed: flag }, { checks: listOf(check) })),
    quantization: orNone(quantization),
    external_data: anything, // `checkedExternalData` describes it
    vocabulary_sizes: orNone(mapOf(whole(1))),
    sampling_rate: orNone(whole(1, INT32)),
    graph_sha256: orNone(text(1)),
  },
);

/**
 * @param {any} value a manifest as JSON
 * @throws {import("./errors.js").ArtefactError} a field is not what it has to be, or they don't go together
 */
export function checkManifest(value) {
  manifest(value, "");
  const [inputs, outputs] = [byName("inputs", value), byName("outputs", value)];
  checkStates(value.states ?? [], inputs, outputs);
  checkLabels(value.labels ?? [], value.outputs[0]);
  checkGeneration(value, inputs, outputs);
  const unknown = Object.keys(value.vocabulary_sizes ?? {}).find((name) => !inputs.has(name));
  if (unknown !== undefined) throw damaged(`vocabulary_sizes names the input ${shown(unknown)}, which it lacks`);
}

/** @param {string} side @param {any} value @returns {Map<string, any>} */
function byName(side, value) {
  const specs = new Map(value[side].map((/** @type {any} */ spec) => [spec.name, spec]));
  if (specs.size < value[side].length) throw damaged(`two of its ${side} have one name`);
  return specs;
}

/** @param {any[]} states @param {Map<string, any>} inputs @param {Map<string, any>} outputs */
function checkStates(states, inputs, outputs) {
  for (const [side, known] of /** @type {[string, Map<string, any>][]} */ ([
    ["input", inputs],
    ["output", outputs],
  ])) {
    const names = states.map((each) => each[side]);
    const wrong = names.find((name, place) => !known.has(name) || names.indexOf(name) !== place);
    if (wrong !== undefined) {
      throw damaged(`a state has the ${side} ${shown(wrong)}; expected one of its ${side}s, once each`);
    }
  }
  let size = 0;
  for (const { input, initial } of states) {
    const { dtype, shape } = inputs.get(input);
    if (dtype === "string") throw damaged(`the state ${shown(input)} is text; expected numbers`);
    size += shape.reduce((/** @type {number} */ all, /** @type {any} */ axis) => all * (axis.length ? 1 : axis), WIDTHS[dtype]);
    if (size > MOST_STATE) throw damaged(`its states have more than ${MOST_STATE} bytes for each row`);
    if (!fits(initial, shape.slice(1))) {
      throw damaged(`the state ${shown(input)} begins with ${shown(initial)}; expected numbers`);
    }
  }
}

/** @param {any} initial @param {any[]} shape @returns {boolean} */
function fits(initial, shape) {
  if (!Array.isArray(initial)) return typeof initial === "number" || initial === null;
  const sizes = axes(initial);
  if (sizes === undefined || sizes.length > shape.length) return false;
  const last = shape.slice(shape.length - sizes.length);
  return sizes.every((size, at) => size === 1 || size === last[at] || typeof last[at] === "string");
}

/** @param {any} value @returns {number[] | undefined} sizes of nested arrays of numbers; undefined if they are ragged */
function axes(value) {
  if (!Array.isArray(value)) return typeof value === "number" || value === null ? [] : undefined;
  const inner = value.map(axes);
  const [first] = inner;
  const even = first && inner.every((each) => each && String(each) === String(first));
  return even ? [value.length, ...first] : undefined;
}

/** @param {string[]} labels @param {any} output */
function checkLabels(labels, { name, shape }) {
  const classes = shape.length ? shape[shape.length - 1] : 0;
  if (!labels.length || typeof classes === "string" || classes === labels.length) return;
  if (classes === 1 && labels.length === 2) return;
  throw damaged(`it names ${labels.length} classes; its output ${shown(name)} has ${classes}`);
}

/** @param {any} value @param {Map<string, any>} inputs @param {Map<string, any>} outputs */
function checkGeneration({ task, inputs: given, decoding: defaults, states }, inputs, outputs) {
  if (task === "predict") return;
  const [name, axes] = task === "generate" ? ["tokens", 2] : ["log_probability", 1];
  if (outputs.get(name)?.shape.length !== axes) {
    throw damaged(`it has no output "${name}" of ${axes} axes, which files for ${task} have`);
  }
  if (task === "stream_generate" && ![1, 2].includes(given[0].shape.length)) {
    throw damaged("its first input takes no tokens, of 1 or 2 axes");
  }
  const kept = new Set((states ?? []).map((/** @type {any} */ state) => state.input));
  const read = given.filter((/** @type {any} */ { name: input }) => !kept.has(input)).slice(task === "generate" ? 0 : 1);
  const isSource = (/** @type {any} */ { name: input, shape }) =>
    shape.length && !["prompt", "prompt_length"].includes(input);
  if (defaults?.start != null && !read.some(isSource)) {
    throw damaged("decoding begins with a start token, and there is no source");
  }
  for (const [input, { dtype, shape }] of inputs) {
    if (shape.length) continue;
    if (["string", "bool"].includes(dtype)) throw damaged(`its setting ${shown(input)} is a ${dtype}; expected a number`);
    number(defaults?.[input] ?? null, `decoding.${input}`);
  }
}
