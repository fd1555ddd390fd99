// What the page shows, kept: recorded with the microphone, as one picture, or on the whole screen.

const FORMATS = ["video/webm;codecs=vp9,opus", "video/webm;codecs=vp8,opus", "video/webm", "video/mp4"];
const KEEP_LINK = 60_000; // milliseconds: a browser may ask where to save before it reads

/**
 * Save bytes as a file of the person's.
 * @param {Blob} blob
 * @param {string} name
 */
export function saveFile(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEEP_LINK);
}

/** The canvas as it changes, and the microphone where it may be had. */
export class Recording {
  /**
   * Throws an Error in words where this browser can't record.
   * @param {HTMLCanvasElement} canvas
   * @param {MediaStream | null} sound
   */
  constructor(canvas, sound) {
    const format = FORMATS.find((each) => window.MediaRecorder?.isTypeSupported(each));
    if (!format) throw new Error("This browser can't record video.");
    this.sound = sound;
    this.pictures = canvas.captureStream();
    const tracks = [...this.pictures.getTracks(), ...(sound?.getTracks() ?? [])];
    /** @type {Blob[]} */
    this.parts = [];
    this.recorder = new MediaRecorder(new MediaStream(tracks), { mimeType: format });
    this.recorder.ondataavailable = ({ data }) => this.parts.push(data);
    this.recorder.start(1000); // a part a second: a long recording is no single piece of memory
  }

  /**
   * End it and save it.
   * @param {string} name without an ending
   * @returns {Promise<void>}
   */
  async finish(name) {
    await new Promise((resolve) => {
      this.recorder.onstop = resolve;
      this.recorder.stop();
    });
    for (const stream of [this.pictures, this.sound]) for (const track of stream?.getTracks() ?? []) track.stop();
    const type = this.recorder.mimeType.split(";")[0] ?? "video/webm";
    saveFile(new Blob(this.parts, { type }), `${name}.${type === "video/mp4" ? "mp4" : "webm"}`);
  }
}

/**
 * The microphone; null where it is refused or there is none.
 * @returns {Promise<MediaStream | null>}
 */
export async function openMicrophone() {
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: true });
  } catch {
    return null;
  }
}
