// The page: its buttons, what its state is, and the figures of latency.
import { Posteriors, say } from "./draw.js";
import { file, microphone } from "./source.js";

const KEPT = 1000; // steps that p50 and p99 are of
const FIGURES_MS = 250;
const LOUDNESS_DB = 60; // that the level shows
const READINGS = 2; // of the clock in a time, each a tick off at most: browsers round them up or down at random
const element = (id) => document.getElementById(id);
const listen = element("listen"), chosen = element("file"), worker = new Worker("engine.js", { type: "module" });
let spec, posteriors, times = [], worst = 0, clock, sound = null;

const status = (kind, text) => {
  element("status").dataset.kind = kind;
  say(element("status"), text);
};

worker.onerror = (event) => status("wrong", event.message || "The engine's worker cannot be loaded.");
worker.onmessage = ({ data }) => {
  if (data.error) {
    status("wrong", data.error);
    if (spec) finish();
  } else if (data.ready) prepare(data.ready);
  else take(data);
};
worker.postMessage({});

function prepare(ready) {
  spec = ready.spec;
  clock = ready;
  const rate = spec.inputs[0].rate_hz, output = spec.outputs.find((port) => port.name === ready.output);
  const names = spec.labels.length === ready.rows ? spec.labels : Array.from({ length: ready.rows }, (_, index) => `${index}`);
  posteriors = new Posteriors(names, rate * output.shape[0] / spec.hop);
  document.title = spec.name;
  say(element("name"), spec.name);
  const labels = spec.labels.length ? ` · ${spec.labels.length} labels` : "";
  say(element("contract"),
    `${rate / 1000} kHz mono · a step every ${+(1000 * spec.hop / rate).toFixed(3)} ms${labels} · engine ${ready.isa}`);
  say(element("budget"), microseconds(budget()));
  say(element("mean"), microseconds(ready.meanUs));
  say(element("clock"), `A step may take ${microseconds(budget())}, until the next hop is there; back-to-back it takes ` +
    `${share(ready.meanUs)} of that. This browser's clock ticks every ${microseconds(ready.tickUs)}: the times of single ` +
    "steps are at most what stands here.");
  element("mean").classList.toggle("wrong", ready.meanUs > budget());
  listen.disabled = chosen.disabled = false;
  status("ready", "Ready");
}

const budget = () => spec.hop / spec.inputs[0].rate_hz * 1e6;
const share = (time) => `${+(100 * time / budget()).toPrecision(2)} %`;

function microseconds(time) {
  return `${(time < 10 ? +time.toFixed(1) : Math.round(time)).toLocaleString("en").replaceAll(",", "\u202f")} µs`;
}

// --- sound ------------------------------------------------------------------------------------------------------

async function start(asking, live, open) {
  times = [];
  worst = 0;
  posteriors.clear();
  listen.disabled = chosen.disabled = true;
  status("busy", asking);
  const { port1, port2 } = new MessageChannel();
  try {
    sound = await open(spec.inputs[0].rate_hz, port2);
    worker.postMessage({ port: port1, rate: sound.rate }, [port1]);
    say(listen, "Stop");
    listen.disabled = false;
    status("live", live);
  } catch (error) {
    finish();
    status("wrong", REFUSALS[error.name] ?? error.message);
  }
}

const REFUSALS = {
  NotAllowedError: "The microphone was refused. Allow it beside the page's address, or stream a file.",
  NotFoundError: "There is no microphone here. Plug one in, or stream a file.",
  NotReadableError: "The microphone is in use by another program. Stop that, or stream a file.",
};

function finish() {
  sound?.close();
  sound = null;
  say(listen, "Listen");
  listen.disabled = chosen.disabled = false;
}

listen.onclick = () => {
  if (sound) sound.stop();
  else start("Asking for the microphone", "Listening", microphone);
};

chosen.onchange = () => {
  const [blob] = chosen.files;
  if (blob) start(`Reading ${blob.name}`, `Streaming ${blob.name}`, (rate, port) => file(blob, rate, port));
  chosen.value = ""; // the same file may be chosen again
};

// --- figures ----------------------------------------------------------------------------------------------------

function take({ rows, times: taken, level, ended }) {
  rows.forEach((row) => posteriors.add(row));
  times = [...times, ...taken].slice(-KEPT);
  worst = Math.max(worst, ...taken);
  const loudness = 1 + 20 * Math.log10(Math.max(level, 1e-9)) / LOUDNESS_DB;
  element("level").style.transform = `scaleX(${Math.min(1, Math.max(0, loudness))})`;
  if (!ended) return;
  finish();
  status("ready", "Stopped");
}

function showTimes() {
  if (!sound || !times.length) return;
  const sorted = times.toSorted((a, b) => a - b), at = (share) => sorted[Math.floor(sorted.length * share)];
  for (const [id, time] of Object.entries({ p50: at(0.5), p99: at(0.99), worst })) {
    say(element(id), `≤ ${microseconds(time + READINGS * clock.tickUs)}`);
    element(id).classList.toggle("wrong", time > budget());
  }
}

function show() {
  posteriors?.draw();
  requestAnimationFrame(show);
}

const redraw = () => posteriors?.drawStrip();
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
setInterval(showTimes, FIGURES_MS);
show();
