// On the audio thread: hands each block of samples to the engine's worker, and after them the word that they end.
class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.port.onmessage = ({ data }) => {
      if (data instanceof MessagePort) this.engine = data;
      else {
        this.engine.postMessage(null);
        this.engine = undefined;
      }
    };
  }

  process([channels]) {
    if (this.engine && channels.length) {
      const block = channels[0].slice();
      this.engine.postMessage(block, [block.buffer]);
    }
    return true;
  }
}

registerProcessor("capture", Capture);
