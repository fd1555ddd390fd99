// How fast it goes: frames a second, the delay, and what each stage in the service takes.

import { find, make } from "../editor/dom.js";

const RATE_SPAN = 2000; // milliseconds over which the frame rate is counted
const SHOW_EVERY = 250; // milliseconds: figures that change faster can't be read

export class Figures {
  /** @type {number[]} */ #times = [];
  #shown = 0;

  /** Another source begins. */
  reset() {
    this.#times = [];
  }

  /** @param {import("./stream.js").Answer} answer */
  count({ header, delay }) {
    const now = performance.now();
    this.#times = [...this.#times.filter((time) => time > now - RATE_SPAN), now];
    if (now - this.#shown < SHOW_EVERY) return;
    this.#shown = now;
    const span = now - this.#times[0];
    const rate = span > 0 ? ((1000 * (this.#times.length - 1)) / span).toFixed(1) : "–";
    find("rate", HTMLElement).textContent = rate;
    find("delay", HTMLElement).textContent = `${delay.toFixed(0)} ms`;
    find("dropped", HTMLElement).textContent = String(header.dropped);
    find("stages", HTMLElement).replaceChildren(
      ...Object.entries(header.timings_ms).map(([stage, milliseconds]) => {
        const pair = make("div");
        pair.appendChild(make("dt")).textContent = stage;
        pair.appendChild(make("dd")).textContent = milliseconds.toFixed(1);
        return pair;
      }),
    );
  }
}
