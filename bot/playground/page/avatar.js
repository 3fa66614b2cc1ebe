// Round pictures of people: the app's mark, or an initial on a colour of their own.

import { el } from "./dom.js";
import { displayName } from "./store.js";

const HUES = [28, 338, 262, 205, 96, 50];

export function avatar(user, size = "") {
  if (user.bot) return el("img", { class: `avatar ${size}`, src: "/page/mark.svg", alt: "" });
  const letter = /[\p{L}\p{N}]/u.exec(displayName(user))?.[0] ?? "?"; // names may begin with marks that show nothing
  const node = el("span", { class: `avatar ${size}`, "aria-hidden": "true" }, letter.toUpperCase());
  const number = [...user.id].reduce((sum, digit) => sum * 7 + Number(digit), 0);
  node.style.setProperty("--hue", HUES[number % HUES.length]);
  return node;
}
