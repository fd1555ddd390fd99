// A clip that was chosen: seen, and trimmed before it is sent.

import { make } from "../editor/dom.js";

const STEP = 0.1; // seconds
const SHORTEST = 0.2; // seconds that are left at least

export class Clip {
  /**
   * @param {File} file
   * @param {(clip: Clip) => void} onRemove
   */
  constructor(file, onRemove) {
    this.file = file;
    this.length = 0; // seconds; 0: not known here
    this.element = make("li", { class: "card clip" });
    this.video = make("video", { controls: "", muted: "", playsinline: "", preload: "auto", "aria-label": file.name });
    this.video.muted = true;
    const remove = make("button", { type: "button", class: "remove", "aria-label": `Remove ${file.name}` });
    remove.textContent = "Remove";
    remove.addEventListener("click", () => {
      URL.revokeObjectURL(this.video.src);
      onRemove(this);
    });
    const head = make("div", { class: "row" });
    head.appendChild(make("span", { class: "name" })).textContent = file.name;
    head.append(remove);
    this.from = this.#makeRange("From");
    this.to = this.#makeRange("To");
    this.words = make("p", { class: "quiet words" });
    this.words.textContent = "Reading …";
    this.element.append(head, this.video, this.from.row, this.to.row, this.words);
    this.video.addEventListener("loadedmetadata", () => this.#open());
    this.video.addEventListener("error", () => {
      this.video.hidden = true;
      this.words.textContent = "This browser can’t show it. It is sent whole; the service reads more formats.";
    });
    this.video.src = URL.createObjectURL(file);
  }

  /** The seconds to send it with: none where all of it is wanted. */
  get stretch() {
    const [from, to] = [Number(this.from.input.value), Number(this.to.input.value)];
    return {
      start: this.length && from >= STEP ? from : null,
      end: this.length && to <= this.length - STEP ? to : null,
    };
  }

  /** @param {string} label */
  #makeRange(label) {
    const row = make("label", { class: "trim", hidden: "" });
    row.appendChild(make("span")).textContent = label;
    const input = row.appendChild(make("input", { type: "range", min: "0", step: String(STEP) }));
    const output = row.appendChild(make("output"));
    input.addEventListener("input", () => this.#trim(input));
    return { row, input, output };
  }

  #open() {
    const { duration } = this.video;
    if (!Number.isFinite(duration) || duration <= 2 * SHORTEST) {
      this.words.textContent = "";
      return;
    }
    this.length = duration;
    const most = String(Math.ceil(duration / STEP) * STEP);
    this.from.input.max = this.to.input.max = most;
    this.from.input.value = "0";
    this.to.input.value = most;
    this.from.row.hidden = this.to.row.hidden = false;
    this.#show();
  }

  /**
   * One end was moved: it stays before the other, and the picture shows where it is.
   * @param {HTMLInputElement} moved
   */
  #trim(moved) {
    const { from, to } = this;
    if (moved === from.input) from.input.value = String(Math.min(Number(moved.value), Number(to.input.value) - SHORTEST));
    else to.input.value = String(Math.max(Number(moved.value), Number(from.input.value) + SHORTEST));
    this.video.currentTime = Math.min(Number(moved.value), this.length);
    this.#show();
  }

  #show() {
    for (const { input, output } of [this.from, this.to]) {
      const words = `${Math.min(Number(input.value), this.length).toFixed(1)} s`;
      output.value = words;
      input.setAttribute("aria-valuetext", words);
    }
    const left = Math.min(Number(this.to.input.value), this.length) - Number(this.from.input.value);
    this.words.textContent = `${left.toFixed(1)} of ${this.length.toFixed(1)} seconds are used.`;
  }
}
