// edgernn in browsers and Node: load a .ernn file, and stream frames through it with the verbs of edgernn's Stream.
//
//     const model = await load(modelBytes, wasmBytes);
//     const stream = model.stream();
//     const outputs = stream.push(frames);  // a typed array, frame after frame; by name where there are several
//
// Arrays are flat, `frames × elements of a frame`, of the dtype that the contract says.

const TYPES = [Float32Array, BigInt64Array, Int32Array, Int16Array, Int8Array, Uint8Array, Uint8Array];
const INPUT = 0, OUTPUT = 1;
const MODEL_BYTES = 128, PORT_BYTES = 72; // room for ernn_model and ernn_port
const FLUSHED = 22; // ernn_status: nothing is left to come

export class ErnnError extends Error {}

/** Open a .ernn file's bytes on a compiled or binary module. Rejects with ErnnError when the engine refuses the file. */
export async function load(bytes, wasm) {
  const module = wasm instanceof WebAssembly.Module ? wasm : await WebAssembly.compile(wasm);
  return new Model(await WebAssembly.instantiate(module, {}), new Uint8Array(bytes));
}

/** A loaded file. Its streams live in one memory, which is free again when the model and its streams are. */
export class Model {
  constructor(instance, bytes) {
    this.engine = instance.exports;
    this.end = this.engine.__heap_base.value;
    const file = this.allocate(bytes.length);
    this.view(Uint8Array, file, bytes.length).set(bytes);
    this.handle = this.allocate(MODEL_BYTES);
    this.check(this.engine.ernn_model_open(this.handle, file, bytes.length));
    this.spec = JSON.parse(this.contract());
    this.hop = this.spec.hop;
    this.inputs = this.ports(INPUT);
    this.outputs = this.ports(OUTPUT);
  }

  /** A new stream in its initial state. */
  stream() {
    return new Stream(this);
  }

  /** Whether the file's own test vectors give its maker's bits here, by instruction set. */
  selftest() {
    const size = this.engine.ernn_stream_size(this.handle, 0), memory = this.allocate(size), results = {};
    for (let index = 0; this.engine.ernn_isa_name(index); index++) {
      const name = this.engine.ernn_isa_name(index);
      results[this.text(name)] = this.engine.ernn_selftest(this.handle, 0, memory, size, name) === 0;
    }
    return results;
  }

  // --- memory -------------------------------------------------------------------------------------------------

  allocate(size) {
    const start = (this.end + 63) & ~63, memory = this.engine.memory;
    this.end = start + Math.max(size, 1);
    const missing = this.end - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / 65536));
    return start;
  }

  view(Type, at, count) { // made anew each time: memory that grows leaves its old views empty
    return new Type(this.engine.memory.buffer, at, count);
  }

  text(at, size) {
    const bytes = this.view(Uint8Array, at, size ?? this.engine.memory.buffer.byteLength - at);
    return new TextDecoder().decode(bytes.slice(0, size ?? bytes.indexOf(0)));
  }

  check(status) {
    if (status) throw new ErnnError(this.text(this.engine.ernn_status_text(status)));
  }

  contract() {
    const size = this.allocate(4);
    const at = this.engine.ernn_model_spec(this.handle, 0, size);
    return this.text(at, this.view(Uint32Array, size, 1)[0]);
  }

  ports(kind) {
    const room = this.allocate(PORT_BYTES), found = [];
    for (let index = 0; index < this.engine.ernn_model_ports(this.handle, 0, kind); index++) {
      this.check(this.engine.ernn_model_port(this.handle, 0, kind, index, room));
      const words = this.view(Uint32Array, room, PORT_BYTES / 4), frames = words[4], bytes = words[12];
      const Type = TYPES[words[2]];
      found.push({ name: this.text(words[0], words[1]), Type, frames, size: bytes / frames / Type.BYTES_PER_ELEMENT });
    }
    return found;
  }
}

/** One sequence on its way through a model: `push` and `flush`, or `step` whole hops. */
export class Stream {
  constructor(model) {
    const engine = model.engine, size = engine.ernn_stream_size(model.handle, 0), place = model.allocate(4);
    this.model = model;
    model.check(engine.ernn_stream_init(place, model.handle, 0, model.allocate(size), size, 0));
    this.handle = model.view(Uint32Array, place, 1)[0];
    this.isa = model.text(engine.ernn_stream_isa(this.handle));
    this.rooms = new Map();
  }

  /** Any number of frames in; the whole-sequence frames that are due out. */
  push(x) {
    const { model } = this, given = this.given(x), count = given[0].length / model.inputs[0].size;
    const inputs = model.inputs.map((port, index) => {
      const at = this.room(`in${index}`, given[index].byteLength);
      model.view(port.Type, at, given[index].length).set(given[index]);
      return at;
    });
    const steps = Math.floor(count / model.hop) + 1;
    return this.call(steps, (outputs, got) =>
      model.engine.ernn_push(this.handle, this.pointers("inputs", inputs), count, outputs, got));
  }

