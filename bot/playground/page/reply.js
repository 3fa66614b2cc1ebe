// The bar above the box while a reply is written: to whom, and whether they are told.

import { excerpt } from "./context.js";
import { el, icon } from "./dom.js";
import { displayName, store } from "./store.js";

export class ReplyBar {
  #message = null;
  #ping = true;

  /** closed() is called when the reply is given up. */
  constructor(closed) {
    this.closed = closed;
    this.node = el("div", { class: "reply-bar", role: "group", "aria-label": "Reply", hidden: true });
  }

  get active() {
    return this.#message !== null;
  }

  get target() {
    return this.#message;
  }

  /** What goes along with the message: {reply_to, ping}. */
  get fields() {
    return this.#message ? { reply_to: this.#message.id, ping: this.#ping } : {};
  }

  open(message) {
    this.#message = message;
    const own = message.author.id === store.me.id;
    this.#ping = !own;
    const name = displayName(message.author);
    const ping = el("button", { class: "ping", type: "button", role: "switch", "aria-checked": String(this.#ping),
      "aria-label": `Notify ${name}`, onclick: () => {
        this.#ping = !this.#ping;
        show();
      } });
    const show = () => {
      ping.textContent = `@ ${this.#ping ? "on" : "off"}`;
      ping.title = this.#ping ? `${name} is told of the reply` : `${name} is not told of the reply`;
      ping.setAttribute("aria-checked", String(this.#ping));
    };
    show();
    this.node.replaceChildren(icon("reply"), el("span", {}, "Replying to ", el("b", {}, el("bdi", {}, name)),
      el("bdi", { class: "excerpt" }, excerpt(message))), ...(own ? [] : [ping]),
      el("button", { class: "icon-button", type: "button", "aria-label": "Cancel the reply",
        onclick: () => this.cancel() }, icon("close")));
    this.node.hidden = false;
  }

  cancel() {
    this.#message = null;
    this.node.hidden = true;
    this.closed();
  }

  /** A command is no reply: the bar waits for the next message. */
  set aside(away) {
    this.node.hidden = away || !this.active;
  }
}
