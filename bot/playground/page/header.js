// The bar above the messages, the line above the box, and what an empty channel says.

import { avatar } from "./avatar.js";
import { byId, el, icon } from "./dom.js";
import { jumpLink } from "./links.js";
import { displayName, isDm, isThread, store } from "./store.js";
import { unread } from "./unread.js";

const EXAMPLES = [
  "/imagine prompt: a red apple",
  "/imagine prompt: a fox, orange background count: 4",
  "/imagine prompt: a rocket guidance: 4 seed: 7",
];

/** actions: {newThread(), archive(thread, archived)} */
export function showHeader(actions) {
  const { channel } = store;
  const parent = isThread(channel) && store.channelOf(channel.parent_id);
  const name = isDm(channel) ? displayName(store.partner(channel)) : channel.name;
  byId("channel-name").replaceChildren(...(isDm(channel) ? [avatar(store.partner(channel), "small"), el("bdi", {}, name)]
    : isThread(channel) ? [icon("thread"), el("bdi", {}, name)] : [el("bdi", {}, el("span", { class: "hash" }, "#"), name)]));
  const topic = isDm(channel) ? "Direct message: only the two of you can read it." : channel.topic ?? "";
  byId("channel-topic").replaceChildren(...(parent ? ["Thread in ", jumpLink(parent.id)] : [topic]));
  byId("channel-tools").replaceChildren(...tools(actions));
  byId("banner").textContent = banner();
  showTitle();
}

export function showTitle() {
  if (!store.channel) return;
  const count = unread.mentions;
  document.title = `${count ? `(${count}) ` : ""}${store.title(store.channel)} · Atelier playground`;
}

function tools({ newThread, archive }) {
  const { channel } = store;
  const tool = (label, name, press) => el("button", { class: "icon-button", type: "button", "aria-label": label, title: label,
    onclick: press }, icon(name));
  if (isDm(channel)) return [];
  if (!isThread(channel)) return store.may("threads") ? [tool("New thread", "thread", newThread)] : [];
  const { archived, locked } = channel.thread_metadata;
  const mine = channel.owner_id === store.me.id || store.may("manage_threads");
  if (!mine || (locked && !store.may("manage_threads"))) return [];
  return [archived ? tool("Open the thread again", "unarchive", () => archive(channel, false))
    : tool("Archive the thread", "archive", () => archive(channel, true))];
}

function banner() {
  const { channel } = store;
  if (isThread(channel) && channel.thread_metadata.locked) return "This thread is locked.";
  if (!store.maySend()) return "You can read here, but not write.";
  if (isThread(channel) && channel.thread_metadata.archived) return "This thread is archived. Writing in it opens it again.";
  return "";
}

/** fill(line) puts an example into the box. */
export function showWelcome(empty, fill) {
  const welcome = byId("welcome");
  welcome.hidden = !empty;
  if (!empty || !store.channel) return;
  const { channel } = store;
  const place = isDm(channel) ? `your messages with ${displayName(store.partner(channel))}` : store.title(channel);
  welcome.replaceChildren(
    el("img", { src: "/page/mark.svg", alt: "", width: 72, height: 72 }),
    el("h2", {}, isThread(channel) || isDm(channel) ? el("bdi", {}, place) : `Welcome to ${place}`),
    el("p", {}, "Describe a picture and Atelier draws it, right here on your computer. Pick one to start, or type ", el("kbd", {}, "/"), " to see every command."),
    el("div", { class: "examples" }, EXAMPLES.map((line) => el("button", { class: "example", type: "button",
      onclick: () => fill(line) }, example(line)))));
}

function example(line) {
  return line.split(/(\/imagine|\w+:)/).filter(Boolean).map((part) =>
    /^(\/imagine|\w+:)$/.test(part) ? el("span", { class: "key" }, part) : part);
}
