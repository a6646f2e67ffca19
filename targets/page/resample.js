// A change of sampling rate, block by block: a low-pass of windowed sinc, one set of taps for each place between samples.

const CROSSINGS = 32; // zero crossings of the sinc on either side
const PASS = 0.92; // of the lower of both Nyquist frequencies; the window's slope ends before the whole of it

const divisor = (a, b) => (b ? divisor(b, a % b) : a);

export class Resampler {
  /** Rates in Hz, whole numbers. */
  constructor(from, to) {
    const common = divisor(from, to), cutoff = PASS * Math.min(1, to / from);
    this.up = to / common;
    this.down = from / common;
    this.half = Math.ceil(CROSSINGS / cutoff);
    this.taps = Array.from({ length: this.up }, (_, phase) => taps(this.half, phase / this.up, cutoff));
    this.kept = new Float32Array(this.half - 1); // silence before the first sample
    this.next = 0; // place of the next output in `kept`, in 1 / up samples, less what its taps reach back
  }

  /** Samples in, those at the other rate that are due out. */
  push(block) {
    const samples = new Float32Array(this.kept.length + block.length), out = [];
    samples.set(this.kept);
    samples.set(block, this.kept.length);
    for (;;) {
      const start = Math.floor(this.next / this.up), weights = this.taps[this.next % this.up];
      if (start + weights.length > samples.length) {
        this.kept = samples.slice(start);
        this.next -= start * this.up;
        return Float32Array.from(out);
      }
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * samples[start + k];
      out.push(sum);
      this.next += this.down;
    }
  }
}

/** Weights of `2 * half` samples for a value that lies `fraction` behind the `half`-th; they add up to 1. */
function taps(half, fraction, cutoff) {
  const weights = Float64Array.from({ length: 2 * half }, (_, k) => {
    const distance = k - (half - 1) - fraction, x = Math.PI * cutoff * distance, turn = Math.PI * distance / half;
    const window = Math.abs(distance) < half ? 0.42 + 0.5 * Math.cos(turn) + 0.08 * Math.cos(2 * turn) : 0; // Blackman
    return window * (x === 0 ? 1 : Math.sin(x) / x);
  });
  const sum = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / sum);
}
