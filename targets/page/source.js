// Where sound comes from: the microphone, or a file that is heard at its pace. Both give blocks of mono samples to a port.

/** Blocks of the microphone go to `port`, `null` behind the last. Rejects when the browser or its user refuses. */
export async function microphone(rate, port) {
  if (!navigator.mediaDevices) throw new Error("Browsers give the microphone to pages on https or localhost alone.");
  const raw = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
  const media = await navigator.mediaDevices.getUserMedia({ audio: raw });
  const release = () => media.getTracks().forEach((track) => track.stop());
  let context = contextOf(rate), source;
  try {
    source = context.createMediaStreamSource(media);
  } catch { // Firefox: a stream of another rate than the context's
    await context.close();
    context = new AudioContext();
    source = context.createMediaStreamSource(media);
  }
  return started(context, source, port, release);
}

/** Blocks of an audio file go to `port`, at its pace and aloud, `null` behind the last. Rejects when it is none. */
export async function file(blob, rate, port) {
  const context = contextOf(rate), source = context.createBufferSource();
  try {
    source.buffer = await context.decodeAudioData(await blob.arrayBuffer());
  } catch {
    await context.close();
    throw new Error(`${blob.name} is no audio that this browser reads.`);
  }
  source.connect(context.destination);
  const sound = await started(context, source, port, () => source.disconnect());
  source.onended = sound.stop;
  source.start();
  return sound;
}

/** At the model's rate where the browser can; the engine's worker resamples otherwise. */
function contextOf(rate) {
  try {
    return new AudioContext({ sampleRate: rate });
  } catch {
    return new AudioContext();
  }
}

async function started(context, source, port, release) {
  const close = () => {
    release();
    return context.close();
  };
  try {
    await context.audioWorklet.addModule("capture.js");
    await context.resume();
  } catch (error) {
    close();
    throw error;
  }
  const capture = new AudioWorkletNode(context, "capture", { channelCount: 1, channelCountMode: "explicit" });
  capture.port.postMessage(port, [port]);
  source.connect(capture).connect(context.destination); // silent, but what leads nowhere is not run
  const stop = () => capture.port.postMessage("end"); // behind the blocks that are on their way
  return { rate: context.sampleRate, stop, close };
}