  /** End the sequence: all frames that the whole-sequence run still has. */
  flush() {
    const { model } = this, parts = [];
    for (let ended = false; !ended;) {
      const part = this.call(1, (outputs, got) => model.engine.ernn_flush(this.handle, outputs, got), FLUSHED);
      if (part === null) ended = true;
      else parts.push(part);
    }
    const joined = model.outputs.map((port) => {
      const arrays = parts.map((part) => (model.outputs.length > 1 ? part[port.name] : part));
      const whole = new port.Type(arrays.reduce((sum, array) => sum + array.length, 0));
      arrays.reduce((at, array) => (whole.set(array, at), at + array.length), 0);
      return whole;
    });
    return this.oneOrAll(joined);
  }

  /** Whole hops in, as many steps' frames out; the first `delay` frames lie before the sequence. */
  step(x) {
    const { model } = this, { engine, hop } = model, given = this.given(x);
    const count = given[0].length / model.inputs[0].size;
    if (count % hop) throw new ErnnError(`${count} frames are not whole hops of ${hop}`);
    const outputs = model.outputs.map((port) => new port.Type((count / hop) * port.frames * port.size));
    for (let step = 0; step < count / hop; step++) {
      model.inputs.forEach((port, index) => {
        const size = hop * port.size, frames = given[index].subarray(step * size, (step + 1) * size);
        model.view(port.Type, engine.ernn_input(this.handle, index), size).set(frames);
      });
      model.check(engine.ernn_step(this.handle));
      model.outputs.forEach((port, index) => {
        const size = port.frames * port.size;
        outputs[index].set(model.view(port.Type, engine.ernn_output(this.handle, index), size), step * size);
      });
    }
    return this.oneOrAll(outputs);
  }

  /** Back to the initial state. */
  reset() {
    this.model.engine.ernn_reset(this.handle);
  }

  /** The whole state; the engine's own form, which every edgernn.h reads. */
  save() {
    const size = this.model.engine.ernn_state_size(this.handle), at = this.room("state", size);
    this.model.engine.ernn_state_save(this.handle, at);
    return this.model.view(Uint8Array, at, size).slice();
  }

  /** Back to a saved state; throws ErnnError, and changes nothing, when it is damaged or of another model. */
  restore(state) {
    const at = this.room("state", state.length);
    this.model.view(Uint8Array, at, state.length).set(state);
    this.model.check(this.model.engine.ernn_state_restore(this.handle, at, state.length));
  }

  /** A second stream in the same state. */
  fork() {
    const other = new Stream(this.model);
    other.restore(this.save());
    return other;
  }

  // --- how calls are made -------------------------------------------------------------------------------------

  given(x) {
    const { inputs } = this.model, named = inputs.length > 1;
    if (named && (x === null || typeof x !== "object" || ArrayBuffer.isView(x)))
      throw new ErnnError(`the model has ${inputs.length} inputs: give an object of arrays by name`);
    const arrays = inputs.map((port) => (named ? x[port.name] : x));
    const frames = arrays.map((array, index) => {
      const port = inputs[index];
      if (!(array instanceof port.Type))
        throw new ErnnError(`\`${port.name}\` takes a ${port.Type.name} of frames of ${port.size} elements`);
      return array.length / port.size;
    });
    if (frames.some((count) => count !== frames[0] || !Number.isInteger(count)))
      throw new ErnnError(`the inputs have ${frames.join(", ")} frames`);
    return arrays;
  }

  room(name, size) { // kept, and made larger when it must be
    const known = this.rooms.get(name);
    if (known && known.size >= size) return known.at;
    const made = { at: this.model.allocate(size), size };
    this.rooms.set(name, made);
    return made.at;
  }

  pointers(name, addresses) {
    const at = this.room(name, 4 * addresses.length);
    this.model.view(Uint32Array, at, addresses.length).set(addresses);
    return at;
  }

  call(steps, run, end) {
    const { model } = this, { outputs } = model;
    const rooms = outputs.map((port, index) =>
      this.room(`out${index}`, steps * port.frames * port.size * port.Type.BYTES_PER_ELEMENT));
    const got = this.room("got", 4 * outputs.length);
    const status = run(this.pointers("outputs", rooms), got);
    if (status && status === end) return null;
    model.check(status);
    const counts = model.view(Uint32Array, got, outputs.length);
    return this.oneOrAll(
      outputs.map((port, index) => model.view(port.Type, rooms[index], counts[index] * port.size).slice()));
  }

  oneOrAll(arrays) {
    const { outputs } = this.model;
    return arrays.length > 1 ? Object.fromEntries(outputs.map((port, index) => [port.name, arrays[index]])) : arrays[0];
  }
}
