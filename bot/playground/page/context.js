// What stands around a message's own words: what it replies to, which command it answers, what it forwards.

import { avatar } from "./avatar.js";
import { el, icon } from "./dom.js";
import { embeds } from "./embed.js";
import { Gallery } from "./gallery.js";
import { jumpLink } from "./links.js";
import { markdown, plainText } from "./markdown.js";
import { displayName, store } from "./store.js";

const REPLY = 0;
const FORWARD = 1;
const THREAD_STARTED = 18;
const THREAD_STARTER = 21;
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "short" });

export function contextLines(message) {
  const lines = [];
  const used = message.interaction_metadata;
  const target = message.referenced_message;
  const reference = message.message_reference;
  if (used?.name && !target) {
    lines.push(el("p", { class: "used" }, avatar(used.user, "tiny"),
      el("span", {}, el("b", {}, el("bdi", {}, displayName(used.user))), " used ", el("span", { class: "mention" },
        `${used.command_type > 1 ? "" : "/"}${used.name}`))));
  }
  if (reference && (reference.type ?? REPLY) === REPLY && message.type !== THREAD_STARTED) {
    lines.push(target ? original(message, target) : el("p", { class: "used" }, el("em", {}, "The original message was deleted.")));
  }
  return lines;
}

function original(message, target) {
  const pings = message.pings?.includes(target.author.id) && target.author.id !== message.author.id;
  const node = jumpLink(target.channel_id, target.id, [avatar(target.author, "tiny"),
    el("b", {}, el("bdi", {}, `${pings ? "@" : ""}${displayName(target.author)}`)), el("bdi", { class: "excerpt" }, excerpt(target))]);
  node.classList.add("used");
  node.dataset.target = target.id;
  node.title = "Go to the original";
  return node;
}

/** A message in a few words; a hidden picture stays hidden. */
export function excerpt(message) {
  const text = plainText(message.content);
  if (text) return text;
  const snapshot = message.message_snapshots?.[0]?.message;
  if (snapshot) return `Forwarded: ${plainText(snapshot.content) || "a message"}`;
  if (message.attachments.length > 1) return `${message.attachments.length} files`;
  if (message.attachments.length) return message.attachments[0].width ? "a picture" : message.attachments[0].filename;
  return message.embeds[0]?.title ?? message.embeds[0]?.description?.slice(0, 100) ?? "a message";
}

/** The forwarded message inside this one, if it is a forward. */
export function forwarded(message) {
  const snapshot = message.message_snapshots?.[0]?.message;
  const reference = message.message_reference;
  if (!snapshot || reference?.type !== FORWARD) return [];
  const gallery = new Gallery();
  const inner = { ...snapshot, id: reference.message_id, channel_id: reference.channel_id, components: [] };
  gallery.update(snapshot.attachments);
  const from = store.channelOf(reference.channel_id);
  return [el("figure", { class: "forward" },
    el("figcaption", {}, icon("forward"), "Forwarded"),
    el("div", { class: "content" }, markdown(snapshot.content)), gallery.node, ...embeds(inner),
    from && el("p", { class: "subtext" }, jumpLink(reference.channel_id, reference.message_id,
      [el("bdi", {}, store.title(from)), ` · ${moment.format(new Date(snapshot.timestamp))}`])))];
}

/** What Discord itself says in a message of a special type; an empty text for ordinary ones. */
export function systemText(message) {
  if (message.type === THREAD_STARTED) return `started a thread: ${message.content}`;
  if (message.type === THREAD_STARTER && !message.content) return "The thread begins with this message.";
  return "";
}
