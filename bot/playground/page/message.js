// One message: built once, then changed in place by edits.

import { avatar } from "./avatar.js";
import { components } from "./components.js";
import { el, icon } from "./dom.js";
import { embed } from "./embed.js";
import { Gallery, isPicture } from "./gallery.js";
import { markdown, plainText } from "./markdown.js";
import { displayName, store } from "./store.js";

export const EPHEMERAL = 64;
const LOADING = 128;
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });

export class MessageView {
  #gallery = new Gallery();
  #content = el("div", { class: "content" });
  #rest = el("div", { class: "rest" });
  #context = el("div", { class: "context" });
  #componentsText = "";

  /** actions: {reply(message), run(command, message), jump(id), dismiss(view)} */
  constructor(message, actions) {
    this.actions = actions;
    this.message = message;
    const author = message.author;
    const when = new Date(message.timestamp);
    this.node = el("li", { class: "message", id: `m-${message.id}`, "data-author": author.id });
    const head = el("header", { class: "by" },
      el("b", {}, displayName(author)),
      author.bot && el("span", { class: "badge" }, "App"),
      el("time", { datetime: message.timestamp, title: calendar.format(when) }, clock.format(when)));
    this.node.append(
      this.#context,
      el("div", { class: "gutter" }, avatar(author), el("time", { class: "small-time", "aria-hidden": "true" },
        clock.format(when))),
      el("div", { class: "body" }, head, this.#content, this.#gallery.node, this.#rest),
      this.#toolbar());
    this.update(message);
  }

  /** The message as it is now. Parts that did not change are left alone. */
  update(message) {
    const before = this.updated ? this.message : null;
    this.updated = true;
    this.message = message;
    this.node.classList.toggle("ephemeral", Boolean(message.flags & EPHEMERAL));
    // Screen readers are not told of every progress step and preview; the log tells them the end of it.
    if (before) for (const part of [this.#content, this.#gallery.node, this.#rest]) part.setAttribute("aria-live", "off");
    if (!before) this.#context.replaceChildren(...contextLines(message, this.actions.jump));
    if (!before || before.content !== message.content || (before.flags ^ message.flags) & LOADING) this.#fillContent();
    this.#gallery.update(message.attachments);
    const rest = JSON.stringify([message.embeds, message.components, message.flags & EPHEMERAL]);
    if (rest !== this.#componentsText) {
      this.#componentsText = rest;
      this.#rest.replaceChildren(...message.embeds.map(embed), ...components(message), ...this.#footer());
    }
  }

  /** What it came to, in a few words: "Atelier: a red apple, 1 picture". */
  summary() {
    const { author, content, attachments } = this.message;
    const text = plainText(content.split("\n")[0]).split(" · ")[0].trim();
    const pictures = attachments.filter(isPicture).length;
    return [text ? `${displayName(author)}: ${text}` : displayName(author),
      pictures && `${pictures} picture${pictures > 1 ? "s" : ""}`].filter(Boolean).join(", ");
  }

  group(joined) {
    this.node.classList.toggle("joined", joined);
  }

  #fillContent() {
    const { flags, content, author } = this.message;
    if (flags & LOADING) {
      this.#content.replaceChildren(el("p", { class: "thinking" }, `${displayName(author)} is thinking`, dots()));
    } else {
      this.#content.replaceChildren(markdown(content));
    }
  }

  #footer() {
    if (!(this.message.flags & EPHEMERAL)) return [];
    const dismiss = el("button", { class: "text-button", type: "button",
      onclick: () => this.actions.dismiss(this) }, "Dismiss message");
    return [el("p", { class: "private" }, icon("eye"), "Only you can see this", dismiss)];
  }

  #toolbar() {
    if (this.message.flags & EPHEMERAL) return "";
    const reply = el("button", { class: "icon-button", type: "button", "aria-label": "Reply", title: "Reply",
      onclick: () => this.actions.reply(this.message) }, icon("reply"));
    const commands = store.messageCommands.map((command) =>
      el("button", { class: "tool", type: "button", title: `${command.name} (message command)`,
        onclick: () => this.actions.run(command, this.message) }, icon("wand"), command.name));
    return el("div", { class: "toolbar", role: "toolbar", "aria-label": "Message actions" }, commands, reply);
  }
}

function contextLines(message, jump) {
  const lines = [];
  const used = message.interaction_metadata;
  if (used?.name && !message.referenced_message) {
    lines.push(el("p", { class: "used" }, avatar(used.user, "tiny"),
      el("span", {}, el("b", {}, displayName(used.user)), " used ", el("span", { class: "mention" },
        `${used.command_type > 1 ? "" : "/"}${used.name}`))));
  }
  const target = message.referenced_message;
  if (target) {
    const text = plainText(target.content) || (target.attachments.length ? "a picture" : "a message");
    lines.push(el("button", { class: "used", type: "button", title: "Go to the message", onclick: () => jump(target.id) },
      avatar(target.author, "tiny"), el("b", {}, displayName(target.author)), el("span", { class: "excerpt" }, text)));
  } else if (message.message_reference) {
    lines.push(el("p", { class: "used" }, el("em", {}, "The original message was deleted.")));
  }
  return lines;
}

export const dots = () => el("span", { class: "dots", "aria-hidden": "true" }, el("i"), el("i"), el("i"));
