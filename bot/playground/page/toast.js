// Short notices in the corner: errors, and quiet ones that say that something worked.

import { byId, el, icon } from "./dom.js";

export function toast(text, { seconds = 7, quiet = false } = {}) {
  const close = el("button", { class: "icon-button", type: "button", "aria-label": "Close",
    onclick: () => node.remove() }, icon("close"));
  const node = el("div", { class: `toast ${quiet ? "quiet" : ""}` }, el("p", {}, text), close);
  byId("toasts").append(node);
  setTimeout(() => node.remove(), (quiet ? 2.5 : seconds) * 1000);
}
