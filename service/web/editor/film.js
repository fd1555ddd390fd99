// Faces in a row, played here and made into a film by the service.

import { request, tell } from "../problem.js";
import { find, make } from "./dom.js";
import { showPicture } from "./faces.js";
import { keepFilm, recallFilm } from "./keep.js";
import { makeOrder, synthesizeSmall } from "./service.js";

/**
 * @typedef {import("./landmarks.js").Landmarks} Landmarks
 * @typedef {import("./landmarks.js").State} State
 * @typedef {State & {seconds: number, image: HTMLImageElement}} Keyframe
 * @typedef {{id: string, state: string, progress: number | null, error: string | null, result: string | null}} Job
 */

const STEP = 1; // seconds between a new keyframe and the last
const THUMBNAIL = 96; // pixels a side
const ASK_MS = 400;
const LONGEST = 60;

export class Film {
  /** @type {Landmarks | null} */ #landmarks = null;
  /** @type {Keyframe[]} */ #frames = [];
  #playing = 0;
  #making = false;

  constructor() {
    this.list = find("keyframes", HTMLOListElement);
    this.play = find("play", HTMLButtonElement);
    this.maker = find("make-film", HTMLButtonElement);
    this.format = find("film-format", HTMLSelectElement);
    this.blinks = find("blinks", HTMLInputElement);
    this.loop = find("loop", HTMLInputElement);
    this.state = find("film-state", HTMLElement);
    this.message = find("film-message", HTMLElement);
    find("add-keyframe", HTMLButtonElement).addEventListener("click", () => this.#add());
    this.play.addEventListener("click", () => this.#toggle());
    this.maker.addEventListener("click", () => this.#make());
  }

  /** @param {Landmarks} landmarks */
  attach(landmarks) {
    this.#stop();
    const before = this.#landmarks;
    this.#landmarks = landmarks;
    if (before) {
      for (const frame of this.#frames) {
        Object.assign(frame, landmarks.adapt(frame, before));
        void this.#paint(frame);
      }
      this.#change();
    } else {
      const { manifest, scheme } = landmarks;
      const kept = recallFilm().filter(({ target, scheme: name }) => target === manifest.target && name === scheme.name);
      for (const { seconds, ...state } of kept) this.#push(state, seconds);
      this.#show();
    }
  }

  #add() {
    if (!this.#landmarks) return;
    this.#stop();
    const last = this.#frames.at(-1);
    this.#push(this.#landmarks, last ? last.seconds + STEP : 0);
    this.#change();
  }

  /**
   * @param {State} state
   * @param {number} seconds
   */
  #push({ points, convert, view }, seconds) {
    const frame = { points, convert, view, seconds, image: make("img", { alt: "" }) };
    this.#frames.push(frame);
    void this.#paint(frame);
  }

  /** @param {Keyframe} frame */
  async #paint(frame) {
    if (!this.#landmarks) return;
    const { manifest, scheme } = this.#landmarks;
    try {
      showPicture(frame.image, await synthesizeSmall(makeOrder(manifest.target, scheme.name, frame), THUMBNAIL));
    } catch (error) {
      this.message.textContent = tell(error);
    }
  }

  #show() {
    this.list.replaceChildren(...this.#frames.map((frame, index) => this.#draw(frame, index)));
    this.play.disabled = this.#frames.length < 2;
    this.maker.disabled = this.#making || this.#frames.length < 2;
  }

  /** What is kept for the next visit is what is shown. */
  #change() {
    this.#show();
    if (!this.#landmarks) return;
    const { manifest, scheme } = this.#landmarks;
    keepFilm(
      this.#frames.map(({ points, convert, view, seconds }) => {
        return { target: manifest.target, scheme: scheme.name, points, convert, view, seconds };
      }),
    );
  }

