// What opens over the page beside a button or at a point: menus and lists. In the top layer, so dialogs can
// have them too; Escape and a press elsewhere close it, and the browser gives the focus back to where it was.

import { el } from "./dom.js";

const GAP = 6;
const EDGE = 8;

/** content: a node. anchor: an element, or {x, y}. Returns the popup; `close()` closes it. */
export function openPopup(content, anchor, { onclose = () => {}, wide = false } = {}) {
  const popup = el("div", { class: "popup", popover: "auto" }, content);
  ((anchor instanceof Element && anchor.closest("dialog")) || document.body).append(popup);
  if (wide && anchor instanceof Element) popup.style.minWidth = `${anchor.getBoundingClientRect().width}px`;
  popup.showPopover();
  const put = () => place(popup, anchor instanceof Element ? anchor.getBoundingClientRect() : point(anchor));
  put();
  // News scroll the list at any time: the popup goes along with its button.
  const scrolled = (event) => anchor.isConnected && !popup.contains(event.target) && put();
  addEventListener("scroll", scrolled, { capture: true, passive: true });
  // Told at once: the next key may come before the browser's own news of it.
  popup.addEventListener("beforetoggle", (event) => event.newState === "closed" && onclose());
  popup.addEventListener("toggle", (event) => {
    if (event.newState !== "closed") return;
    removeEventListener("scroll", scrolled, { capture: true });
    popup.remove();
  });
  popup.close = () => popup.matches(":popover-open") && popup.hidePopover();
  return popup;
}

const point = ({ x, y }) => ({ left: x, right: x, top: y, bottom: y });

function place(popup, { left, right, top, bottom }) {
  const { offsetWidth: width, offsetHeight: height } = popup;
  const below = innerHeight - bottom - GAP - EDGE;
  const above = top - GAP - EDGE;
  const under = height <= below || below >= above;
  popup.style.maxHeight = `${Math.max(120, under ? below : above)}px`;
  popup.style.top = `${under ? bottom + GAP : Math.max(EDGE, top - GAP - Math.min(height, above))}px`;
  const start = left + width <= innerWidth - EDGE ? left : right - width;
  popup.style.left = `${Math.max(EDGE, Math.min(start, innerWidth - width - EDGE))}px`;
}

/** Arrow keys, Home, End and the first letters move among `nodes`. True: the key was one of those. */
export function moveFocus(event, nodes, { vertical = true } = {}) {
  const at = nodes.indexOf(document.activeElement);
  const [back, forth] = vertical ? ["ArrowUp", "ArrowDown"] : ["ArrowLeft", "ArrowRight"];
  let next = null;
  if (event.key === forth) next = nodes[(at + 1) % nodes.length];
  else if (event.key === back) next = nodes[(at - 1 + nodes.length) % nodes.length];
  else if (event.key === "Home") next = nodes[0];
  else if (event.key === "End") next = nodes.at(-1);
  else if (vertical && event.key.length === 1 && /\S/.test(event.key) && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const later = [...nodes.slice(at + 1), ...nodes.slice(0, at + 1)];
    next = later.find((node) => node.textContent.trim().toLowerCase().startsWith(event.key.toLowerCase()));
  }
  if (!next) return false;
  event.preventDefault();
  event.stopPropagation();
  next.focus();
  return true;
}
