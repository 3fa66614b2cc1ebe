// What can be done with a message: one toolbar that goes to the message under the pointer or the focus, and
// the menu with everything.

import { el, icon } from "./dom.js";
import { openMenu } from "./menu.js";
import { moveFocus } from "./popup.js";
import { isDm, isThread, store } from "./store.js";
import { toast } from "./toast.js";

export class Toolbar {
  #view = null;
  #shown = "";

  /** actions: {reply(message), forward(message), run(command, message), thread(message), remove(message)} */
  constructor(actions) {
    this.actions = actions;
    this.node = el("div", { class: "toolbar", role: "toolbar", "aria-label": "Message actions" });
    this.node.addEventListener("keydown", (event) => {
      const buttons = [...this.node.children];
      if (!moveFocus(event, buttons, { vertical: false })) return;
      for (const button of buttons) button.tabIndex = button === document.activeElement ? 0 : -1;
    });
  }

  attach(view) {
    if (view.node === this.node.parentElement && view === this.#view) return;
    this.#view = view;
    if (view.ephemeral) return this.leave();
    this.#fill();
    view.node.append(this.node);
  }

  leave() {
    this.#view = null;
    this.node.remove();
  }

  openMenu(view, anchor) {
    openMenu("Message", this.#everything(view), anchor);
  }

  #fill() {
    const apps = store.messageCommands;
    const wanted = apps.map(({ name }) => name).join("\n") + store.maySend();
    if (wanted === this.#shown) return;
    this.#shown = wanted;
    const tool = (label, name, press, more = {}) => el("button", { class: "icon-button", type: "button", "aria-label": label,
      title: label, onclick: press, ...more }, icon(name));
    const opens = { "aria-haspopup": "menu", "aria-expanded": "false" };
    this.node.replaceChildren(...[
      store.maySend() && tool("Reply", "reply", () => this.actions.reply(this.#view.message)),
      tool("Forward", "forward", () => this.actions.forward(this.#view.message)),
      apps.length && tool("Apps", "apps", (event) => openMenu("Apps", this.#apps(this.#view), event.currentTarget), opens),
      tool("More", "more", (event) => this.openMenu(this.#view, event.currentTarget), opens)].filter(Boolean));
    [...this.node.children].forEach((button, index) => { button.tabIndex = index ? -1 : 0; });
  }

  #apps(view) {
    return store.messageCommands.map((command) => ({ label: command.name, icon: "wand",
      run: () => this.actions.run(command, view.message) }));
  }

  #everything(view) {
    const { message } = view;
    if (view.ephemeral) {
      return [copyText(message), { label: "Dismiss message", icon: "close", run: () => this.actions.dismiss(view) }].filter(Boolean);
    }
    const own = message.author.id === store.me.id;
    const canThread = !isDm(store.channel) && !isThread(store.channel) && store.may("threads") && !store.channelOf(message.id);
    const apps = this.#apps(view);
    return [
      store.maySend() && { label: "Reply", icon: "reply", run: () => this.actions.reply(message) },
      { label: "Forward", icon: "forward", run: () => this.actions.forward(message) },
      canThread && { label: "Create thread", icon: "thread", run: () => this.actions.thread(message) },
      copyText(message),
      { label: "Copy message link", icon: "link", run: () => copy(address(message)) },
      (own || store.may("manage_messages")) && { label: "Delete message", icon: "trash", danger: true,
        run: () => this.actions.remove(message) },
      apps.length && { heading: "Apps" }, ...apps].filter(Boolean);
  }
}

const copyText = (message) => message.content && { label: "Copy text", icon: "copy", run: () => copy(message.content) };

/** As Discord writes it: pasted into this chat it becomes a link to the message. */
function address(message) {
  const server = store.dms.some((dm) => dm.id === message.channel_id) ? "@me" : store.server.id;
  return `https://discord.com/channels/${server}/${message.channel_id}/${message.id}`;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied.", { quiet: true });
  } catch {
    toast("The browser did not allow copying.");
  }
}