  /**
   * @param {Keyframe} frame
   * @param {number} index
   */
  #draw(frame, index) {
    const item = make("li");
    const number = index + 1;
    const go = make("button", { type: "button", "aria-label": `Edit from face ${number}` });
    go.append(frame.image);
    go.addEventListener("click", () => this.#landmarks?.restore(frame));
    const time = make("input", { type: "number", min: "0", max: String(LONGEST), step: "0.1" });
    time.setAttribute("aria-label", `Seconds of face ${number}`);
    time.value = String(frame.seconds);
    time.addEventListener("change", () => {
      frame.seconds = Math.min(LONGEST, Math.max(0, Number(time.value) || 0));
      this.#frames.sort((one, other) => one.seconds - other.seconds);
      this.#change();
    });
    const remove = make("button", { type: "button", class: "remove", "aria-label": `Remove face ${number}` });
    remove.textContent = "Remove";
    remove.addEventListener("click", () => {
      this.#frames = this.#frames.filter((each) => each !== frame);
      this.#change();
    });
    item.append(go, time, "s", remove);
    return item;
  }

  /** The keyframes, and the first again at the end where the film is to come back to it. */
  get #row() {
    const [first] = this.#frames;
    const last = this.#frames[this.#frames.length - 1];
    return this.loop.checked ? [...this.#frames, { ...first, seconds: last.seconds + STEP }] : this.#frames;
  }

  #toggle() {
    if (this.#playing) this.#stop();
    else this.#start();
  }

  #start() {
    const landmarks = this.#landmarks;
    if (!landmarks) return;
    const row = this.#row;
    const begun = performance.now();
    const length = row[row.length - 1].seconds - row[0].seconds;
    const { points, convert, view } = landmarks;
    this.play.textContent = "Stop";
    /** @param {number} now */
    const step = (now) => {
      const at = Math.max(0, now - begun) / 1000;
      if (at >= length) {
        this.#stop();
        return;
      }
      const next = row.findIndex(({ seconds }) => seconds > row[0].seconds + at);
      landmarks.preview(blend(row[next - 1], row[next], row[0].seconds + at));
      this.#playing = requestAnimationFrame(step);
    };
    this.#playing = requestAnimationFrame(step);
    this.#end = () => landmarks.preview({ points, convert, view });
  }

  #end = () => {};

  #stop() {
    if (!this.#playing) return;
    cancelAnimationFrame(this.#playing);
    this.#playing = 0;
    this.play.textContent = "Play";
    this.#end();
  }

  async #make() {
    if (!this.#landmarks) return;
    this.#making = true;
    this.message.textContent = "";
    this.#show();
    try {
      await this.#run(this.#landmarks);
    } catch (error) {
      this.state.textContent = "";
      this.message.textContent = tell(error);
    }
    this.#making = false;
    this.#show();
  }

  /** @param {Landmarks} landmarks */
  async #run({ manifest, scheme }) {
    const keyframes = this.#row.map((frame) => {
      const { target: _, ...order } = makeOrder(manifest.target, scheme.name, frame);
      return { seconds: frame.seconds, ...order };
    });
    const body = { target: manifest.target, format: this.format.value, blinks: this.blinks.checked, keyframes };
    const headers = { "Content-Type": "application/json" };
    /** @type {Job} */
    let job = await (await request("animate", { method: "POST", headers, body: JSON.stringify(body) })).json();
    while (job.state === "waiting" || job.state === "running") {
      this.state.textContent = `${Math.round((job.progress ?? 0) * 100)} % made`;
      await new Promise((resolve) => setTimeout(resolve, ASK_MS));
      job = await (await request(`jobs/${job.id}`)).json();
    }
    if (job.state !== "done") throw new Error(job.error ?? "The film was cancelled.");
    const link = make("a", { href: `jobs/${job.id}/result`, download: "" });
    link.textContent = "Download the film";
    this.state.replaceChildren("Ready. ", link);
  }
}

/**
 * The face between two keyframes, as the service's film has it.
 * @param {Keyframe} from
 * @param {Keyframe} to
 * @param {number} seconds
 * @returns {State}
 */
function blend(from, to, seconds) {
  const share = Math.min(1, Math.max(0, (seconds - from.seconds) / (to.seconds - from.seconds || 1)));
  const eased = share * share * (3 - 2 * share);
  /** @type {(one: number, other: number) => number} */
  const mix = (one, other) => one + (other - one) * eased;
  return {
    points: from.points.map(([x, y], index) => [mix(x, to.points[index][0]), mix(y, to.points[index][1])]),
    convert: share < 0.5 ? from.convert : to.convert,
    view: {
      x: mix(from.view.x, to.view.x),
      y: mix(from.view.y, to.view.y),
      side: mix(from.view.side, to.view.side),
    },
  };
}
