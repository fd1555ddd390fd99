// Sliders that move the landmarks, and read them: what is dragged shows here, and what is set here shows there.

import { find, make, spell } from "./dom.js";

/**
 * @typedef {import("./points.js").Points} Points
 * @typedef {import("./landmarks.js").Landmarks} Landmarks
 * @typedef {{
 *   name: string, low: number, high: number, step: number,
 *   apply: (points: Points, value: number) => Points, say: (value: number) => string
 * }} Kind
 * @typedef {{input: HTMLInputElement, output: HTMLOutputElement, kind: Kind}} Slider
 */

const DEGREE = Math.PI / 180;
const TURNS = /** @type {const} */ ({ yaw: 35, pitch: 25, roll: 30 }); // degrees either way

export class Sliders {
  /** @type {Landmarks | null} */ #landmarks = null;
  /** @type {Slider[]} */ #sliders = [];
  /** @type {Points | null} */ #base = null;
  #planned = 0;

  constructor() {
    this.list = find("sliders", HTMLElement);
  }

  /** @param {Landmarks} landmarks */
  attach(landmarks) {
    this.#landmarks = landmarks;
    this.#base = null;
    this.#sliders = listKinds(landmarks).map((kind) => this.#build(kind));
    this.list.replaceChildren(...this.#sliders.map(({ input }) => /** @type {HTMLElement} */ (input.parentElement)));
    landmarks.addEventListener("points", () => this.#plan());
    this.#read();
  }

  /**
   * @param {Kind} kind
   * @returns {Slider}
   */
  #build(kind) {
    const row = make("div", { class: "slider" });
    const id = `slider-${kind.name}`;
    row.appendChild(make("label", { for: id })).textContent = spell(kind.name);
    const input = row.appendChild(make("input", { id, type: "range", step: String(kind.step) }));
    input.min = String(kind.low);
    input.max = String(kind.high);
    const output = row.appendChild(make("output", { for: id }));
    input.addEventListener("input", (event) => {
      const landmarks = this.#landmarks;
      if (!landmarks) return;
      this.#base ??= landmarks.points; // each value is set on the points as the hand found them
      landmarks.show(kind.apply(this.#base, Number(input.value)), event.timeStamp);
    });
    input.addEventListener("change", () => {
      this.#base = null;
      this.#landmarks?.record();
    });
    return { input, output, kind };
  }

  /** Read with the next frame, once. */
  #plan() {
    this.#planned ||= requestAnimationFrame(() => {
      this.#planned = 0;
      this.#read();
    });
  }

  #read() {
    if (!this.#landmarks) return;
    const { face, points } = this.#landmarks;
    const pose = face.readPose(points);
    const values = [...Object.keys(TURNS).map((name) => pose[/** @type {keyof typeof TURNS} */ (name)] / DEGREE)];
    values.push(...face.readMotions(points));
    this.#sliders.forEach(({ input, output, kind }, index) => {
      const words = kind.say(values[index]);
      if (!(this.#base && input === document.activeElement)) input.value = String(values[index]);
      output.value = words;
      input.setAttribute("aria-valuetext", words);
    });
  }
}

/**
 * @param {Landmarks} landmarks
 * @returns {Kind[]}
 */
function listKinds({ face, scheme }) {
  const turns = Object.entries(TURNS).map(([name, most]) => ({
    name,
    low: -most,
    high: most,
    step: 0.1,
    apply: /** @type {Kind["apply"]} */ ((points, value) => face.turn(points, { [name]: value * DEGREE })),
    say: /** @type {Kind["say"]} */ ((value) => `${sign(value, 0)}°`),
  }));
  const motions = scheme.motions.map(({ name, low, high }, index) => ({
    name,
    low,
    high,
    step: 0.001,
    apply: /** @type {Kind["apply"]} */ ((points, value) => face.move(points, index, value)),
    say: /** @type {Kind["say"]} */ ((value) => `${sign((value / Math.max(high, -low)) * 100, 0)} %`),
  }));
  return [...turns, ...motions];
}

/**
 * A number with its sign, and zero without one.
 * @param {number} value
 * @param {number} digits
 */
function sign(value, digits) {
  const text = Math.abs(value).toFixed(digits);
  return Number(text) === 0 ? text : `${value < 0 ? "−" : "+"}${text}`;
}
