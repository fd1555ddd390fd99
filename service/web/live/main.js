// The page /live: a camera or a file to /stream, the target's face on the screen, and how fast it goes.

import { find } from "../editor/dom.js";
import { tell } from "../problem.js";
import { fillTargets } from "../targets.js";
import { openMicrophone, Recording, saveFile } from "./capture.js";
import { findFaces, offerFaces } from "./faces.js";
import { Figures } from "./figures.js";
import { grabFrame, playCamera, playFile, playSample, stopSource, watchFrames } from "./source.js";
import { FaceStream } from "./stream.js";

const RETRY_FIRST = 500; // milliseconds to the first new try of a lost connection; each further waits twice as long
const RETRY_MOST = 8000;
const FACES_EVERY = 4000; // milliseconds between two looks for a second face, until there is one
const NEUTRAL_AFTER = 1500; // milliseconds for a person's eyes to go from the button to the camera

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
const mirror = find("mirror", HTMLInputElement);
const face = find("face", HTMLSelectElement);
const faceChoice = find("face-choice", HTMLElement);
const neutralButton = find("neutral", HTMLButtonElement);
const neutralState = find("neutral-state", HTMLElement);
const recordButton = find("record", HTMLButtonElement);
const snapshot = find("snapshot", HTMLButtonElement);
const pictures = find("pictures", HTMLElement);
const message = find("message", HTMLElement);
const state = find("status", HTMLElement);
const figures = new Figures();

const drawing = document.createElement("canvas");
/** @type {FaceStream | null} */
let stream = null;
let starting = 0; // counts the starts: what an older one still brings is let go
let selfie = false; // whether the camera films who sits before it
/** @type {Map<string, string>} */
let references = new Map(); // target -> its picture, which is shown until there is another
/** @type {Blob | null} */
let last = null; // the newest picture, as the service made it
/** @type {Recording | null} */
let recording = null;
let recorded = 0; // when the recording began

let neutralWaits = false; // whether the person was asked to look at the camera, and it is not taken yet

const asked = new URLSearchParams(location.search);
const clean = asked.has("clean");

/** @returns {import("./stream.js").Options} */
function readOptions() {
  return {
    target: target.value,
    smoothing: smoothing.checked,
    paste_back: pasteBack.checked,
    label: label.checked ? "visible" : "none",
    face: Number(face.value || 0),
  };
}

/** @param {string} words */
function setState(words) {
  if (state.textContent !== words) state.textContent = words; // read aloud by screen readers: only when it changes
}

function showMirror() {
  pictures.classList.toggle("mirrored", selfie && mirror.checked && !clean);
}

/**
 * Play a source, then stream it.
 * @param {() => Promise<void>} play
 * @param {boolean} films whether it is the camera
 */
async function start(play, films) {
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
  figures.reset();
  selfie = films;
  pictures.classList.add("running");
  find("source-caption", HTMLElement).textContent = films ? "You" : "The clip";
  showMirror();
  stopButton.disabled = false;
  connect(own, RETRY_FIRST);
  let busy = false;
  watchFrames(video, () => {
    if (own !== starting) return false;
    const open = stream;
    if (!busy && open?.hungry && video.videoWidth) {
      busy = true;
      grabFrame(video, drawing)
        .then((picture) => open.send(picture))
        .catch((error) => stop(tell(error)))
        .finally(() => (busy = false));
    }
    return true;
  });
  void lookForFaces(own);
}

/**
 * Connect, and again where the connection is lost.
 * @param {number} own
 * @param {number} wait milliseconds before the next try, should this one fail
 */
function connect(own, wait) {
  setState("Connecting …");
  let answered = false;
  stream = new FaceStream(
    readOptions(),
    (answer) => {
      answered = true;
      void show(answer, own);
    },
    (words, passing) => {
      if (own !== starting) return;
      if (!passing) return stop(words);
      neutralButton.disabled = true;
      setState(`${words} Trying again …`);
      const next = answered ? RETRY_FIRST : wait;
      setTimeout(() => {
        if (own === starting) connect(own, Math.min(2 * next, RETRY_MOST));
      }, next);
    },
  );
}

/**
 * Offer a choice once the picture shows two faces.
 * @param {number} own
 */
async function lookForFaces(own) {
  const canvas = document.createElement("canvas");
  while (own === starting) {
    if (stream?.ready && video.videoWidth) {
      try {
        const faces = await findFaces(await grabFrame(video, canvas));
        if (own !== starting) return;
        if (faces.length > 1) {
          offerFaces(face, faces, pictures.classList.contains("mirrored"));
          faceChoice.hidden = false;
          return;
        }
      } catch { // the stream says what is wrong
      }
    }
    await new Promise((resolve) => setTimeout(resolve, FACES_EVERY));
  }
}

/** @param {string} words why, where it was not asked for */
function stop(words) {
  starting += 1;
  stream?.close();
  stream = null;
  last = null;
  void finishRecording();
  stopSource(video);
  stopButton.disabled = neutralButton.disabled = recordButton.disabled = snapshot.disabled = true;
  faceChoice.hidden = true;
  face.replaceChildren();
  pictures.classList.remove("running", "without-face");
  void showReference();
  message.textContent = words;
  setState("Stopped. Nothing is sent.");
}

