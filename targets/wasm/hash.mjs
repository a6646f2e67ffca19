// node hash.mjs FOLDER MODEL INPUT...: raw frames of each input through a model, hop by hop; prints the outputs' SHA-256.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, path, ...files] = process.argv.slice(2);
const { load } = await import(pathToFileURL(join(folder, "edgernn.mjs")));
const model = await load(await readFile(path), await readFile(join(folder, "edgernn.wasm")));
const given = await Promise.all(model.inputs.map(async (port, index) => {
  const bytes = await readFile(files[index]);
  return new port.Type(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}));
const stream = model.stream(), hash = createHash("sha256");
const add = (result) => {
  for (const array of model.outputs.length > 1 ? Object.values(result) : [result])
    hash.update(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
};
for (let at = 0; at < given[0].length / model.inputs[0].size; at += model.hop) {
  const parts = model.inputs.map((port, index) => given[index].subarray(at * port.size, (at + model.hop) * port.size));
  const named = Object.fromEntries(model.inputs.map((port, index) => [port.name, parts[index]]));
  add(stream.push(parts.length > 1 ? named : parts[0]));
}
add(stream.flush());
console.log(JSON.stringify({ sha256: hash.digest("hex"), isa: stream.isa, selftest: model.selftest() }));
