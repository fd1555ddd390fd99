// Light or dark: what the system prefers, until the button in the header says otherwise. Loaded in the head and not as
// a module, so that the first paint has the right colours already.
"use strict";

(() => {
  const KEY = "landmarkgan.theme";

  /** @returns {string | null} */
  const read = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage is switched off: the system's preference holds
    }
  };

  const root = document.documentElement;
  const kept = read();
  if (kept === "light" || kept === "dark") root.dataset.theme = kept;

  const isDark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;

  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest(".theme-toggle") : null;
    if (!button) return;
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem(KEY, root.dataset.theme);
    } catch {
      // the choice holds for this page alone
    }
  });
})();
