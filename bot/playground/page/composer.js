// The box at the bottom: plain messages, typed command lines, and commands with fields.

import { CommandCard } from "./commandcard.js";
import { findCommand, leaves, splitOptions, toLine, toValue, TYPE, ValueError } from "./commands.js";
import { byId, el, icon } from "./dom.js";
import { Listbox } from "./listbox.js";
import { ReplyBar } from "./reply.js";
import { store } from "./store.js";
import { Tray } from "./tray.js";

export class Composer {
  #card = null;
  #history = [];
  #historyAt = 0;
  #busy = false;

  /** handlers: {say(text, uploads, reply), run(name, options, files)}; both return promises and may throw. */
  constructor(handlers) {
    this.handlers = handlers;
    this.form = byId("composer");
    this.tray = new Tray();
    this.palette = new Listbox("commands", "Commands", (command) => this.#choose(command));
    this.signature = el("div", { class: "signature", hidden: true });
    this.reply = new ReplyBar(() => this.#card || this.text.focus());
    this.problem = el("p", { class: "composer-problem", id: "composer-problem", role: "alert" });
    this.picker = el("input", { type: "file", multiple: true, hidden: true,
      onchange: () => this.addFiles(this.picker.files) });
    this.text = el("textarea", { id: "composer-input", rows: 1, enterkeyhint: "send",
      "aria-describedby": "composer-problem" });
    this.palette.attach(this.text);
    this.attach = el("button", { class: "icon-button", type: "button", "aria-label": "Attach a file",
      title: "Attach a file", onclick: () => this.picker.click() }, icon("clip"));
    this.submit = el("button", { class: "send", type: "submit", "aria-label": "Send", title: "Send (Enter)" }, icon("send"));
    this.slot = el("div", { class: "slot" }, this.text);
    this.form.append(this.palette.node, this.signature, this.reply.node, this.tray.node, el("div",
      { class: "entry" }, this.attach, this.slot, this.submit), this.problem, this.picker);
    this.#listen();
    this.rename();
  }

  get commands() {
    return leaves(store.commands);
  }

  rename() {
    const name = store.channel ? store.title(store.channel) : "";
    this.text.setAttribute("aria-label", `Message ${name}`);
    const narrow = matchMedia("(max-width: 480px)").matches;
    const may = !store.channel || store.maySend();
    const isolated = `\u2068${name}\u2069`; // a name may hold marks that turn the text around
    this.text.placeholder = !may ? "You can't write here" : `Message ${isolated}${narrow ? "" : ", or / for commands"}`;
    for (const part of [this.text, this.attach, this.submit]) part.disabled = !may;
  }

  /** Put a line into the box, as an example or from the history. */
  fill(line) {
    this.closeCommand();
    this.text.value = line;
    this.#changed();
    this.text.focus();
    this.text.setSelectionRange(line.length, line.length);
  }

  replyTo(message) {
    this.closeCommand();
    this.reply.open(message);
    this.text.focus();
  }

  addFiles(files) {
    for (const file of files) if (!this.#card?.takeFile(file)) this.tray.add(file);
    this.picker.value = "";
    if (!this.#card) this.text.focus();
  }

  /** Show a command's fields, filled with what was typed already. */
  openCommand(command, values = {}) {
    this.palette.hide();
    this.signature.hidden = true;
    this.reply.aside = true;
    this.#complain("");
    this.#card = new CommandCard(command, () => this.closeCommand(true));
    this.#card.fill(values);
    this.slot.replaceChildren(this.#card.node);
    this.form.classList.add("with-command");
    for (const file of this.tray.files) if (this.#card.takeFile(file)) this.tray.take(file);
    this.#card.focus();
  }

  closeCommand(focus = false) {
    if (!this.#card) return;
    this.#card = null;
    this.form.classList.remove("with-command");
    this.reply.aside = false;
    this.text.value = "";
    this.slot.replaceChildren(this.text);
    this.#changed();
    if (focus) this.text.focus();
  }

  // ------------------------------------------------------------------ parts

  #choose(command) {
    if (command.options.length) return this.openCommand(command);
    this.text.value = `/${command.name}`;
    this.palette.hide();
    this.#send();
  }

  #listen() {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.form.addEventListener("keydown", (event) => this.#key(event));
    this.form.addEventListener("input", (event) => {
      if (event.target === this.text) this.#changed();
      else if (event.target.matches("textarea")) grow(event.target);
    });
    document.addEventListener("paste", (event) => {
      if (event.clipboardData?.files.length && !document.querySelector("dialog[open]")) {
        event.preventDefault();
        this.addFiles(event.clipboardData.files);
      }
    });
  }

  #key(event) {
    if (event.isComposing) return;
    if (event.target === this.text && this.palette.key(event)) return;
    if (event.key === "Enter" && !event.shiftKey && event.target.matches("textarea, input, select")) {
      event.preventDefault();
      this.#send();
    } else if (event.key === "Escape") {
      if (this.#card) this.closeCommand(true);
      else if (this.reply.active) this.reply.cancel();
    } else if (event.key === "Tab" && !event.shiftKey && event.target === this.text && this.#openTyped()) {
      event.preventDefault();
    } else if (event.key === "Backspace" && this.#card && event.target.value === ""
      && event.target.matches(".field:first-child textarea, .field:first-child input")) {
      event.preventDefault();
      this.fill(`/${this.#card.command.name}`);
    } else if (event.key === "ArrowUp" && event.target === this.text && !this.text.value && this.#history.length) {
      event.preventDefault();
      this.#historyAt = Math.max(0, this.#historyAt - 1);
      this.fill(this.#history[this.#historyAt]);
    }
  }

  #changed() {
    grow(this.text);
    this.#complain("");
    const line = this.text.value;
    const typed = /^\/(\S*)$/.exec(line);
    if (typed) {
      const found = this.commands.filter(({ name }) => name.includes(typed[1].toLowerCase()));
      found.sort((a, b) => b.name.startsWith(typed[1]) - a.name.startsWith(typed[1]));
      const items = found.slice(0, 10).map((command) => ({ key: command, title: `/${command.name}`,
        detail: command.description }));
      const none = this.commands.length ? `There is no command /${typed[1]}.`
        : store.botConnected ? "There are no commands here."
        : "Atelier is starting: its commands appear in a moment.";
      this.palette.show(items, none);
    } else this.palette.hide();
    this.#showSignature(typed ? null : findCommand(line, this.commands), line);
  }

  /** While a command line is typed: which options there are, and which are used. */
  #showSignature(found, line) {
    this.signature.hidden = !line.startsWith("/") || !found?.command.options.length;
    if (this.signature.hidden) return;
    const { command, rest } = found;
    const used = splitOptions(rest, command.options);
    const add = (option) => {
      const glue = /\s$/.test(this.text.value) ? "" : " ";
      this.text.value += `${glue}${option.name}: `;
      this.#changed();
      this.text.focus();
    };
    this.signature.replaceChildren(
      el("b", {}, `/${command.name}`),
      ...command.options.filter((option) => option.type !== TYPE.ATTACHMENT).map((option) =>
        el("button", { class: `chip ${option.name in used ? "used" : ""}`, type: "button", tabindex: "-1",
          title: option.description, onclick: () => add(option) }, option.name)),
      el("button", { class: "chip fields-chip", type: "button", title: "Fill in fields instead (Tab)",
        onclick: () => this.#openTyped() }, icon("fields"), "Fields"));
  }

  #openTyped() {
    const found = this.text.value.startsWith("/") && findCommand(this.text.value, this.commands);
    if (!found || !found.command.options.length) return false;
    this.openCommand(found.command, splitOptions(found.rest, found.command.options));
    return true;
  }

  async #send() {
    if (this.#busy) return;
    const line = this.text.value.trim();
    try {
      this.#setBusy(true);
      if (this.#card) await this.#sendCard();
      else if (line.startsWith("/")) await this.#sendLine(line);
      else if (line.length > store.limits.message_length) throw tooLong(line);
      else if (line || this.tray.files.length) {
        await this.handlers.say(line, this.tray.uploads, this.reply.fields);
        this.#done(line);
        if (this.reply.active) this.reply.cancel();
      }
    } catch (error) {
      if (!error.option || !this.#card?.complain(error.option, error.message)) this.#complain(error.message);
    } finally {
      this.#setBusy(false);
    }
  }

  async #sendCard() {
    const { command } = this.#card;
    const collected = this.#card.collect();
    if (!collected) return;
    if (this.tray.files.length) throw tooManyFiles(command);
    await this.handlers.run(command.name, collected.options, collected.files);
    this.closeCommand(true);
    this.#done(toLine(command.name, collected.options));
  }

  async #sendLine(line) {
    const found = findCommand(line, this.commands);
    if (!found) throw new ValueError(null, `There is no command ${line.split(/\s/)[0]}.`);
    const { command, rest } = found;
    const typed = splitOptions(rest, command.options);
    const missing = command.options.find((option) => option.required && !(option.name in typed)
      && option.type !== TYPE.ATTACHMENT);
    if (missing && !rest) return this.openCommand(command);
    if (missing) throw new ValueError(missing.name, `${missing.name} is needed.`);
    const options = {};
    const files = {};
    const waiting = [...this.tray.files];
    if (waiting.length > fileOptions(command).length) throw tooManyFiles(command);
    for (const option of command.options) {
      if (option.type === TYPE.ATTACHMENT) {
        if (waiting.length) files[option.name] = waiting.shift();
      } else if (option.name in typed) options[option.name] = toValue(option, typed[option.name]);
    }
    await this.handlers.run(command.name, options, files);
    this.#done(line);
  }

  #done(line) {
    if (line) this.#history.push(line);
    this.#historyAt = this.#history.length;
    // Somebody quick may already be typing the next message.
    if (this.text.value.trim() === line) this.text.value = "";
    this.tray.clear();
    this.#changed();
    if (!this.#card) this.text.focus();
  }

  #setBusy(busy) {
    this.#busy = busy;
    this.form.setAttribute("aria-busy", String(busy));
    this.submit.disabled = busy || this.text.disabled;
  }

  #complain(text) {
    this.problem.textContent = text;
    this.text.setAttribute("aria-invalid", String(Boolean(text)));
  }
}

const fileOptions = (command) => command.options.filter((option) => option.type === TYPE.ATTACHMENT);

function tooLong(line) {
  const most = store.limits.message_length;
  return new ValueError(null, `A message has at most ${most} characters; this one has ${line.length}.`);
}

function tooManyFiles(command) {
  const most = fileOptions(command).length;
  const takes = ["no file", "only one file"][most] ?? `at most ${most} files`;
  return new ValueError(null, `/${command.name} takes ${takes}.`);
}

function grow(area) {
  area.style.height = "auto";
  area.style.height = `${Math.min(area.scrollHeight, 200)}px`;
}
