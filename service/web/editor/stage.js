// The surface on which landmarks are dragged: outlines, points, what is chosen, and the handles that turn and resize it.

import { find, makeSvg, spell, tracePath } from "./dom.js";
import { drag, findCentre, lasso, resize, turn } from "./gestures.js";
import { enlarge, findBounds, limitView, moveWeighted, turnAbout, WHOLE } from "./points.js";

/**
 * @typedef {import("./points.js").Point} Point
 * @typedef {import("./points.js").Points} Points
 * @typedef {import("./landmarks.js").Landmarks} Landmarks
 */

const REACH = 26; // screen pixels from a point in which it can be taken hold of
const POINT = 3.6; // radius in screen pixels, of a surface that is large enough
const CROWDED = 1 / 130; // of the surface's width: a radius at which the eyes' points don't touch
const MARGIN = 20; // of the handles' box, in screen pixels
const NUDGE = 1 / 256; // a pixel of the picture
const STRIDE = 5; // nudges, with Shift
/** @type {Record<string, number>} */
const GROWTH = { "+": 1.02, "=": 1.02, "-": 1 / 1.02 };
/** @type {Record<string, number>} */
const TURNS = { ">": Math.PI / 90, ".": Math.PI / 90, "<": -Math.PI / 90, ",": -Math.PI / 90 };

