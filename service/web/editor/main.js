// The page /: takes a target, hands its landmarks to the parts of the page, and asks for the picture as they move.

import { ProblemError, tell } from "../problem.js";
import { find, make, spell } from "./dom.js";
import { Film } from "./film.js";
import { keep, recall } from "./keep.js";
import { Landmarks } from "./landmarks.js";
import { Painter } from "./painter.js";
import { mirror } from "./points.js";
import { Results } from "./results.js";
import { getManifest, getScheme, listTargets, makeOrder, synthesize } from "./service.js";
import { Sliders } from "./sliders.js";
import { Stage } from "./stage.js";
import { Starts } from "./starts.js";

const LOADING = 503; // the service is starting, and will soon be there
const RETRY_MS = 1000;

const targets = find("target", HTMLSelectElement);
const problem = find("picture-message", HTMLElement);
const features = find("features", HTMLElement);
const radius = find("radius", HTMLInputElement);
const convert = find("convert", HTMLInputElement);
const label = find("label", HTMLInputElement);
const overlays = {
  landmarks: find("show-landmarks", HTMLInputElement),
  converted: find("show-converted", HTMLInputElement),
};
const surface = find("surface", HTMLElement);
const undo = find("undo", HTMLButtonElement);
const redo = find("redo", HTMLButtonElement);

const stage = new Stage();
const sliders = new Sliders();
const starts = new Starts();
const results = new Results();
const film = new Film();

/** @type {Landmarks | null} */
let landmarks = null;

const painter = new Painter(find("picture", HTMLCanvasElement), {
  painted: ({ picture, converted }) => {
    problem.textContent = "";
    results.show(picture);
    stage.showConverted(converted);
  },
  failed: (error) => {
    problem.textContent = tell(error);
  },
});

/**
 * Ask for the picture of the landmarks as they are now.
 * @param {number} [since]
 */
function paint(since) {
  if (!landmarks) return;
  const { manifest, scheme } = landmarks;
  const told = landmarks.convert && overlays.converted.checked;
  const order = { ...makeOrder(manifest.target, scheme.name, landmarks), label: label.checked ? "visible" : "none" };
  painter.request(() => synthesize(order, told), since);
}

function showWay() {
  if (!landmarks) return;
  undo.disabled = !landmarks.canUndo;
  redo.disabled = !landmarks.canRedo;
  convert.checked = landmarks.convert;
  overlays.converted.closest("label")?.toggleAttribute("hidden", !landmarks.convert);
  const { manifest, scheme, points, view } = landmarks;
  keep({ target: manifest.target, scheme: scheme.name, convert: landmarks.convert, points, view });
}

function showSelection() {
  if (!landmarks) return;
  const { chosen } = landmarks;
  for (const button of features.querySelectorAll("button")) {
    const points = landmarks.scheme.features[button.dataset.feature ?? ""];
    button.setAttribute("aria-pressed", String(points.length === chosen.size && points.every((each) => chosen.has(each))));
  }
}

/** @param {Landmarks} next */
function attach(next) {
  landmarks = next;
  landmarks.radius = Number(radius.value);
  for (const part of [stage, sliders, starts, results, film]) part.attach(landmarks);
  features.replaceChildren(
    ...Object.entries(landmarks.scheme.features).map(([name, points]) => {
      const button = make("button", { type: "button", "data-feature": name });
      button.textContent = spell(name);
      button.addEventListener("click", () => next.choose(points));
      button.addEventListener("keydown", (event) => stage.press(event));
      return button;
    }),
  );
  landmarks.addEventListener("points", (event) => paint(/** @type {CustomEvent<number>} */ (event).detail));
  landmarks.addEventListener("way", showWay);
  landmarks.addEventListener("selection", showSelection);
  showWay();
  showSelection();
  paint();
}

/** @param {import("./keep.js").Kept | null} [kept] an edit to begin with */
async function openTarget(kept = null) {
  try {
    const manifest = await getManifest(targets.value);
    const next = new Landmarks(await getScheme(manifest.scheme), manifest, landmarks);
    if (kept?.scheme === next.scheme.name && kept.points.length === next.scheme.count) {
      next.restore(kept);
    }
    attach(next);
  } catch (error) {
    problem.textContent = tell(error);
  }
}

async function open() {
  /** @type {import("./service.js").Targets} */
  let answer;
  try {
    answer = await listTargets();
    if (answer.targets.length === 0) throw new Error("No target is served yet. “make train” makes one.");
  } catch (error) {
    problem.textContent = tell(error);
    if (error instanceof ProblemError && error.status === LOADING) setTimeout(open, RETRY_MS);
    return;
  }
  targets.replaceChildren(...answer.targets.map(({ id, display_name }) => new Option(display_name, id)));
  const kept = recall();
  const isServed = answer.targets.some(({ id }) => id === kept?.target);
  if (kept && isServed) targets.value = kept.target;
  else if (answer.default) targets.value = answer.default;
  problem.textContent = "";
  await openTarget(isServed ? kept : null);
}

targets.addEventListener("change", () => openTarget());
radius.addEventListener("input", () => {
  if (landmarks) landmarks.radius = Number(radius.value);
});
convert.addEventListener("change", () => landmarks?.setConvert(convert.checked));
label.addEventListener("change", () => paint());
undo.addEventListener("click", () => landmarks?.undo());
redo.addEventListener("click", () => landmarks?.redo());
find("reset", HTMLButtonElement).addEventListener("click", () => landmarks?.reset());
find("mirror", HTMLButtonElement).addEventListener("click", () => {
  if (!landmarks) return;
  const { points, scheme, view } = landmarks;
  landmarks.edit(mirror(points, scheme.flip), undefined, { ...view, x: 1 - view.x });
});
for (const tool of document.querySelectorAll('input[name="tool"]')) {
  tool.addEventListener("change", () => {
    landmarks?.choose(stage.tool === "face" ? landmarks.points.keys() : []);
  });
}
for (const [name, box] of Object.entries(overlays)) {
  box.addEventListener("change", () => {
    surface.classList.toggle(`without-${name}`, !box.checked);
    if (name === "converted") paint();
  });
}
document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.target instanceof HTMLTextAreaElement) return;
  const key = event.key.toLowerCase();
  if (key === "z" && !event.shiftKey) landmarks?.undo();
  else if (key === "y" || (key === "z" && event.shiftKey)) landmarks?.redo();
  else return;
  event.preventDefault();
});

await open();
