// The list of messages: order, grouping, scrolling, loading older ones.

import { api } from "./api.js";
import { avatar } from "./avatar.js";
import { byId, el } from "./dom.js";
import { dots, EPHEMERAL, MessageView } from "./message.js";
import { Roving } from "./roving.js";
import { store } from "./store.js";
import { toast } from "./toast.js";
import { Toolbar } from "./toolbar.js";

const PAGE = 50;
const MOST_SHOWN = 300;
const GROUP_MILLISECONDS = 5 * 60 * 1000;
const NEAR_BOTTOM = 120;
const SETTLED_MILLISECONDS = 2000;
const dayName = new Intl.DateTimeFormat(undefined, { dateStyle: "long" });

export class Log {
  #views = new Map();
  #gone = new Set(); // deleted, or dismissed by the reader
  #complete = false;
  #older = null; // the load of older messages that is under way
  #lastTop = 0;
  #loads = 0;
  #heard = new Map(); // messages that events brought while a list is fetched
  #settling = new Map(); // message id → timer

  /** actions: those of the toolbar, and changed(empty). */
  constructor(actions) {
    this.region = byId("log-region");
    this.list = byId("log");
    this.scroller = byId("scroller");
    this.toBottom = byId("to-bottom");
    this.actions = { ...actions, dismiss: (view) => this.#dismiss(view) };
    this.toolbar = new Toolbar(this.actions);
    this.roving = new Roving(this.list, (node) => this.#views.get(node.id.slice(2)), this.toolbar);
    this.toBottom.addEventListener("click", () => this.scrollDown());
    this.scroller.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    new ResizeObserver(() => this.pinned && this.scrollDown()).observe(this.list);
    new ResizeObserver(() => this.pinned && this.scrollDown()).observe(this.scroller);
    store.on("state", () => this.#views.forEach((view) => view.showThread()));
    this.pinned = true;
  }

  get empty() {
    return this.#views.size === 0;
  }

  /** Show a channel from scratch; the one that is shown already is brought up to date. */
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
    if (channel.id !== store.channel.id || user.id !== store.me.id) return;
    this.region.setAttribute("aria-label", `Messages in ${store.title(channel)}`);
    const known = new Set(messages.map((message) => message.id));
    const same = this.shown === `${channel.id}/${user.id}`;
    this.shown = `${channel.id}/${user.id}`;
    if (!same) {
      this.clear();
      heard.forEach((message) => this.put(message, { quiet: true }));
    }
    // What is missing between the first and the last was deleted while nobody told us.
    const within = (id) => messages.length && BigInt(id) > BigInt(messages[0].id) && BigInt(id) < BigInt(messages.at(-1).id);
    for (const id of [...this.#views.keys()]) if (same && !known.has(id) && within(id)) this.remove(id);
    this.#complete = messages.length < PAGE;
    messages.forEach((message) => this.put(message, { quiet: true }));
    this.actions.changed(this.empty);
    if (!same) this.scrollDown();
  }

  /** Nothing is shown, as behind the age gate. */
  clear() {
    if (this.list.contains(document.activeElement)) byId("composer-input")?.focus({ preventScroll: true });
    this.toolbar.leave();
    this.#views.clear();
    this.#settling.forEach(clearTimeout);
    this.#settling.clear();
    this.list.replaceChildren();
    this.toBottom.hidden = true;
    this.#older = null;
  }

  forget() {
    this.shown = "";
    this.clear();
  }

  /** Add a message, or change it where it stands. */
  put(message, { quiet = false } = {}) {
    if (this.#gone.has(message.id)) return;
    if (!quiet && this.#loads) this.#heard.set(message.id, message);
    const view = this.#views.get(message.id);
    if (view) return this.#change(view, message, quiet);
    const added = new MessageView(message, this.actions);
    this.#views.set(message.id, added);
    let next = null;
    for (let node = this.list.lastElementChild; node; node = node.previousElementSibling) {
      if (node.matches(".message") && BigInt(node.id.slice(2)) < BigInt(message.id)) break;
      if (!node.matches(".day")) next = node;
    }
    // A day's line belongs to the message below it.
    if (next?.previousElementSibling?.matches(".day")) next.previousElementSibling.remove();
    this.list.insertBefore(added.node, next);
    this.#arrange(added);
    if (next?.matches(".message")) this.#arrange(this.#views.get(next.id.slice(2)));
    if (quiet) return;
    this.actions.changed(false);
    if (this.pinned || message.author.id === store.me.id) {
      this.#trim();
      this.scrollDown();
    } else this.toBottom.hidden = false;
  }

  #change(view, message, quiet) {
    // While a list was fetched an event may have brought a newer version.
    if ((view.message.edited_timestamp ?? "") > (message.edited_timestamp ?? "")) return;
    view.update(message);
    if (!quiet && message.author.bot) this.#tellWhenSettled(view);
    this.#replies(message.id, (reply) => { reply.message.referenced_message = message; });
  }

  remove(id) {
    this.#gone.add(id);
    clearTimeout(this.#settling.get(id));
    const view = this.#views.get(id);
    this.#replies(id, (reply) => { reply.message.referenced_message = null; });
    if (!view) return;
    const next = this.roving.beside(view.node, 1);
    if (view.node.contains(document.activeElement)) (next ?? this.roving.beside(view.node, -1) ?? byId("composer-input"))?.focus();
    if (view.node.contains(this.toolbar.node)) this.toolbar.leave();
    if (view.node.previousElementSibling?.matches(".day")) view.node.previousElementSibling.remove();
    view.node.remove();
    this.#views.delete(id);
    if (next) this.#arrange(this.#views.get(next.id.slice(2)));
    this.actions.changed(this.empty);
  }

  /** A line at the end that belongs to no message: a command on its way, or one that failed. */
  note(text, { busy = false } = {}) {
    const node = el("li", { class: `note ${busy ? "busy" : "failed"}` },
      avatar(store.bot, "tiny"), el("span", { role: busy ? "status" : "alert" }, text, busy && dots()));
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

  /** Go to a message of the open channel, loading what lies between. False: it is not there. */
  async show(id) {
    while (!this.#views.has(id) && !this.#complete && !this.empty) if (!await this.#loadOlder()) break;
    const view = this.#views.get(id);
    if (!view) return false;
    this.pinned = false;
    view.node.scrollIntoView({ block: "center" });
    view.node.focus({ preventScroll: true });
    view.node.classList.remove("found");
    requestAnimationFrame(() => view.node.classList.add("found"));
    return true;
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
    this.region.setAttribute("aria-busy", String(this.#loads > 0));
  }

  #replies(id, change) {
    for (const node of this.list.querySelectorAll(`.used[data-target="${id}"]`)) {
      const reply = this.#views.get(node.closest(".message").id.slice(2));
      change(reply);
      reply.showContext();
    }
  }

  /** Whether a message stands alone or below its author's last one, and the line between two days. */
  #arrange(view) {
    const previous = this.#views.get(this.roving.beside(view.node, -1)?.id.slice(2))?.message;
    if (view.node.previousElementSibling?.matches(".day")) view.node.previousElementSibling.remove();
    const date = new Date(view.message.timestamp);
    const newDay = previous && date.toDateString() !== new Date(previous.timestamp).toDateString();
    if (newDay) view.node.before(el("li", { class: "day", role: "separator" }, dayName.format(date)));
    view.group(!newDay && joins(previous, view.message));
  }

  /** A page that is open for days keeps the newest messages only; the others come back by scrolling. */
  #trim() {
    if (this.#views.size <= MOST_SHOWN) return;
    while (this.#views.size > MOST_SHOWN) {
      const oldest = this.list.querySelector(".message");
      if (oldest.contains(this.toolbar.node)) this.toolbar.leave();
      this.#views.delete(oldest.id.slice(2));
      oldest.remove();
    }
    if (this.list.firstElementChild.matches(".day")) this.list.firstElementChild.remove();
    this.#complete = false;
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

  /** True: there are more messages now. */
  #loadOlder() {
    this.#older ??= this.#fetchOlder().finally(() => {
      this.#older = null;
    });
    return this.#older;
  }

  async #fetchOlder() {
    const { shown } = this;
    this.#busy(1);
    try {
      const oldest = this.list.querySelector(".message").id.slice(2);
      const older = await api.messages(store.channel.id, store.me.id, oldest);
      if (shown !== this.shown) return false;
      const height = this.scroller.scrollHeight;
      older.forEach((message) => this.put(message, { quiet: true }));
      this.#complete = older.length < PAGE;
      this.scroller.scrollTop += this.scroller.scrollHeight - height;
      return older.length > 0;
    } catch (error) {
      toast(error.message);
      return false;
    } finally {
      this.#busy(-1);
    }
  }

  #dismiss(view) {
    this.remove(view.message.id);
    if (view.message.flags & EPHEMERAL) api.remove(view.message.channel_id, view.message.id, store.me.id).catch(() => {});
  }
}

function joins(previous, message) {
  return Boolean(previous) && previous.author.id === message.author.id && !message.interaction_metadata?.name
    && !message.message_reference && (previous.flags & EPHEMERAL) === (message.flags & EPHEMERAL)
    && new Date(message.timestamp) - new Date(previous.timestamp) < GROUP_MILLISECONDS;
}
