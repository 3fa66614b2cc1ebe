// Channels, threads, direct messages, members and the bot at the side; a drawer on small screens.

import { avatar } from "./avatar.js";
import { byId, el, icon } from "./dom.js";
import { displayName, isDm, isThread, store } from "./store.js";
import { unread } from "./unread.js";

export class Sidebar {
  #shown = "";
  #small = matchMedia("(max-width: 760px)");

  constructor() {
    this.side = byId("side");
    this.opener = byId("side-open");
    this.opener.addEventListener("click", () => this.toggle(true));
    byId("side-close").addEventListener("click", () => this.toggle(false));
    byId("scrim").addEventListener("click", () => this.toggle(false));
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.toggle(false));
    this.#small.addEventListener("change", () => this.toggle(false));
    this.toggle(false);
    for (const name of ["state", "channel", "me", "bot", "unread"]) store.on(name, () => this.show());
  }

  toggle(open) {
    const closed = this.#small.matches && !open;
    const wasOpen = this.side.classList.contains("open");
    this.side.classList.toggle("open", this.#small.matches && open);
    this.side.inert = closed;
    byId("main").inert = this.#small.matches && open;
    byId("scrim").hidden = !(this.#small.matches && open);
    this.opener.setAttribute("aria-expanded", String(this.#small.matches && open));
    // The drawer can take the focus only once it has begun to slide in.
    if (this.#small.matches && open) setTimeout(() => byId("side-close").focus(), 60);
    else if (wasOpen) this.opener.focus();
  }

  show() {
    if (!store.channel) return;
    const counts = store.everything.map((channel) => unread.of(channel.id));
    const wanted = JSON.stringify([store.everything, store.channel.id, counts, store.members, store.me.id, store.bot,
      store.botConnected]);
    if (wanted === this.#shown) return;
    this.#shown = wanted;
    const focused = this.side.contains(document.activeElement) ? document.activeElement.id : "";
    byId("channels").replaceChildren(...store.channels.map((channel) => this.#entry(channel)));
    byId("dms").replaceChildren(...store.dms.map((channel) => this.#entry(channel)));
    byId("members").replaceChildren(...store.members.map((member, index) => this.#member(member, index)));
    byId("bot-card").replaceChildren(
      el("div", { class: "person" }, avatar(store.bot), el("span", {}, el("b", {}, displayName(store.bot)),
        el("small", {}, store.botConnected ? "online" : "offline")), el("i",
        { class: `dot ${store.botConnected ? "on" : ""}` })));
    // The button that had the focus was replaced by a new one.
    if (focused) byId(focused)?.focus({ preventScroll: true });
  }

  /** A channel and, below it, its threads: the open ones, and those archived ones that are being read. */
  #entry(channel) {
    const threads = store.threads.filter((thread) => thread.parent_id === channel.id).sort(byNews);
    return el("li", {}, this.#button(channel), threads.length > 0 && el("ul", { class: "threads",
      "aria-label": `Threads of ${store.title(channel)}` }, threads.map((thread) => el("li", {}, this.#button(thread)))));
  }

  #button(channel) {
    const current = channel.id === store.channel.id;
    const { messages, mentions } = unread.of(channel.id);
    const archived = isThread(channel) && channel.thread_metadata.archived;
    const mark = isDm(channel) ? avatar(store.partner(channel), "small") : isThread(channel) ? icon("thread")
      : el("span", { class: "hash", "aria-hidden": "true" }, "#");
    const choose = () => {
      this.toggle(false);
      store.open(channel);
    };
    const name = isDm(channel) ? displayName(store.partner(channel)) : channel.name;
    return el("button", { class: `channel ${messages ? "unread" : ""} ${archived ? "archived" : ""}`, type: "button",
      id: `channel-${channel.id}`, "aria-current": current ? "page" : null, onclick: choose }, mark,
      el("bdi", { class: "channel-title" }, name),
      channel.nsfw && el("span", { class: "badge plain", title: "Age-restricted" }, "18+"),
      archived && el("span", { class: "badge plain" }, channel.thread_metadata.locked ? "Locked" : "Archived"),
      mentions > 0 && el("span", { class: "count", "aria-hidden": "true" }, mentions > 99 ? "99+" : mentions),
      messages > 0 && el("span", { class: "visually-hidden" }, mentions ? ` (${mentions} for you)` : " (new messages)"));
  }

  #member(member, index) {
    const current = member.id === store.me.id;
    const choose = () => current || store.actAs(member);
    const move = (event) => {
      const by = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      const count = store.members.length;
      store.actAs(store.members[(index + by + count) % count]);
      byId("members").querySelector("[aria-checked=true]").focus();
    };
    const roles = [member.owner && "owner", ...(member.roles ?? [])].filter(Boolean).join(", ");
    return el("button", { class: "person", type: "button", id: `member-${member.id}`, role: "radio", "aria-checked": String(current),
      "aria-label": displayName(member), "aria-description": roles || null, tabindex: current ? 0 : -1, onclick: choose, onkeydown: move },
      avatar(member), el("span", { class: "person-words" }, el("b", {}, displayName(member)), roles && el("small", {}, roles)));
  }
}

const byNews = (one, other) => one.thread_metadata.archived - other.thread_metadata.archived
  || Number(BigInt(other.last_message_id ?? other.id) - BigInt(one.last_message_id ?? one.id));
