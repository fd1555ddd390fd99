// What is filmed: a camera or a video file, played in a <video>, and its frames as JPEG.

const LONGEST_SIDE = 640; // pixels: more costs time to send and to decode, and the detector does not need it
const QUALITY = 0.85;

/**
 * The camera in the video element. Throws an Error in words.
 * @param {HTMLVideoElement} video
 */
export async function playCamera(video) {
  if (!navigator.mediaDevices) {
    throw new Error("A browser gives the camera only to pages from localhost or over HTTPS.");
  }
  let camera;
  try {
    camera = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 480 } } });
  } catch (error) {
    throw new Error(explainCamera(error instanceof DOMException ? error.name : ""));
  }
  video.srcObject = camera;
  await video.play();
}

/**
 * @param {string} name of the DOMException
 * @returns {string}
 */
function explainCamera(name) {
  if (name === "NotAllowedError") {
    return "The camera was refused. Allow it for this page, beside the browser's address, and start again; or take a video file.";
  }
  if (name === "NotFoundError") return "No camera was found. A video file will do as well.";
  if (name === "NotReadableError") return "The camera can't be read; another program may be using it.";
  return `The camera can't be used (${name || "unknown error"}). A video file will do as well.`;
}

/**
 * A file in the video element. Throws an Error in words.
 * @param {HTMLVideoElement} video
 * @param {File} file
 */
export async function playFile(video, file) {
  video.src = URL.createObjectURL(file);
  try {
    await video.play();
  } catch {
    throw new Error(`This browser can't play ${file.name}. The page Video takes more formats.`);
  }
}

/**
 * The clip that ships with the page, for who has no camera. Throws an Error in words.
 * @param {HTMLVideoElement} video
 */
export async function playSample(video) {
  video.src = "web/live/sample.webm";
  try {
    await video.play();
  } catch {
    throw new Error("This browser can't play the sample. A video file will do as well.");
  }
}

/**
 * Stop the camera or the file, and let go of it.
 * @param {HTMLVideoElement} video
 */
export function stopSource(video) {
  if (video.srcObject instanceof MediaStream) for (const track of video.srcObject.getTracks()) track.stop();
  if (video.src) URL.revokeObjectURL(video.src);
  video.pause();
  video.srcObject = null;
  video.removeAttribute("src");
  video.load();
}

/**
 * Call `take` at each new frame of the video, until it returns false.
 * @param {HTMLVideoElement} video
 * @param {() => boolean} take
 */
export function watchFrames(video, take) {
  const next = "requestVideoFrameCallback" in video
    ? () => video.requestVideoFrameCallback(step)
    : () => requestAnimationFrame(step);
  const step = () => {
    if (take()) next();
  };
  next();
}

/**
 * The frame shown now, as JPEG.
 * @param {HTMLVideoElement} video
 * @param {HTMLCanvasElement} canvas to draw on, kept from frame to frame
 * @returns {Promise<ArrayBuffer>}
 */
export async function grabFrame(video, canvas) {
  const scale = Math.min(1, LONGEST_SIDE / Math.max(video.videoWidth, video.videoHeight));
  const width = Math.round(video.videoWidth * scale);
  const height = Math.round(video.videoHeight * scale);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).drawImage(video, 0, 0, width, height);
  /** @type {Blob} */
  const picture = await new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The frame can't be encoded."))), "image/jpeg", QUALITY);
  });
  return picture.arrayBuffer();
}
