// The page's elements, typed.

const SVG = "http://www.w3.org/2000/svg";

/**
 * The element of this id.
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function find(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`The page has no ${type.name} of the id '${id}'.`);
  return element;
}

/**
 * A new element with its attributes.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string>} [attributes]
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, attributes = {}) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/**
 * A new SVG element with its attributes.
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string>} [attributes]
 * @returns {SVGElementTagNameMap[K]}
 */
export function makeSvg(tag, attributes = {}) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/**
 * Words out of a name: `left_eye_open` -> `Left eye open`.
 * @param {string} name
 * @returns {string}
 */
export function spell(name) {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/**
 * The path of outlines through points, for an SVG `d`.
 * @param {readonly import("./points.js").Point[]} points
 * @param {import("./service.js").Stroke[]} strokes
 * @returns {string}
 */
export function tracePath(points, strokes) {
  return strokes
    .map(({ points: indices, closed }) => {
      const line = indices.map((index) => `${points[index][0]} ${points[index][1]}`).join("L");
      return `M${line}${closed ? "Z" : ""}`;
    })
    .join("");
}
