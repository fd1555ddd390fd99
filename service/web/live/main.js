// The page /live: a camera or a file to /stream, the target's face on the screen, and how fast it goes.

import { find } from "../editor/dom.js";
import { tell } from "../problem.js";
import { fillTargets } from "../targets.js";
import { grabFrame, playCamera, playFile, stopSource, watchFrames } from "./source.js";
import { FaceStream } from "./stream.js";

const RATE_SPAN = 2000; // milliseconds over which the frame rate is counted
const SHOW_EVERY = 250; // milliseconds: figures that change faster can't be read

const video = find("source", HTMLVideoElement);
const result = find("result", HTMLCanvasElement);
const target = find("target", HTMLSelectElement);
const cameraButton = find("camera", HTMLButtonElement);
const fileInput = find("file", HTMLInputElement);
const stopButton = find("stop", HTMLButtonElement);
const smoothing = find("smoothing", HTMLInputElement);
const pasteBack = find("paste-back", HTMLInputElement);
const label = find("label", HTMLInputElement);
const sideBySide = find("side-by-side", HTMLInputElement);
const pictures = find("pictures", HTMLElement);
const message = find("message", HTMLElement);
const state = find("status", HTMLElement);
const stages = find("stages", HTMLElement);

const drawing = document.createElement("canvas");
/** @type {FaceStream | null} */
let stream = null;
let starting = 0; // counts the starts: what an older one still brings is let go
/** @type {number[]} */
let times = [];
let shown = 0;

/** @returns {import("./stream.js").Options} */
function readOptions() {
  return {
    target: target.value,
    smoothing: smoothing.checked,
    paste_back: pasteBack.checked,
    label: label.checked ? "visible" : "none",
  };
}

/** @param {string} words */
function setState(words) {
  if (state.textContent !== words) state.textContent = words; // read aloud by screen readers: only when it changes
}

/**
 * Play a source, then stream it.
 * @param {() => Promise<void>} play
 */
async function start(play) {
  stop("");
  const own = starting;
  message.textContent = "";
  try {
    await play();
  } catch (error) {
    if (own !== starting) return;
    stop("");
    message.textContent = tell(error);
    return;
  }
  if (own !== starting) return;
  times = [];
  stopButton.disabled = false;
  setState("Connecting …");
  const opened = new FaceStream(readOptions(), (answer) => void show(answer, own), (words) => {
    if (own === starting) stop(words);
  });
  stream = opened;
  let busy = false;
  watchFrames(video, () => {
    if (own !== starting) return false;
    if (!busy && opened.hungry && video.videoWidth) {
      busy = true;
      grabFrame(video, drawing)
        .then((picture) => opened.send(picture))
        .catch((error) => stop(tell(error)))
        .finally(() => (busy = false));
    }
    return true;
  });
}

/** @param {string} words why, where it was not asked for */
function stop(words) {
  starting += 1;
  stream?.close();
  stream = null;
  stopSource(video);
  stopButton.disabled = true;
  pictures.classList.remove("without-face");
  message.textContent = words;
  setState("Stopped. Nothing is sent.");
}

/**
 * @param {import("./stream.js").Answer} answer
 * @param {number} own
 */
async function show({ header, picture, delay }, own) {
  const image = picture ? await createImageBitmap(picture) : null;
  if (own !== starting) return;
  pictures.classList.toggle("without-face", !image);
  setState(image ? `${target.selectedOptions[0]?.text ?? "The target"} follows you.` : header.reason ?? "");
  if (image) {
    if (result.width !== image.width || result.height !== image.height) {
      Object.assign(result, { width: image.width, height: image.height });
    }
    /** @type {CanvasRenderingContext2D} */ (result.getContext("2d")).drawImage(image, 0, 0);
    image.close();
  }
  const now = performance.now();
  times = [...times.filter((time) => time > now - RATE_SPAN), now];
  if (now - shown < SHOW_EVERY) return;
  shown = now;
  const span = now - (times[0] ?? now);
  find("rate", HTMLElement).textContent = span > 0 ? ((1000 * (times.length - 1)) / span).toFixed(1) : "–";
  find("delay", HTMLElement).textContent = `${delay.toFixed(0)} ms`;
  find("dropped", HTMLElement).textContent = String(header.dropped);
  showStages(header.timings_ms);
}

/** @param {Record<string, number>} timings */
function showStages(timings) {
  stages.replaceChildren(
    ...Object.entries(timings).map(([stage, milliseconds]) => {
      const pair = document.createElement("div");
      pair.appendChild(document.createElement("dt")).textContent = stage;
      pair.appendChild(document.createElement("dd")).textContent = milliseconds.toFixed(1);
      return pair;
    }),
  );
}

cameraButton.addEventListener("click", () => void start(() => playCamera(video)));
fileInput.addEventListener("change", () => {
  const file = fileInput.files?.[0];
  if (file) void start(() => playFile(video, file));
  fileInput.value = ""; // so that the same file can be taken again
});
stopButton.addEventListener("click", () => stop(""));
sideBySide.addEventListener("change", () => {
  find("source-figure", HTMLElement).classList.toggle("visually-hidden", !sideBySide.checked); // hidden, it would stop
});
for (const option of [target, smoothing, pasteBack, label]) {
  option.addEventListener("change", () => stream?.setOptions(readOptions()));
}
addEventListener("pagehide", () => stop(""));

try {
  await fillTargets(target);
} catch (error) {
  message.textContent = tell(error);
}
