// A menu of actions: opened by a button, a right click, a long press or the keyboard's menu key.

import { el, icon } from "./dom.js";
import { moveFocus, openPopup } from "./popup.js";

/** items: [{label, icon, run(), danger} or {heading}]. anchor: an element, or {x, y}. */
export function openMenu(label, items, anchor) {
  const list = el("div", { class: "menu-list", role: "menu", "aria-label": label });
  const nodes = [];
  for (const entry of items) {
    if (entry.heading) {
      list.append(el("p", { class: "menu-heading", role: "presentation" }, entry.heading));
      continue;
    }
    const node = el("button", { class: `menu-item ${entry.danger ? "danger" : ""}`, type: "button", role: "menuitem",
      tabindex: "-1", onclick: () => {
        popup.close();
        entry.run();
      } }, icon(entry.icon), el("span", {}, entry.label));
    nodes.push(node);
    list.append(node);
  }
  list.addEventListener("keydown", (event) => {
    if (event.key === "Tab") {
      event.preventDefault();
      popup.close();
    } else moveFocus(event, nodes);
  });
  const opener = anchor instanceof Element ? anchor : null;
  opener?.setAttribute("aria-expanded", "true");
  const popup = openPopup(list, anchor, { onclose: () => opener?.setAttribute("aria-expanded", "false") });
  nodes[0]?.focus();
  return popup;
}
