/** Weights in a second file: by path, by address and as bytes; missing, cut off, or elsewhere. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import test, { after, afterEach, before, beforeEach } from "node:test";
import { pathToFileURL } from "node:url";

import { checkedExternalData } from "../src/external_data.js";
import { load } from "../src/index.js";
import { adder } from "./onnx_bytes.js";

const DATA = "model.onnx.data";
let folder, file, server, address;
const asked = [];

const numbers = (weights) => new Uint8Array(Float32Array.from(weights).buffer);
const described = (data) => ({
  file: DATA,
  bytes: data.length,
  sha256: createHash("sha256").update(data).digest("hex"),
});

/** Writes a model and its weights into a folder. */
async function write(into, weights, location) {
  const data = numbers(weights);
  await mkdir(into, { recursive: true });
  await writeFile(path.join(into, "model.onnx"), adder(described(data), weights.length, location));
  await writeFile(path.join(into, DATA), data);
  return path.join(into, "model.onnx");
}

/** What it adds to zeros. */
const added = async (model) => (await model.predict({ x: [0, 0, 0] })).y.toArray();
const refused = (message) => ({ name: "ArtefactError", message });

before(async () => {
  server = createServer(async (request, response) => {
    asked.push(request.url);
    const { pathname } = new URL(request.url, "http://localhost");
    try {
      response.end(await readFile(path.join(folder, path.basename(pathname))));
    } catch {
      response.writeHead(404).end("<!doctype html>");
    }
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  address = `http://127.0.0.1:${server.address().port}`;
});
after(() => server.close());
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "tfseq-"));
  file = await write(folder, [1, 2, 3]);
  asked.length = 0;
});
afterEach(() => rm(folder, { recursive: true }));

for (const backend of ["node", "wasm"]) {
  test(`weights are read from beside the file (${backend})`, async () => {
    const renamed = path.join(folder, "renamed model.onnx");
    await rename(file, renamed);
    for (const place of [renamed, path.relative(process.cwd(), renamed), pathToFileURL(renamed)]) {
      assert.deepEqual(await added(await load(place, { backend })), [1, 2, 3]);
    }
  });

  test(`weights are fetched from beside an address (${backend})`, async () => {
    assert.deepEqual(await added(await load(`${address}/models/model.onnx?v=2`, { backend })), [1, 2, 3]);
    assert.deepEqual(asked, ["/models/model.onnx?v=2", `/models/${DATA}?v=2`]);
    assert.deepEqual(await added(await load(new URL("/model.onnx", address), { backend })), [1, 2, 3]);
  });

  test(`weights are given as bytes (${backend})`, async () => {
    const [model, data] = [await readFile(file), numbers([1, 2, 3])];
    const within = Uint8Array.from([0, 0, 0, 0, ...data, 0]).subarray(4, 16);
    for (const externalData of [data, data.buffer, within]) {
      assert.deepEqual(await added(await load(new Uint8Array(model), { backend, externalData })), [1, 2, 3]);
    }
    await rm(path.join(folder, DATA));
    assert.deepEqual(await added(await load(file, { backend, externalData: data })), [1, 2, 3]);
  });

  test(`models whose second files have one name get their own weights (${backend})`, async () => {
    const weights = [1, 2, 3, 4, 5].map((i) => [i, 10 * i, 100 * i]);
    const data = weights.map(numbers);
    const files = data.map((each) => adder(described(each), 3));
    const loading = files.map((each, i) => load(each, { backend, externalData: data[i] }));
    assert.deepEqual(await Promise.all((await Promise.all(loading)).map(added)), weights);
  });

  test(`a model that fails to load does not keep the next from loading (${backend})`, async () => {
    const wrong = await write(path.join(folder, "wrong"), [1, 2, 3], "other.data");
    const [first, second] = await Promise.allSettled([load(wrong, { backend }), load(file, { backend })]);
    assert.equal(first.status, "rejected");
    assert.deepEqual(await added(second.value), [1, 2, 3]);
  });

  test(`a second file that is missing is named, and where it should be (${backend})`, async () => {
    const bytes = new Uint8Array(await readFile(file));
    await assert.rejects(load(bytes, { backend }), {
      name: "InputError",
      message: /weights are in model\.onnx\.data: give its bytes, too, as the option externalData/,
    });
    await rm(path.join(folder, DATA));
    const expected = path.join(folder, DATA).replaceAll(".", "\\.");
    const message = `model\\.onnx can't be used: Its weights are in model\\.onnx\\.data, .*${expected}: no such file\\.`;
    await assert.rejects(load(file, { backend }), refused(new RegExp(message)));
    await assert.rejects(load(`${address}/model.onnx`, { backend }), refused(/model\.onnx\.data: status 404/));
    await mkdir(path.join(folder, DATA));
    await assert.rejects(load(file, { backend }), refused(/model\.onnx\.data: it is a folder/));
  });

  test(`weights of another size are refused (${backend})`, async () => {
    const message = /model\.onnx\.data, which has 8 bytes in place of 12\. It is cut off, or another model's/;
    const bytes = new Uint8Array(await readFile(file));
    await writeFile(path.join(folder, DATA), numbers([1, 2]));
    await assert.rejects(load(file, { backend }), refused(message));
    await assert.rejects(load(`${address}/model.onnx`, { backend }), refused(message));
    await assert.rejects(load(bytes, { backend, externalData: numbers([1, 2]) }), refused(message));
    await assert.rejects(load(bytes, { backend, externalData: "x" }), { name: "InputError", message: /externalData is/ });
  });

  test(`a graph never reads weights from outside its folder (${backend})`, async () => {
    const secret = path.join(folder, "secret");
    await writeFile(secret, numbers([7, 8, 9]));
    for (const [i, location] of ["../secret", secret, "/etc/passwd", `x/../../secret`].entries()) {
      const hostile = await write(path.join(folder, `hostile${i}`), [1, 2, 3], location);
      await assert.rejects(load(hostile, { backend }), refused(/ONNX Runtime .* can't run it/));
      const bytes = new Uint8Array(await readFile(hostile));
      await assert.rejects(load(bytes, { backend, externalData: numbers([1, 2, 3]) }), refused(/can't run it/));
    }
  });
}

for (const name of ["../x", "a/b", "/etc/passwd", "a\\b", "..", ".", "", "C:x", "x\0", 7, undefined]) {
  test(`${JSON.stringify(name)} is no name of a second file`, () => {
    const value = { ...described(numbers([1])), file: name };
    assert.throws(() => checkedExternalData(value), refused(/expected file \(a name without a folder\), bytes, sha256/));
  });
}

test("a description that is damaged is refused", () => {
  const right = described(numbers([1]));
  assert.deepEqual(checkedExternalData({ ...right, later: 7 }), right);
  for (const wrong of [{ bytes: -1 }, { bytes: 1.5 }, { bytes: "4" }, { sha256: "x" }, { sha256: 7 }]) {
    assert.throws(() => checkedExternalData({ ...right, ...wrong }), refused(/describes external data as/));
  }
  for (const value of ["x", 3, [], true]) assert.throws(() => checkedExternalData(value), refused(/external data/));
  assert.equal(checkedExternalData(null), null);
});
