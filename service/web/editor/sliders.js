// Sliders that move the landmarks, and read them: what is dragged shows here, and what is set here shows there.

import { find, make } from "./dom.js";
import { listMovements } from "./movements.js";
import { Pad } from "./pad.js";

/**
 * @typedef {import("./points.js").Points} Points
 * @typedef {import("./landmarks.js").Landmarks} Landmarks
 * @typedef {import("./movements.js").Movement} Movement
 * @typedef {{input: HTMLInputElement, output: HTMLOutputElement, movement: Movement}} Slider
 */

const GAZE = ["gaze_across", "gaze_down"];

export class Sliders {
  /** @type {Landmarks | null} */ #landmarks = null;
  /** @type {Slider[]} */ #sliders = [];
  /** @type {Pad | null} */ #pad = null;
  /** @type {Points | null} */ #base = null;
  #planned = 0;

  constructor() {
    this.lists = {
      head: find("sliders-head", HTMLElement),
      eyes: find("sliders-eyes", HTMLElement),
      mouth: find("sliders-mouth", HTMLElement),
    };
    this.gaze = find("gaze", HTMLElement);
  }

  /** @param {Landmarks} landmarks */
  attach(landmarks) {
    this.#landmarks = landmarks;
    this.#base = null;
    const movements = listMovements(landmarks);
    for (const list of Object.values(this.lists)) list.replaceChildren();
    this.#sliders = movements.filter(({ name }) => !GAZE.includes(name)).map((movement) => this.#build(movement));
    const [across, down] = movements.filter(({ name }) => GAZE.includes(name));
    this.#pad = across && down ? this.#buildPad([across, down]) : null;
    this.gaze.classList.toggle("absent", this.#pad === null);
    landmarks.addEventListener("points", () => this.#plan());
    this.#read();
  }

  /**
   * @param {Movement} movement
   * @returns {Slider}
   */
  #build(movement) {
    const { name, label, group, low, high } = movement;
    const row = this.lists[group].appendChild(make("div", { class: "slider" }));
    const id = `slider-${name}`;
    row.appendChild(make("label", { for: id })).textContent = label;
    const track = row.appendChild(make("span", { class: "track" }));
    track.style.setProperty("--zero", String(-low / (high - low)));
    const input = track.appendChild(make("input", { id, type: "range", step: "any" }));
    input.min = String(low);
    input.max = String(high);
    const output = row.appendChild(make("output", { for: id }));
    row.title = "Double-click: back to neutral";
    row.addEventListener("dblclick", (event) => {
      this.#show((points) => movement.apply(points, 0), event.timeStamp);
      this.#finish();
    });
    input.addEventListener("input", (event) => {
      this.#show((points) => movement.apply(points, Number(input.value)), event.timeStamp);
    });
    input.addEventListener("change", () => this.#finish());
    return { input, output, movement };
  }

  /** @param {readonly [Movement, Movement]} movements */
  #buildPad(movements) {
    const pad = new Pad("Where the eyes look", movements, {
      set: (values, since) => {
        this.#show((points) => movements.reduce((at, each, axis) => each.apply(at, values[axis]), points), since);
        pad.show(values);
      },
      done: () => this.#finish(),
    });
    this.gaze.querySelector(".pad")?.remove();
    this.gaze.appendChild(pad.element);
    return pad;
  }

  /**
   * Each value is set on the points as the hand found them.
   * @param {(points: Points) => Points} change
   * @param {number} since
   */
  #show(change, since) {
    if (!this.#landmarks) return;
    this.#base ??= this.#landmarks.points;
    this.#landmarks.show(change(this.#base), since);
  }

  #finish() {
    this.#base = null;
    this.#landmarks?.record();
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
    const values = this.#landmarks.face.read(this.#landmarks.points);
    for (const { input, output, movement } of this.#sliders) {
      const value = movement.read(values);
      const words = movement.say(value);
      if (!(this.#base && input === document.activeElement)) input.value = String(value);
      output.value = words;
      input.setAttribute("aria-valuetext", words);
    }
    const pad = this.#pad;
    if (pad && !pad.held) pad.show([pad.movements[0].read(values), pad.movements[1].read(values)]);
  }
}
