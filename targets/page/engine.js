// The worker that runs the model, so that neither the sound nor the page waits for it: blocks of samples in, rows of
// posteriors and the time of each step out.
import { load } from "./edgernn.js";
import { Resampler } from "./resample.js";

const WARM_MS = 30, MEASURED_MS = 100;
let model, stream, settings, sound;

self.onmessage = ({ data }) => (data.port ? listen(data) : prepare().catch((error) => postMessage({ error: error.message })));

async function prepare() {
  settings = await (await fetched("settings.json")).json();
  const files = await Promise.all([settings.model, "edgernn.wasm"].map(async (name) => (await fetched(name)).arrayBuffer()));
  model = await load(...files);
  stream = model.stream();
  const shown = model.outputs.find((port) => port.name === settings.output);
  postMessage({ ready: { spec: model.spec, isa: stream.isa, rows: shown.size, output: settings.output,
                         meanUs: backToBack(), tickUs: tick() } });
}

async function fetched(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name} cannot be fetched: ${answer.status} ${answer.statusText}`);
  return answer;
}

/** µs of a step with warm caches, by the time of very many. */
function backToBack() {
  const frames = Float32Array.from({ length: model.hop * model.inputs[0].size }, () => Math.random() - 0.5);
  const run = (milliseconds) => {
    const began = performance.now();
    let steps = 0, now = began;
    for (; now < began + milliseconds; now = performance.now()) {
      for (let i = 0; i < 16; i++) stream.push(frames);
      steps += 16;
    }
    return (now - began) * 1000 / steps;
  };
  run(WARM_MS);
  return run(MEASURED_MS);
}

/** µs between two readings of the clock that differ: browsers make it coarse. */
function tick() {
  const readings = Array.from({ length: 20 }, () => {
    const began = performance.now();
    let now = began;
    while (now === began) now = performance.now();
    return (now - began) * 1000;
  });
  return Math.min(...readings);
}

/** A new sequence of blocks at `rate` from a port; `null` ends it. */
function listen({ port, rate }) {
  const own = Math.round(model.spec.inputs[0].rate_hz);
  stream.reset();
  sound = { resampler: rate === own ? null : new Resampler(rate, own), rest: new Float32Array(0) };
  port.onmessage = ({ data }) => {
    try {
      if (data) return heard(data);
      postMessage({ rows: posteriors(stream.flush()), times: [], level: 0, ended: true });
    } catch (error) {
      postMessage({ error: error.message });
    }
    port.close();
  };
}

/** Whole hops of what has come go through the model, one step at a time. */
function heard(block) {
  const fresh = sound.resampler ? sound.resampler.push(block) : block;
  const samples = new Float32Array(sound.rest.length + fresh.length), rows = [], times = [];
  samples.set(sound.rest);
  samples.set(fresh, sound.rest.length);
  let at = 0;
  for (; at + model.hop <= samples.length; at += model.hop) {
    const began = performance.now();
    const result = stream.push(samples.subarray(at, at + model.hop));
    times.push((performance.now() - began) * 1000);
    rows.push(...posteriors(result));
  }
  sound.rest = samples.slice(at);
  postMessage({ rows, times, level: Math.max(...block.map(Math.abs)) });
}

/** The shown output's frames as probabilities, row after row. */
function posteriors(result) {
  const values = ArrayBuffer.isView(result) ? result : result[settings.output];
  const size = model.outputs.find((port) => port.name === settings.output).size, rows = [];
  for (let at = 0; at < values.length; at += size) rows.push(probabilities(Array.from(values.subarray(at, at + size), Number)));
  return rows;
}

function probabilities(row) {
  if (settings.scores === "probabilities") return row;
  if (settings.scores === "log-probabilities") return row.map(Math.exp);
  if (row.length === 1) return row.map((x) => 1 / (1 + Math.exp(-x)));
  const largest = Math.max(...row), powers = row.map((x) => Math.exp(x - largest)), sum = powers.reduce((a, b) => a + b);
  return powers.map((x) => x / sum);
}
