// One message: built once, then changed in place by edits.

import { avatar } from "./avatar.js";
import { components } from "./components.js";
import { contextLines, forwarded, systemText } from "./context.js";
import { el, icon } from "./dom.js";
import { embeds, shownInEmbeds } from "./embed.js";
import { Gallery, isPicture } from "./gallery.js";
import { jumpLink } from "./links.js";
import { markdown, plainText } from "./markdown.js";
import { displayName, store } from "./store.js";

export const EPHEMERAL = 64;
const LOADING = 128;
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });

export class MessageView {
  #gallery = new Gallery(() => this.#reach());
  #content = el("div", { class: "content" });
  #rest = el("div", { class: "rest" });
  #context = el("div", { class: "context" });
  #thread = el("div", { class: "thread-link" });
  #restText = "";
  #current = false;

  /** actions: {dismiss(view)} */
  constructor(message, actions) {
    this.actions = actions;
    this.message = message;
    const author = message.author;
    const when = new Date(message.timestamp);
    this.node = el("li", { class: "message", id: `m-${message.id}`, "data-author": author.id, tabindex: "-1" });
    const head = el("header", { class: "by" },
      el("b", {}, el("bdi", {}, displayName(author))),
      author.bot && el("span", { class: "badge" }, "App"),
      el("time", { datetime: message.timestamp, title: calendar.format(when) }, clock.format(when)));
    this.node.append(
      this.#context,
      el("div", { class: "gutter" }, avatar(author), el("time", { class: "small-time", "aria-hidden": "true" },
        clock.format(when))),
      el("div", { class: "body" }, head, this.#content, this.#gallery.node, this.#rest, this.#thread));
    this.update(message);
    this.showThread();
  }

  get ephemeral() {
    return Boolean(this.message.flags & EPHEMERAL);
  }

  /** The message as it is now. Parts that did not change are left alone. */
  update(message) {
    const before = this.updated ? this.message : null;
    this.updated = true;
    this.message = message;
    this.node.classList.toggle("ephemeral", this.ephemeral);
    this.node.classList.toggle("for-me", message.pings.includes(store.me.id));
    // Screen readers are not told of every progress step and preview; the log tells them the end of it.
    if (before) for (const part of [this.#content, this.#gallery.node, this.#rest]) part.setAttribute("aria-live", "off");
    if (!before) this.showContext();
    if (!before || before.content !== message.content || before.edited_timestamp !== message.edited_timestamp
      || (before.flags ^ message.flags) & LOADING) this.#fillContent();
    const inEmbeds = shownInEmbeds(message);
    this.#gallery.update(message.attachments.filter((attachment) => !inEmbeds.includes(attachment)));
    const rest = JSON.stringify([message.embeds, inEmbeds.map(({ id }) => id), message.components, message.flags & EPHEMERAL]);
    if (rest !== this.#restText) this.#fillRest(rest);
    this.#reach();
  }

  /** Whose turn it is to be reached by the Tab key; the arrow keys go from message to message. */
  set current(current) {
    this.#current = current;
    this.node.tabIndex = current ? 0 : -1;
    this.#reach();
  }

  #reach() {
    const tabindex = this.#current ? 0 : -1;
    for (const control of this.node.querySelectorAll("a, button, .spoiler[role]")) {
      if (!control.closest(".toolbar")) control.tabIndex = tabindex;
    }
  }

  /** The line above: what it replies to, or which command it answers. */
  showContext() {
    this.#context.replaceChildren(...contextLines(this.message));
    this.#reach();
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

  /** The thread that was made of this message, if any. */
  showThread() {
    const thread = store.threads.find(({ id }) => id === this.message.id);
    const text = thread ? `${thread.name}/${thread.thread_metadata.archived}` : "";
    if (text === (this.#thread.dataset.shown ?? "")) return;
    this.#thread.dataset.shown = text;
    this.#thread.replaceChildren(...(thread ? [icon("thread"), jumpLink(thread.id, "", el("bdi", {}, thread.name)),
      thread.thread_metadata.archived && el("span", { class: "badge plain" }, "Archived")].filter(Boolean) : []));
    this.#reach();
  }

  #fillContent() {
    const { flags, content, author } = this.message;
    const edited = this.message.edited_timestamp && !author.bot;
    if (flags & LOADING) {
      this.#content.replaceChildren(el("p", { class: "thinking" }, `${displayName(author)} is thinking`, dots()));
      return;
    }
    const system = systemText(this.message);
    this.#content.replaceChildren(...forwarded(this.message), system ? el("p", { class: "system" }, system) : markdown(content));
    if (edited) this.#content.append(el("small", { class: "edited" }, "(edited)"));
  }

  /** Cards and buttons. A button that had the focus has it again where the new ones include it. */
  #fillRest(text) {
    this.#restText = text;
    const key = this.#rest.contains(document.activeElement) && (document.activeElement.dataset.key ?? "");
    this.#rest.replaceChildren(...embeds(this.message), ...components(this.message), ...this.#footer());
    if (key === false) return;
    const again = key && [...this.#rest.querySelectorAll("[data-key]")].find((node) => node.dataset.key === key && !node.disabled);
    (again || this.node).focus({ preventScroll: true });
  }

  #footer() {
    if (!this.ephemeral) return [];
    const dismiss = el("button", { class: "text-button", type: "button",
      onclick: () => this.actions.dismiss(this) }, "Dismiss message");
    return [el("p", { class: "private" }, icon("eye"), "Only you can see this", dismiss)];
  }
}

export const dots = () => el("span", { class: "dots", "aria-hidden": "true" }, el("i"), el("i"), el("i"));
