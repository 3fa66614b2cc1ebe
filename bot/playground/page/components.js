// Buttons and menus under a message.

import { api } from "./api.js";
import { el } from "./dom.js";
import { pending } from "./pending.js";
import { Select } from "./select.js";
import { displayName, store } from "./store.js";
import { toast } from "./toast.js";

const STYLES = { 1: "primary", 2: "", 3: "success", 4: "danger" };
const PEOPLE = [5, 7]; // a member; a member or a role (the playground's server has no roles)

export function components(message) {
  return message.components
    .filter((row) => row.type === 1)
    .map((row) => el("div", { class: "component-row" }, row.components.map((part) => component(message, part))));
}

function component(message, part) {
  if (part.type === 2) return part.style === 5 ? outside(part) : button(message, part);
  if ([3, 8, ...PEOPLE].includes(part.type)) return menu(message, part);
  return null;
}

function face(part) {
  const emoji = part.emoji?.name && (part.emoji.id ? `:${part.emoji.name}:` : part.emoji.name);
  return [emoji && el("span", { "aria-hidden": part.label ? "true" : null }, emoji), part.label];
}

function outside(part) {
  return el("a", { class: "button", href: /^https?:/.test(part.url) ? part.url : null, target: "_blank",
    rel: "noopener noreferrer" }, face(part));
}

function button(message, part) {
  const node = el("button", { class: `button ${STYLES[part.style] ?? ""}`, type: "button", disabled: part.disabled },
    face(part));
  node.dataset.key = part.custom_id;
  node.addEventListener("click", () => press(message, part, node));
  return node;
}

function menu(message, part) {
  const options = part.type === 3 ? part.options
    : part.type === 8 ? store.channels.map((channel) => ({ value: channel.id, label: store.title(channel) }))
    : [...store.members, store.bot].map((user) => ({ value: user.id, label: displayName(user) }));
  const select = new Select({ label: part.placeholder || "Choose", placeholder: part.placeholder, options,
    least: part.min_values ?? 1, most: part.max_values ?? 1, disabled: part.disabled,
    onchoose: (values) => press(message, part, select.node, values) });
  select.node.dataset.key = part.custom_id;
  return select.node;
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
