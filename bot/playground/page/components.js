// Buttons and menus under a message.

import { api } from "./api.js";
import { el } from "./dom.js";
import { pending } from "./pending.js";
import { store } from "./store.js";
import { toast } from "./toast.js";

const STYLES = { 1: "primary", 2: "", 3: "success", 4: "danger", 5: "link" };

export function components(message) {
  return message.components
    .filter((row) => row.type === 1)
    .map((row) => el("div", { class: "component-row" }, row.components.map((part) => component(message, part))));
}

function component(message, part) {
  if (part.type === 2) return button(message, part);
  if (part.type === 3) return menu(message, part);
  return null;
}

function button(message, part) {
  const label = [part.emoji?.name && !part.emoji.id && el("span", { "aria-hidden": part.label ? "true" : null },
    part.emoji.name), part.label];
  if (part.style === 5) {
    return el("a", { class: "button", href: /^https?:/.test(part.url) ? part.url : null, target: "_blank", rel: "noopener noreferrer" }, label);
  }
  const node = el("button", { class: `button ${STYLES[part.style] ?? ""}`, type: "button", disabled: part.disabled }, label);
  node.addEventListener("click", () => press(message, part, node));
  return node;
}

function menu(message, part) {
  const empty = el("option", { value: "", disabled: true, selected: true }, part.placeholder || "Choose");
  const options = part.options.map((option) => el("option", { value: option.value, selected: option.default },
    option.label));
  const node = el("select", { class: "menu", "aria-label": part.placeholder || "Choose", disabled: part.disabled },
    empty, options);
  node.addEventListener("change", () => press(message, part, node, [node.value]));
  return node;
}

async function press(message, part, node, values) {
  if (node.getAttribute("aria-busy") === "true") return;
  node.setAttribute("aria-busy", "true");
  const payload = { type: "component", user: store.me.id, channel: message.channel_id, message: message.id,
    custom_id: part.custom_id };
  try {
    const sent = await api.interact(values ? { ...payload, values } : payload);
    const done = await pending.settled(sent);
    if (done.state === "failed") toast("The application did not respond.");
  } catch (error) {
    toast(error.message);
  } finally {
    node.removeAttribute("aria-busy");
  }
}
