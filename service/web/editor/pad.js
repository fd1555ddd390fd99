// A pad on which one hand sets two movements at once, such as where the eyes look: a pointer anywhere on it, or the
// arrow keys; Home comes back to the middle.

import { make } from "./dom.js";

/**
 * @typedef {import("./movements.js").Movement} Movement
 */

const STEP = 0.1; // of the way from the middle to the end
const STRIDE = 3; // steps, with Shift

/** @type {Record<string, readonly [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Pad {
  #held = false;

  /**
   * @param {string} label
   * @param {readonly [Movement, Movement]} movements across and down
   * @param {{set: (values: [number, number], since: number) => void, done: () => void}} listener
   */
  constructor(label, movements, listener) {
    this.movements = movements;
    this.listener = listener;
    this.element = make("div", { class: "pad", role: "slider", tabindex: "0", "aria-label": label });
    this.element.setAttribute("aria-roledescription", "two-way slider");
    this.element.setAttribute("aria-valuemin", "-100");
    this.element.setAttribute("aria-valuemax", "100");
    this.knob = this.element.appendChild(make("span", { class: "knob" }));
    /** @type {[number, number]} */
    this.values = [0, 0];
    this.element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      this.element.focus({ preventScroll: true });
      this.element.setPointerCapture(event.pointerId);
      this.#held = true;
      this.#point(event);
    });
    this.element.addEventListener("pointermove", (event) => {
      if (this.#held) this.#point(event);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      this.element.addEventListener(end, () => {
        if (this.#held) this.listener.done();
        this.#held = false;
      });
    }
    this.element.addEventListener("keydown", (event) => this.#press(event));
  }

  /** Whether a hand is on it. */
  get held() {
    return this.#held;
  }

  /** @param {[number, number]} values */
  show(values) {
    this.values = values;
    const [x, y] = values.map((value, axis) => share(value, this.movements[axis]));
    this.knob.style.setProperty("left", `${50 + 50 * x}%`);
    this.knob.style.setProperty("top", `${50 + 50 * y}%`);
    this.element.setAttribute("aria-valuenow", String(Math.round(x * 100)));
    const words = values.map((value, axis) => this.movements[axis].say(value));
    this.element.setAttribute("aria-valuetext", words.join(", "));
  }

  /** @param {PointerEvent} event */
  #point(event) {
    const box = this.element.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * 2 - 1;
    const y = ((event.clientY - box.top) / box.height) * 2 - 1;
    this.#set(x, y, event.timeStamp);
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key];
    if (!arrow && event.key !== "Home") return;
    event.preventDefault();
    const step = STEP * (event.shiftKey ? STRIDE : 1);
    const [x, y] = this.values.map((value, axis) => share(value, this.movements[axis]));
    if (arrow) this.#set(x + arrow[0] * step, y + arrow[1] * step, event.timeStamp);
    else this.#set(0, 0, event.timeStamp);
    this.listener.done();
  }

  /**
   * @param {number} x from -1, the low end, to 1
   * @param {number} y
   * @param {number} since
   */
  #set(x, y, since) {
    const [across, down] = this.movements;
    this.listener.set([reach(x, across), reach(y, down)], since);
  }
}

/**
 * From -1 at the low end over 0 to 1 at the high end.
 * @param {number} value
 * @param {Movement} movement
 */
function share(value, { low, high }) {
  return Math.min(1, Math.max(-1, value < 0 ? -value / low : value / high));
}

/**
 * The inverse of `share`.
 * @param {number} part
 * @param {Movement} movement
 */
function reach(part, { low, high }) {
  const within = Math.min(1, Math.max(-1, part));
  return within < 0 ? -within * low : within * high;
}
