// Age-restricted channels open only after a question, once for each member and channel.

import { el, icon } from "./dom.js";
import { isThread, store } from "./store.js";

const key = (channel) => `playground.adult.${store.me.id}.${isThread(channel) ? channel.parent_id : channel.id}`;

/** Whether this channel waits behind the question for the member at the keyboard. */
export const gated = (channel) => store.restricted(channel) && !sessionStorage.getItem(key(channel));

/** enter() opens the channel, leave() goes back. */
export function showGate(node, channel, { enter, leave }) {
  const yes = el("button", { class: "button primary", type: "button", onclick: () => {
    sessionStorage.setItem(key(channel), "yes");
    enter();
  } }, "Continue");
  const no = el("button", { class: "button", type: "button", onclick: leave }, "Go back");
  node.replaceChildren(el("div", { class: "gate-sign", "aria-hidden": "true" }, icon("shield")),
    el("h2", { id: "gate-title", tabindex: "-1" }, "Age-restricted channel"),
    el("p", {}, el("bdi", {}, store.title(channel)), " may hold content for adults. Are you over 18 and willing to see it?"),
    el("p", { class: "gate-buttons" }, no, yes));
}
