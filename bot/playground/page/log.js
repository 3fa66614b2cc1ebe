// The list of messages: order, grouping, scrolling, loading older ones.

import { api } from "./api.js";
import { byId, el } from "./dom.js";
import { dots, MessageView } from "./message.js";
import { avatar } from "./avatar.js";
import { store } from "./store.js";
import { toast } from "./toast.js";

const GROUP_MILLISECONDS = 5 * 60 * 1000;
const NEAR_BOTTOM = 120;
const SETTLED_MILLISECONDS = 2000;
const dayName = new Intl.DateTimeFormat(undefined, { dateStyle: "long" });

export class Log {
  #views = new Map();
  #gone = new Set(); // deleted, or dismissed by the reader
  #complete = false;
  #loadingOlder = false;
  #lastTop = 0;
  #loads = 0;
  #heard = new Map(); // messages that events brought while a list is fetched
  #settling = new Map(); // message id → timer

  constructor(actions) {
    this.list = byId("log");
    this.scroller = byId("scroller");
    this.toBottom = byId("to-bottom");
    this.actions = { ...actions, jump: (id) => this.#jump(id), dismiss: (view) => this.#dismiss(view) };
    this.toBottom.addEventListener("click", () => this.scrollDown());
    this.scroller.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    new ResizeObserver(() => this.pinned && this.scrollDown()).observe(this.list);
    new ResizeObserver(() => this.pinned && this.scrollDown()).observe(this.scroller);
    this.pinned = true;
  }

  get empty() {
    return this.#views.size === 0;
  }

  /** Show a channel from scratch. */
  async load(channel, user) {
    this.#busy(1);
    try {
      await this.#load(channel, user);
    } finally {
      this.#busy(-1);
    }
  }

  async #load(channel, user) {
    const heard = (this.#heard = new Map());
    const messages = await api.messages(channel.id, user.id);
    if (channel !== store.channel || user !== store.me) return;
    this.list.setAttribute("aria-label", `Messages in #${channel.name}`);
    const known = new Set(messages.map((message) => message.id));
    const same = this.shown === `${channel.id}/${user.id}`;
    this.shown = `${channel.id}/${user.id}`;
    if (!same) {
      this.clear();
      heard.forEach((message) => this.put(message, { quiet: true }));
    }
    // What is missing between the first and the last was deleted while nobody told us.
    const within = (id) => messages.length && BigInt(id) > BigInt(messages[0].id) && BigInt(id) < BigInt(messages.at(-1).id);
    for (const id of [...this.#views.keys()]) if (same && !known.has(id) && within(id)) this.remove(id, { quiet: true });
    this.#complete = messages.length < 50;
    messages.forEach((message) => this.put(message, { quiet: true }));
    this.#arrange();
    if (!same) this.scrollDown();
  }

  clear() {
    this.#views.clear();
    this.#settling.forEach(clearTimeout);
    this.#settling.clear();
    this.list.replaceChildren();
  }

  /** Add a message, or change it where it stands. */
  put(message, { quiet = false } = {}) {
    if (this.#gone.has(message.id)) return;
    if (!quiet && this.#loads) this.#heard.set(message.id, message);
    const view = this.#views.get(message.id);
    if (view) {
      // While a list was fetched an event may have brought a newer version.
      if ((view.message.edited_timestamp ?? "") > (message.edited_timestamp ?? "")) return;
      view.update(message);
      if (!quiet && message.author.bot) this.#tellWhenSettled(view);
      return;
    }
    const added = new MessageView(message, this.actions);
    this.#views.set(message.id, added);
    const next = [...this.list.querySelectorAll(".message")].find((node) => BigInt(node.id.slice(2)) > BigInt(message.id));
    const bottom = this.list.querySelector(".note");
    this.list.insertBefore(added.node, next ?? bottom);
    if (quiet) return;
    this.#arrange();
    if (this.pinned || message.author.id === store.me.id) this.scrollDown();
    else this.toBottom.hidden = false;
  }

  remove(id, { quiet = false } = {}) {
    this.#gone.add(id);
    clearTimeout(this.#settling.get(id));
    this.#views.get(id)?.node.remove();
    this.#views.delete(id);
    if (!quiet) this.#arrange();
  }

  /** A line at the end that belongs to no message: a command on its way, or one that failed. */
  note(text, { busy = false } = {}) {
    const node = el("li", { class: `note ${busy ? "busy" : "failed"}`, role: busy ? "status" : "alert" },
      avatar(store.bot, "tiny"), el("span", {}, text, busy && dots()));
    if (!busy) node.append(el("button", { class: "text-button", type: "button", onclick: () => node.remove() }, "Dismiss"));
    this.list.append(node);
    this.scrollDown();
    return node;
  }

  scrollDown() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.pinned = true;
    this.toBottom.hidden = true;
  }

  /** Screen readers hear of an edited message once, when the edits are over. */
  #tellWhenSettled(view) {
    const { id } = view.message;
    const status = byId("settled");
    status.textContent = "";
    clearTimeout(this.#settling.get(id));
    this.#settling.set(id, setTimeout(() => {
      this.#settling.delete(id);
      status.textContent = view.summary();
    }, SETTLED_MILLISECONDS));
  }

  #busy(by) {
    this.#loads += by;
    this.list.setAttribute("aria-busy", String(this.#loads > 0));
  }

  #arrange() {
    let previous = null;
    this.list.querySelectorAll(".day").forEach((node) => node.remove());
    for (const node of [...this.list.querySelectorAll(".message")]) {
      const view = this.#views.get(node.id.slice(2));
      const { message } = view;
      const day = new Date(message.timestamp).toDateString();
      const newDay = previous && day !== new Date(previous.timestamp).toDateString();
      if (newDay) this.list.insertBefore(el("li", { class: "day", role: "separator" },
        dayName.format(new Date(message.timestamp))), node);
      view.group(!newDay && joins(previous, message));
      previous = message;
    }
    this.actions.changed(this.empty);
  }

  #onScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    // Only a scroll upwards lets go of the end: a picture that grows the list must not.
    if (scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM) this.pinned = true;
    else if (scrollTop < this.#lastTop) this.pinned = false;
    this.#lastTop = scrollTop;
    if (this.pinned) this.toBottom.hidden = true;
    if (scrollTop < 200 && !this.#complete && !this.empty) this.#loadOlder();
  }

  async #loadOlder() {
    if (this.#loadingOlder) return;
    this.#loadingOlder = true;
    this.#busy(1);
    try {
      const oldest = this.list.querySelector(".message").id.slice(2);
      const older = await api.messages(store.channel.id, store.me.id, oldest);
      const height = this.scroller.scrollHeight;
      older.forEach((message) => this.put(message, { quiet: true }));
      this.#complete = older.length < 50;
      this.#arrange();
      this.scroller.scrollTop += this.scroller.scrollHeight - height;
    } catch (error) {
      toast(error.message);
    } finally {
      this.#loadingOlder = false;
      this.#busy(-1);
    }
  }

  #jump(id) {
    const node = byId(`m-${id}`);
    if (!node) return;
    node.scrollIntoView({ block: "center" });
    node.classList.remove("found");
    requestAnimationFrame(() => node.classList.add("found"));
  }

  #dismiss(view) {
    this.remove(view.message.id);
  }
}

function joins(previous, message) {
  return Boolean(previous) && previous.author.id === message.author.id && !message.interaction_metadata?.name
    && !message.message_reference && (previous.flags & 64) === (message.flags & 64)
    && new Date(message.timestamp) - new Date(previous.timestamp) < GROUP_MILLISECONDS;
}
