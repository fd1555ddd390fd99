// Where an edit begins: the target's filmed frames as presets, the landmarks of a picture, or a file of landmarks.

import { tell } from "../problem.js";
import { find, make, makeSvg, spell, tracePath } from "./dom.js";
import { findFaces, placeLandmarks } from "./service.js";

/**
 * @typedef {import("./points.js").Points} Points
 * @typedef {import("./landmarks.js").Landmarks} Landmarks
 * @typedef {import("./service.js").Face} Face
 */

const NO_FACE =
  "No face was found in this picture. One is found where it is large enough, not covered, and not turned away from the camera.";

export class Starts {
  /** @type {Landmarks | null} */ #landmarks = null;
  /** @type {Face[]} */ #faces = [];

  constructor() {
    this.presets = find("presets", HTMLElement);
    this.message = find("start-message", HTMLElement);
    this.faces = find("faces", HTMLSelectElement);
    const photo = find("photo", HTMLInputElement);
    const file = find("landmark-file", HTMLInputElement);
    photo.addEventListener("change", () => this.#take(photo, (picture) => this.#readPhoto(picture)));
    file.addEventListener("change", () => this.#take(file, (text) => this.#readFile(text)));
    this.faces.addEventListener("change", () => this.#run(() => this.#startFrom(this.#faces[this.faces.selectedIndex])));
  }

  /** @param {Landmarks} landmarks */
  attach(landmarks) {
    this.#landmarks = landmarks;
    const { presets, neutral } = landmarks.manifest;
    const named = Object.entries({ ...presets, neutral: presets.neutral ?? neutral });
    named.sort(([a], [b]) => Number(b === "neutral") - Number(a === "neutral"));
    this.presets.replaceChildren(...named.map(([name, points]) => this.#drawPreset(name, points)));
  }

  /**
   * @param {string} name
   * @param {Points} points
   */
  #drawPreset(name, points) {
    const button = make("button", { type: "button", class: "preset", "data-preset": name });
    const drawing = makeSvg("svg", { viewBox: "0.1 0.2 0.8 0.8", "aria-hidden": "true" });
    drawing.appendChild(makeSvg("path", { d: tracePath(points, this.#landmarks?.scheme.strokes ?? []) }));
    button.append(drawing, spell(name));
    button.addEventListener("click", () => {
      this.#say("");
      this.#landmarks?.start(points, false);
    });
    return button;
  }

  /**
   * @param {HTMLInputElement} input
   * @param {(file: File) => Promise<void>} read
   */
  async #take(input, read) {
    const file = input.files?.[0];
    if (!file) return;
    await this.#run(() => read(file));
    input.value = ""; // so that the same file can be taken again
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
    await this.#startFrom(this.#faces[0]);
  }

  /** @param {Face} face */
  async #startFrom({ scheme, landmarks }) {
    await this.#place({ scheme, landmarks, units: "any" }, true);
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
    const { scheme, landmarks, units = "any", convert = true } = found;
    await this.#place({ scheme, landmarks, units }, convert === true);
  }

  /**
   * @param {{scheme?: string, landmarks: unknown, units: string}} order
   * @param {boolean} convert
   */
  async #place(order, convert) {
    const landmarks = this.#landmarks;
    if (!landmarks) return;
    landmarks.start(await placeLandmarks({ target: landmarks.manifest.target, ...order }), convert);
  }

  /** @param {string} words */
  #say(words) {
    this.message.textContent = words;
  }
}