/** @type {Record<string, Point>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Stage {
  /** @type {Landmarks | null} */ #landmarks = null;
  /** @type {SVGCircleElement[]} */ #circles = [];
  /** @type {import("./gestures.js").Gesture | null} */ #gesture = null;
  #active = 0;
  #drawing = 0;

  constructor() {
    this.svg = find("landmarks", SVGSVGElement);
    this.outline = find("outline", SVGPathElement);
    this.shade = find("outline-shade", SVGPathElement);
    this.converted = find("converted", SVGPathElement);
    this.dots = find("points", SVGGElement);
    this.box = find("box", SVGRectElement);
    this.stem = find("stem", SVGLineElement);
    this.turner = find("turn", SVGCircleElement);
    this.sizer = find("resize", SVGCircleElement);
    this.line = find("lasso", SVGPathElement);
    this.svg.addEventListener("pointerdown", (event) => this.#begin(event));
    // Moves as they come, where the browser tells them before its next frame.
    const move = /** @type {"pointermove"} */ ("onpointerrawupdate" in window ? "pointerrawupdate" : "pointermove");
    this.svg.addEventListener(move, (event) => this.#follow(event));
    for (const end of ["pointerup", "pointercancel"]) this.svg.addEventListener(end, () => this.#end());
    this.svg.addEventListener("keydown", (event) => this.press(event));
    // A finger that takes hold of something does not scroll the page; any other does.
    this.svg.addEventListener(
      "touchstart",
      (event) => {
        const [finger] = event.touches;
        if (event.touches.length === 1 && this.#takes(event.target, this.#locate(finger))) event.preventDefault();
      },
      { passive: false },
    );
    new ResizeObserver(() => this.#draw()).observe(this.svg);
  }

  /** The way of choosing: point, feature, face or lasso. */
  get tool() {
    return document.querySelector('input[name="tool"]:checked')?.getAttribute("value") ?? "point";
  }

  /** @param {Landmarks} landmarks */
  attach(landmarks) {
    this.#landmarks = landmarks;
    this.#active = landmarks.scheme.nose_tip;
    const names = Object.entries(landmarks.scheme.features);
    this.#circles = landmarks.points.map((_, index) => {
      const feature = names.find(([, points]) => points.includes(index))?.[0] ?? "face";
      const isPupil = landmarks.scheme.pupils?.includes(index) ?? false;
      const circle = makeSvg("circle", {
        role: "button",
        "aria-label": `${spell(feature)}, ${isPupil ? "pupil" : `point ${index}`}`,
        "data-point": String(index),
        class: isPupil ? "pupil" : "",
      });
      circle.addEventListener("focus", () => this.#focus(index));
      return circle;
    });
    this.dots.replaceChildren(...this.#circles);
    landmarks.addEventListener("points", () => this.#plan());
    landmarks.addEventListener("selection", () => this.#plan());
    this.showConverted(null);
    this.#draw();
  }

  /** @param {Points | null} points the target's, after conversion */
  showConverted(points) {
    this.converted.setAttribute("d", points && this.#landmarks ? tracePath(points, this.#landmarks.scheme.strokes) : "");
  }

  /**
   * A key on the landmarks or on a feature's button: arrows move what is chosen, + and - resize it, < and > turn it,
   * Page Up and Page Down go from point to point.
   * @param {KeyboardEvent} event
   */
  press(event) {
    const landmarks = this.#landmarks;
    if (!landmarks || event.ctrlKey || event.metaKey || event.altKey) return;
    const { points, weights, chosen, view } = landmarks;
    const arrow = ARROWS[event.key];
    const centre = findCentre(points, chosen.size ? chosen : [this.#active]);
    const grown = GROWTH[event.key];
    const turned = TURNS[event.key];
    /** @type {((point: Point) => Point) | null} */
    let move = null;
    let seen = view;
    if (arrow) {
      const [dx, dy] = arrow.map((way) => way * NUDGE * (event.shiftKey ? STRIDE : 1));
      seen = limitView({ ...view, x: view.x - dx, y: view.y - dy });
      move = ([x, y]) => [x + dx, y + dy];
    } else if (grown) {
      seen = enlarge(view, centre, grown);
      move = turnAbout(centre, 0, grown);
    } else if (turned) move = turnAbout(centre, turned, 1);
    else if (event.key === "PageDown" || event.key === "PageUp") this.#step(event.key === "PageDown" ? 1 : -1);
    else return;
    event.preventDefault();
    if (landmarks.isWhole && !turned) landmarks.edit(points, event.timeStamp, seen);
    else if (move) landmarks.edit(landmarks.hold(moveWeighted(points, weights, move)), event.timeStamp);
  }

  /** @param {number} by */
  #step(by) {
    const count = this.#circles.length;
    this.#circles[(this.#active + by + count) % count].focus();
  }

  /** @param {number} index */
  #focus(index) {
    this.#active = index;
    const landmarks = this.#landmarks;
    if (landmarks && !landmarks.chosen.has(index)) landmarks.choose(this.#take(index));
    this.#plan();
  }

  /**
   * What the tool chooses with a point.
   * @param {number} index
   */
  #take(index) {
    const landmarks = this.#landmarks;
    if (!landmarks || this.tool === "point" || this.tool === "lasso") return [index];
    return this.tool === "feature" ? landmarks.findFeature(index) : landmarks.points.keys();
  }

  /** @param {PointerEvent} event */
  #begin(event) {
    const landmarks = this.#landmarks;
    if (!landmarks || event.button !== 0 || this.#gesture) return;
    event.preventDefault();
    const at = this.#locate(event);
    if (event.target === this.turner) this.#gesture = turn(landmarks, at);
    else if (event.target === this.sizer) this.#gesture = resize(landmarks, at);
    else {
      const point = this.#findNearest(at);
      const held = point !== null && landmarks.chosen.has(point) && this.tool !== "point";
      if (this.tool === "lasso" && !held) this.#gesture = lasso(landmarks, at, (line) => this.#drawLasso(line));
      else if (point === null && this.tool !== "face") landmarks.choose([]);
      else {
        if (!held) landmarks.choose(this.#take(point ?? 0));
        this.#active = point ?? this.#active;
        this.#circles[this.#active].focus({ preventScroll: true });
        this.#gesture = drag(landmarks, at);
      }
    }
    if (this.#gesture) this.svg.setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  #follow(event) {
    const landmarks = this.#landmarks;
    if (!landmarks || !this.#gesture) return;
    const { points, view } = this.#gesture.move(this.#locate(event));
    if (points || view) landmarks.show(points ?? landmarks.points, event.timeStamp, view);
  }

  #end() {
    if (!this.#gesture) return;
    this.#gesture = null;
    this.#drawLasso([]);
    this.#landmarks?.record();
  }

  /** @param {Points} line */
  #drawLasso(line) {
    this.line.setAttribute("d", line.length ? `M${line.map(([x, y]) => `${x} ${y}`).join("L")}Z` : "");
  }

  /**
   * Whether a pointer that goes down here takes hold of something.
   * @param {EventTarget | null} target
   * @param {Point} at
   */
  #takes(target, at) {
    const whole = this.tool === "lasso" || this.tool === "face";
    return whole || target === this.turner || target === this.sizer || this.#findNearest(at) !== null;
  }

  /**
   * Where a pointer is, in crop units.
   * @param {{clientX: number, clientY: number}} event
   * @returns {Point}
   */
  #locate(event) {
    const box = this.svg.getBoundingClientRect();
    const { x, y, side } = this.#landmarks?.view ?? WHOLE;
    return [
      x + ((event.clientX - box.left) / box.width - 0.5) * side,
      y + ((event.clientY - box.top) / box.height - 0.5) * side,
    ];
  }

  /**
   * The point that a pointer at a place takes hold of, or null.
   * @param {Point} at
   */
  #findNearest(at) {
    let nearest = null;
    let distance = REACH * this.#pixel;
    for (const [index, [x, y]] of (this.#landmarks?.points ?? []).entries()) {
      const away = Math.hypot(x - at[0], y - at[1]);
      if (away < distance) [nearest, distance] = [index, away];
    }
    return nearest;
  }

  /** A screen pixel in crop units. */
  get #pixel() {
    return (this.#landmarks?.view.side ?? 1) / (this.svg.clientWidth || 1);
  }

  /** Draw with the next frame, once. */
  #plan() {
    this.#drawing ||= requestAnimationFrame(() => {
      this.#drawing = 0;
      this.#draw();
    });
  }

  #draw() {
    const landmarks = this.#landmarks;
    const pixel = this.#pixel;
    if (!landmarks) return;
    const { points, chosen, scheme, view } = landmarks;
    this.svg.setAttribute("viewBox", `${view.x - view.side / 2} ${view.y - view.side / 2} ${view.side} ${view.side}`);
    const path = tracePath(points, scheme.strokes);
    this.outline.setAttribute("d", path);
    this.shade.setAttribute("d", path);
    const radius = Math.min(POINT * pixel, CROWDED);
    this.#circles.forEach((circle, index) => {
      const isChosen = chosen.has(index);
      circle.setAttribute("cx", String(points[index][0]));
      circle.setAttribute("cy", String(points[index][1]));
      circle.setAttribute("r", String(radius * (isChosen ? 1.3 : 1) * (circle.classList.contains("pupil") ? 1.4 : 1)));
      circle.setAttribute("tabindex", index === this.#active ? "0" : "-1");
      circle.setAttribute("aria-pressed", String(isChosen));
    });
    this.#drawHandles(points, chosen, pixel);
  }

  /**
   * @param {Points} points
   * @param {ReadonlySet<number>} chosen
   * @param {number} pixel
   */
  #drawHandles(points, chosen, pixel) {
    const parts = [this.box, this.stem, this.turner, this.sizer];
    for (const part of parts) part.toggleAttribute("hidden", chosen.size < 2);
    if (chosen.size < 2) return;
    const [left, top, right, bottom] = findBounds(points, chosen);
    const margin = MARGIN * pixel;
    const middle = (left + right) / 2;
    set(this.box, { x: left - margin, y: top - margin, width: right - left + 2 * margin, height: bottom - top + 2 * margin });
    set(this.stem, { x1: middle, x2: middle, y1: top - margin, y2: top - 2 * margin });
    set(this.turner, { cx: middle, cy: top - 2 * margin, r: 7 * pixel });
    set(this.sizer, { cx: right + margin, cy: bottom + margin, r: 7 * pixel });
  }
}

/**
 * @param {SVGElement} element
 * @param {Record<string, number>} values
 */
function set(element, values) {
  for (const [name, value] of Object.entries(values)) element.setAttribute(name, String(value));
}
