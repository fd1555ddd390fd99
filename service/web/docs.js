// The page /docs: Swagger UI over the service's own OpenAPI document, and what it lacks for who can't see it.

import { request, tell } from "./problem.js";

/**
 * @typedef {(type: unknown, properties?: unknown, ...children: unknown[]) => unknown} CreateElement
 * @typedef {{getComponent: (name: string, container?: boolean) => unknown}} LayoutProperties
 * @typedef {{React: {createElement: CreateElement}}} SwaggerSystem
 * @typedef {{
 *   spec: unknown, domNode: Element, deepLinking: boolean, tryItOutEnabled: boolean, syntaxHighlight: boolean,
 *   layout: string, plugins: unknown[]
 * }} SwaggerOptions
 * @typedef {{SwaggerUIBundle?: (options: SwaggerOptions) => void}} WithSwagger
 */

/**
 * What Swagger UI shows, within this page's own main part and in its order of headings; a call's path is no link within
 * a button.
 *
 * @param {SwaggerSystem} system
 */
function arrange({ React }) {
  const make = React.createElement;
  return {
    components: {
      /** @param {LayoutProperties} properties */
      PageLayout: ({ getComponent }) =>
        make(
          "div",
          { className: "swagger-ui" },
          make(getComponent("InfoContainer", true)),
          make("h2", { className: "visually-hidden" }, "Calls"),
          make("div", { className: "wrapper" }, make(getComponent("operations", true))),
        ),
      /** @param {{text: string}} properties */
      DeepLink: ({ text }) => make("span", null, text),
    },
  };
}

/**
 * Names for fields and tables, and what scrolls within reach of the keyboard.
 *
 * @param {Element} root
 */
function mend(root) {
  for (const field of root.querySelectorAll("input, select, textarea")) {
    if (field.closest("label") || field.ariaLabel || (field.id && root.querySelector(`label[for="${field.id}"]`))) continue;
    const named = field.closest("tr")?.querySelector(".parameter__name");
    const words = field.matches(".examples-select *") ? "Example" : field.matches(".body-param *") ? "Request body" : "";
    field.setAttribute("aria-label", named?.firstChild?.textContent || words || "Media type");
  }
  for (const table of root.querySelectorAll("table.responses-table")) {
    const call = table.closest(".opblock")?.querySelector(".opblock-summary")?.textContent ?? "";
    table.setAttribute("aria-label", `${table.matches(".live-responses-table") ? "Answer" : "Answers"} of ${call}`);
  }
  for (const picture of root.querySelectorAll("img:not([alt])")) picture.setAttribute("alt", "The answer's picture");
  for (const block of root.querySelectorAll("pre:not([tabindex])")) block.setAttribute("tabindex", "0");
}

try {
  const { SwaggerUIBundle } = /** @type {WithSwagger} */ (/** @type {unknown} */ (window));
  if (!SwaggerUIBundle) throw new Error("Swagger UI is not installed with this service; its log says what to do.");
  const spec = await (await request("openapi.json")).json();
  spec.servers = [{ url: new URL(".", location.href).pathname.replace(/\/$/, "") || "/" }]; // below a proxy's path too
  const domNode = /** @type {Element} */ (document.getElementById("swagger-ui"));
  new MutationObserver(() => mend(domNode)).observe(domNode, { childList: true, subtree: true });
  SwaggerUIBundle({
    spec,
    domNode,
    deepLinking: true,
    tryItOutEnabled: true,
    syntaxHighlight: false,
    layout: "PageLayout",
    plugins: [arrange],
  });
} catch (error) {
  /** @type {HTMLElement} */ (document.getElementById("problem")).textContent = tell(error);
}
