// ||Hidden text||: a press shows it. Until then screen readers and the Tab key can't reach it either.

import { el } from "./dom.js";

export function spoiler(content) {
  const inner = el("span", { inert: true }, content);
  const node = el("span", { class: "spoiler", role: "button", tabindex: "0", title: "Show the spoiler",
    "aria-label": "Spoiler, press to show" }, inner);
  const reveal = (event) => {
    if (event.type === "keydown" && event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    node.removeEventListener("click", reveal);
    node.removeEventListener("keydown", reveal);
    node.classList.add("shown");
    for (const name of ["role", "aria-label", "title"]) node.removeAttribute(name);
    node.tabIndex = -1;
    inner.inert = false;
  };
  node.addEventListener("click", reveal);
  node.addEventListener("keydown", reveal);
  return node;
}
