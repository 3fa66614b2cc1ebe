// Channels, members and the bot at the side; a drawer on small screens.

import { avatar } from "./avatar.js";
import { byId, el } from "./dom.js";
import { displayName, store } from "./store.js";

export class Sidebar {
  #unread = new Set();
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
    for (const name of ["state", "channel", "me", "bot"]) store.on(name, () => this.show());
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

  markUnread(channelId) {
    this.#unread.add(channelId);
    this.show();
  }

  show() {
    if (!store.channel) return;
    this.#unread.delete(store.channel.id);
    const wanted = JSON.stringify([store.channels, store.channel.id, [...this.#unread], store.members, store.me.id,
      store.bot, store.botConnected]);
    if (wanted === this.#shown) return;
    this.#shown = wanted;
    const focused = this.side.contains(document.activeElement) ? document.activeElement.id : "";
    byId("channels").replaceChildren(...store.channels.map((channel) => this.#channel(channel)));
    byId("members").replaceChildren(...store.members.map((member, index) => this.#member(member, index)));
    byId("bot-card").replaceChildren(
      el("div", { class: "person" }, avatar(store.bot), el("span", {}, el("b", {}, displayName(store.bot)),
        el("small", {}, store.botConnected ? "online" : "offline")), el("i",
        { class: `dot ${store.botConnected ? "on" : ""}` })));
    // The button that had the focus was replaced by a new one.
    if (focused) byId(focused)?.focus({ preventScroll: true });
  }

  #channel(channel) {
    const current = channel.id === store.channel.id;
    const unread = this.#unread.has(channel.id);
    const choose = () => {
      this.toggle(false);
      store.open(channel);
    };
    return el("li", {}, el("button", { class: `channel ${unread ? "unread" : ""}`, type: "button",
      id: `channel-${channel.id}`, "aria-current": current ? "page" : null, onclick: choose },
      el("span", { "aria-hidden": "true" }, "#"), channel.name, channel.nsfw && el("span", { class: "badge plain",
        title: "Age-restricted" }, "18+"), unread && el("span", { class: "visually-hidden" }, " (new messages)")));
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
    return el("button", { class: "person", type: "button", id: `member-${member.id}`, role: "radio", "aria-checked": String(current),
      tabindex: current ? 0 : -1, onclick: choose, onkeydown: move },
      avatar(member), el("span", {}, el("b", {}, displayName(member))));
  }
}
