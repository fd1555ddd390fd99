// The page /docs: Swagger UI over the service's own OpenAPI document.

import { request, tell } from "./problem.js";

/**
 * @typedef {{spec: unknown, domNode: Element, deepLinking: boolean, tryItOutEnabled: boolean}} SwaggerOptions
 * @typedef {{SwaggerUIBundle?: (options: SwaggerOptions) => void}} WithSwagger
 */

try {
  const { SwaggerUIBundle } = /** @type {WithSwagger} */ (/** @type {unknown} */ (window));
  if (!SwaggerUIBundle) throw new Error("Swagger UI is not installed with this service; its log says what to do.");
  const spec = await (await request("openapi.json")).json();
  spec.servers = [{ url: new URL(".", location.href).pathname.replace(/\/$/, "") || "/" }]; // below a proxy's path too
  const domNode = /** @type {Element} */ (document.getElementById("swagger-ui"));
  SwaggerUIBundle({ spec, domNode, deepLinking: true, tryItOutEnabled: true });
} catch (error) {
  /** @type {HTMLElement} */ (document.getElementById("problem")).textContent = tell(error);
}