async function startRecording() {
  recordButton.disabled = true;
  const own = starting;
  const wanted = find("sound", HTMLInputElement).checked;
  const sound = wanted ? await openMicrophone() : null;
  try {
    if (own !== starting) throw new Error("");
    recording = new Recording(result, sound);
    recorded = performance.now();
    tick(recording);
    message.textContent = wanted && !sound ? "The microphone can't be used: recorded without sound." : "";
  } catch (error) {
    for (const track of sound?.getTracks() ?? []) track.stop();
    message.textContent = tell(error);
  }
  showRecording();
}

async function finishRecording() {
  const ended = recording;
  recording = null;
  showRecording();
  await ended?.finish(target.value);
}

function showRecording() {
  recordButton.disabled = !last;
  if (!recording) recordButton.textContent = "Record";
  recordButton.setAttribute("aria-pressed", String(Boolean(recording)));
}

/**
 * The seconds since it began, on the button that ends it.
 * @param {Recording} running
 */
function tick(running) {
  if (recording !== running) return;
  const seconds = Math.floor((performance.now() - recorded) / 1000);
  recordButton.textContent = `Stop and save · ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  setTimeout(() => tick(running), 1000 - ((performance.now() - recorded) % 1000));
}

/** The target as it is, while nothing drives it. */
async function showReference() {
  find("result-caption", HTMLElement).textContent = target.selectedOptions[0]?.text ?? "The target";
  const path = references.get(target.value);
  const own = starting;
  if (!path || stream) return;
  const image = new Image();
  image.src = path;
  await image.decode();
  if (own === starting && !stream && references.get(target.value) === path) draw(image, image.width, image.height);
}

/**
 * @param {CanvasImageSource} image
 * @param {number} width
 * @param {number} height
 */
function draw(image, width, height) {
  if (result.width !== width || result.height !== height) Object.assign(result, { width, height });
  pictures.classList.toggle("wide", width !== height);
  /** @type {CanvasRenderingContext2D} */ (result.getContext("2d")).drawImage(image, 0, 0);
}

/**
 * @param {import("./stream.js").Answer} answer
 * @param {number} own
 */
async function show(answer, own) {
  const { header, picture } = answer;
  const image = picture ? await createImageBitmap(picture) : null;
  if (own !== starting) return;
  pictures.classList.toggle("without-face", !image);
  const name = target.selectedOptions[0]?.text ?? "The target";
  setState(image ? `${name} follows ${selfie ? "you" : "the clip"}.` : header.reason ?? "");
  showNeutral(header.neutral);
  if (image) {
    last = picture;
    neutralButton.disabled = recordButton.disabled = snapshot.disabled = false;
    draw(image, image.width, image.height);
    image.close();
  }
  figures.count(answer);
}

/** @param {import("./stream.js").Header["neutral"]} neutral */
function showNeutral(neutral) {
  const words = {
    watched: "It adapts to your face by itself. If it looks off: press Calibrate, look at the camera, relax.",
    taking: "Look at the camera, relax …",
    given: "Calibrated to your face.",
  }[neutral];
  if (!neutralWaits && neutralState.textContent !== words) neutralState.textContent = words;
}

cameraButton.addEventListener("click", () => void start(() => playCamera(video), true));
find("sample", HTMLButtonElement).addEventListener("click", () => void start(() => playSample(video), false));
fileInput.addEventListener("change", () => {
  const file = fileInput.files?.[0];
  if (file) void start(() => playFile(video, file), false);
  fileInput.value = ""; // so that the same file can be taken again
});
neutralButton.addEventListener("click", () => {
  neutralWaits = true;
  neutralState.textContent = "Look at the camera, relax …";
  setTimeout(() => {
    neutralWaits = false;
    stream?.takeNeutral();
  }, NEUTRAL_AFTER);
});
recordButton.addEventListener("click", () => void (recording ? finishRecording() : startRecording()));
snapshot.addEventListener("click", () => last && saveFile(last, `${target.value}.jpg`));
const fullScreen = find("full-screen", HTMLButtonElement);
fullScreen.hidden = !document.fullscreenEnabled;
fullScreen.addEventListener("click", () => void find("result-figure", HTMLElement).requestFullscreen());
mirror.addEventListener("change", showMirror);
stopButton.addEventListener("click", () => stop(""));
sideBySide.addEventListener("change", () => {
  find("source-figure", HTMLElement).classList.toggle("visually-hidden", !sideBySide.checked); // hidden, it would stop
});
for (const option of [target, smoothing, pasteBack, label, face]) {
  option.addEventListener("change", () => stream?.setOptions(readOptions()));
}
target.addEventListener("change", () => void showReference());
addEventListener("pagehide", () => stop(""));
showNeutral("watched");

try {
  references = await fillTargets(target);
  const wanted = asked.get("target");
  if (wanted) target.value = wanted;
  void showReference();
  if (clean) {
    find("source-figure", HTMLElement).classList.add("visually-hidden"); // hidden otherwise, it would stop
    document.body.classList.add("clean");
    void (asked.get("source") === "sample" ? start(() => playSample(video), false) : start(() => playCamera(video), true));
  }
} catch (error) {
  message.textContent = tell(error);
}
