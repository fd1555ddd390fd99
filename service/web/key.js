// The key of a service that wants one: asked for once, then kept in a cookie, which pictures and streams carry too.

const COOKIE = "landmarkgan_key";
const KEEP_SECONDS = 30 * 24 * 3600;

/** @type {Promise<boolean> | null} */
let asking = null;

/**
 * Ask for the key; requests that want it at the same time wait for one answer. False where none is given.
 * @returns {Promise<boolean>}
 */
export function askKey() {
  asking ??= showDialog().finally(() => {
    asking = null;
  });
  return asking;
}

/** @returns {Promise<boolean>} */
function showDialog() {
  const dialog = document.createElement("dialog");
  const form = document.createElement("form");
  form.method = "dialog";
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), { type: "password", required: true, autocomplete: "off" });
  label.append("This service wants a key ", input);
  form.append(label, Object.assign(document.createElement("button"), { textContent: "Open" }));
  dialog.append(form);
  dialog.setAttribute("aria-label", "Key");
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const key = input.value.trim();
      dialog.remove();
      if (key) keepKey(key);
      resolve(key !== "");
    });
  });
}

/** @param {string} key */
function keepKey(key) {
  const path = new URL(".", location.href).pathname;
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${COOKIE}=${encodeURIComponent(key)}; Path=${path}; Max-Age=${KEEP_SECONDS}; SameSite=Strict${secure}`;
}
