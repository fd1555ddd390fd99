// Where an edit begins: the target's presets, the landmarks of a picture, or a file of landmarks.

import { tell } from "../problem.js";
import { find } from "./dom.js";
import { makeFaceButtons } from "./faces.js";
import { limitView, WHOLE } from "./points.js";
import { findFaces, placeLandmarks } from "./service.js";

/**
 * @typedef {import("./points.js").Points} Points
 * @typedef {import("./landmarks.js").Landmarks} Landmarks
 * @typedef {import("./service.js").Face} Face
 */

const AROUND = 1.5; // of a face's box, that is shown of its photo
const NO_FACE =
  "No face was found in this picture. One is found where it is large enough, not covered, and not turned away from the camera.";

export class Starts {
  /** @type {Landmarks | null} */ #landmarks = null;
  /** @type {Face[]} */ #faces = [];
  /** @type {ImageBitmap | null} */ #photo = null;

  constructor() {
    this.presets = find("presets", HTMLElement);
    this.message = find("start-message", HTMLElement);
    this.faces = find("faces", HTMLSelectElement);
    this.source = find("source", HTMLElement);
    this.canvas = find("photo-picture", HTMLCanvasElement);
    const photo = find("photo", HTMLInputElement);
    const file = find("landmark-file", HTMLInputElement);
    for (const input of [photo, file]) {
      input.addEventListener("change", async () => {
        await this.#take(input.files?.[0]);
        input.value = ""; // so that the same file can be taken again
      });
    }
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      void this.#take(event.dataTransfer?.files[0]);
    });
    document.addEventListener("paste", (event) => this.#take(event.clipboardData?.files[0]));
    this.faces.addEventListener("change", () => this.#run(() => this.#startFrom(this.#faces[this.faces.selectedIndex])));
  }

  /** @param {Landmarks} landmarks */
  attach(landmarks) {
    this.#landmarks = landmarks;
    const buttons = makeFaceButtons(
      landmarks,
      (points) => {
        this.#say("");
        this.#showPhoto(null);
        landmarks.start(points, false);
      },
      () => this.#landmarks === landmarks,
    );
    this.presets.replaceChildren(...buttons);
  }

  /** @param {File | undefined} file a picture or landmarks */
  async #take(file) {
    if (!file) return;
    const isText = file.name.endsWith(".json") || file.type === "application/json";
    await this.#run(() => (isText ? this.#readFile(file) : this.#readPhoto(file)));
  }

  /** @param {() => Promise<void>} work */
  async #run(work) {
    this.#say("");
    document.body.setAttribute("aria-busy", "true");
    try {
      await work();
    } catch (error) {
      this.#say(tell(error));
    }
    document.body.removeAttribute("aria-busy");
  }

  /** @param {File} picture */
  async #readPhoto(picture) {
    this.#faces = await findFaces(picture);
    this.faces.hidden = this.#faces.length < 2;
    this.faces.replaceChildren(
      ...this.#faces.map((_, index) => new Option(`Face ${index + 1} of ${this.#faces.length}`)),
    );
    if (this.#faces.length === 0) throw new Error(NO_FACE);
    this.#photo = await createImageBitmap(picture);
    await this.#startFrom(this.#faces[0]);
  }

  /** @param {Face} face */
  async #startFrom(face) {
    await this.#place({ scheme: face.scheme, landmarks: face.landmarks, units: "any" }, true);
    this.#showPhoto(face);
  }

  /** @param {Face | null} face null: there is no photo to compare with */
  #showPhoto(face) {
    this.source.hidden = face === null;
    if (!face || !this.#photo) return;
    const [left, top, right, bottom] = face.box;
    const side = AROUND * Math.max(right - left, bottom - top);
    const { width, height } = this.canvas;
    const context = this.canvas.getContext("2d");
    context?.clearRect(0, 0, width, height);
    const [x, y] = [(left + right - side) / 2, (top + bottom - side) / 2];
    context?.drawImage(this.#photo, x, y, side, side, 0, 0, width, height);
  }

  /** @param {File} file */
  async #readFile(file) {
    let content;
    try {
      content = JSON.parse(await file.text());
    } catch {
      throw new Error(`${file.name} is not JSON. Expected: landmarks downloaded here, or an answer of /landmarks.`);
    }
    const found = Array.isArray(content) ? { landmarks: content } : content?.faces ? content.faces[0] : content;
    if (!found?.landmarks) {
      throw new Error(`${file.name} holds no landmarks. Expected: {"landmarks": [[x, y], …]} or an answer of /landmarks.`);
    }
    const { scheme, landmarks, units = "any", convert = true, view } = found;
    await this.#place({ scheme, landmarks, units, view }, convert === true);
    this.#showPhoto(null);
  }

  /**
   * @param {{scheme?: string, landmarks: unknown, units: string, view?: import("./points.js").Crop}} order
   * @param {boolean} convert
   */
  async #place(order, convert) {
    const landmarks = this.#landmarks;
    if (!landmarks) return;
    const points = await placeLandmarks({ target: landmarks.manifest.target, ...order });
    landmarks.start(points, convert, order.view && limitView({ ...WHOLE, ...order.view })); // the service has checked it
  }

  /** @param {string} words */
  #say(words) {
    this.message.textContent = words;
  }
}
