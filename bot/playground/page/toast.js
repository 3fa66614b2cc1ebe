// Short notices in the corner. Errors stay until they are read or closed.

import { byId, el, icon } from "./dom.js";

export function toast(text, seconds = 7) {
  const close = el("button", { class: "icon-button", type: "button", "aria-label": "Close",
    onclick: () => node.remove() }, icon("close"));
  const node = el("div", { class: "toast" }, el("p", {}, text), close);
  byId("toasts").append(node);
  setTimeout(() => node.remove(), seconds * 1000);
}
