// One field of a command being filled in. Each knows its label, its input, its value and its error.

import { api } from "./api.js";
import { hint, TYPE, toValue, ValueError } from "./commands.js";
import { el, fileSize, icon } from "./dom.js";
import { Listbox } from "./listbox.js";
import { displayName, store } from "./store.js";

let serial = 0;

export class Field {
  /** context: {commandName, values(): everything filled so far, remove(field)} */
  constructor(option, context) {
    this.option = option;
    this.context = context;
    this.id = `field-${++serial}`;
    this.input = this.build();
    this.problem = el("p", { class: "field-problem", id: `${this.id}-problem` });
    const label = el("label", { for: this.id, title: option.description }, option.name);
    this.node = el("div", { class: `field ${option.required ? "required" : ""} ${this.wide ? "wide" : ""}` },
      label, this.input);
    if (!option.required) {
      this.node.append(el("button", { class: "icon-button field-remove", type: "button",
        "aria-label": `Remove ${option.name}`, onclick: () => context.remove(this) }, icon("close")));
    }
    this.node.append(this.problem);
    this.control.setAttribute("aria-describedby", `${this.id}-problem`);
    this.node.addEventListener("input", () => this.complain(""));
  }

  get wide() {
    return this.option.type === TYPE.STRING && !this.option.choices?.length;
  }

  get control() {
    return this.input;
  }

  build() {
    const { type, required } = this.option;
    const placeholder = hint(this.option) || this.option.description;
    if (this.wide) {
      return el("textarea", { id: this.id, rows: 1, placeholder, "aria-required": required ? "true" : null,
        enterkeyhint: "send" });
    }
    const inputmode = type === TYPE.INTEGER ? "numeric" : "decimal";
    return el("input", { id: this.id, type: "text", inputmode, placeholder, "aria-required": required ? "true"
      : null, enterkeyhint: "send" });
  }

  get raw() {
    return this.control.value;
  }

  set raw(value) {
    this.control.value = value;
  }

  get filled() {
    return String(this.raw).trim() !== "";
  }

  /** The JSON value, or undefined. Throws ValueError. */
  value() {
    if (this.filled) return toValue(this.option, this.raw);
    if (this.option.required) throw new ValueError(this.option.name, `${this.option.name} is needed.`);
    return undefined;
  }

  complain(text) {
    this.problem.textContent = text;
    this.control.setAttribute("aria-invalid", String(Boolean(text)));
  }

  focus() {
    this.control.focus();
  }
}

class ChoiceField extends Field {
  get wide() {
    return false;
  }

  build() {
    const { choices, type } = this.option;
    const all = type === TYPE.BOOLEAN ? [{ name: "true" }, { name: "false" }]
      : type === TYPE.USER ? [...store.members, store.bot].map((user) => ({ name: displayName(user), value: user.id }))
      : type === TYPE.CHANNEL ? store.channels.map((channel) => ({ name: `#${channel.name}`, value: channel.id }))
      : choices;
    return el("select", { id: this.id }, el("option", { value: "" }, "Choose"), all.map((choice) => el("option",
      { value: choice.value ?? choice.name }, choice.name)));
  }
}

class AttachmentField extends Field {
  get wide() {
    return false;
  }

  get control() {
    return this.picker;
  }

  build() {
    this.file = null;
    this.picker = el("input", { id: this.id, type: "file", class: "visually-hidden",
      onchange: () => this.take(this.picker.files[0]) });
    this.face = el("span", { class: "file-face" }, icon("clip"), "Choose a file, paste or drop it");
    return el("span", { class: "file-field" }, this.picker, el("label", { for: this.id, class: "file-button" }, this.face));
  }

  take(file) {
    if (!file) return;
    this.file = file;
    this.complain(file.size > store.limits.file_bytes
      ? `${file.name} is larger than ${fileSize(store.limits.file_bytes)}.` : "");
    const parts = [el("span", { class: "file-name" }, file.name), el("small", {}, fileSize(file.size))];
    if (file.type.startsWith("image/") && file.type !== "image/svg+xml") parts.unshift(el("img",
      { src: URL.createObjectURL(file), alt: "" }));
    this.face.replaceChildren(...parts);
  }

  get raw() {
    return this.file ? this.file.name : "";
  }

  set raw(_value) { /* a file can't come from text */ }

  value() {
    if (!this.file && this.option.required) throw new ValueError(this.option.name, `${this.option.name} needs a file.`);
    if (this.file?.size > store.limits.file_bytes) throw new ValueError(this.option.name, `${this.file.name} is too large.`);
    return this.file ?? undefined;
  }
}

class AutocompleteField extends Field {
  #timer = 0;
  #asked = 0;
  #chosen = null;
  #helped = false; // a field of free text seldom has suggestions: then there is nothing to say either

  get wide() {
    return true;
  }

  get control() {
    return this.text;
  }

  build() {
    const attributes = { id: this.id, placeholder: this.option.description, enterkeyhint: "send", autocomplete: "off",
      "aria-required": this.option.required ? "true" : null };
    this.text = this.option.type === TYPE.STRING ? el("textarea", { ...attributes, rows: 1 })
      : el("input", { ...attributes, type: "text" });
    this.list = new Listbox(`${this.id}-list`, `Suggestions for ${this.option.name}`, (choice) => this.#choose(choice));
    this.list.attach(this.text);
    this.text.addEventListener("input", () => {
      this.#chosen = null;
      this.#ask();
    });
    this.text.addEventListener("focus", () => this.#ask());
    this.text.addEventListener("blur", () => this.list.hide());
    this.text.addEventListener("keydown", (event) => this.list.key(event), true);
    return el("span", { class: "suggest" }, this.text, this.list.node);
  }

  #ask() {
    clearTimeout(this.#timer);
    const asked = ++this.#asked;
    this.#timer = setTimeout(async () => {
      const payload = { type: "autocomplete", user: store.me.id, channel: store.channel.id,
        name: this.context.commandName, options: this.context.values(), focused: this.option.name,
        value: this.text.value };
      const answer = await api.interact(payload, {}, { wait: true }).catch(() => null);
      if (asked !== this.#asked || document.activeElement !== this.text) return;
      const items = (answer?.choices ?? []).map((choice) => ({ key: choice, title: choice.name }));
      this.#helped ||= items.length > 0;
      const none = this.#helped ? "Nothing fits." : "";
      this.list.show(items, answer?.state === "answered" ? none : "No suggestions just now.");
    }, 160);
  }

  #choose(choice) {
    this.text.value = choice.name;
    this.text.dispatchEvent(new Event("input", { bubbles: true })); // the box grows with it
    clearTimeout(this.#timer);
    this.#asked++;
    this.#chosen = choice;
    this.list.hide();
  }

  value() {
    return this.#chosen?.name === this.text.value && this.filled ? this.#chosen.value : super.value();
  }
}

export function createField(option, context) {
  if (option.type === TYPE.ATTACHMENT) return new AttachmentField(option, context);
  if (option.autocomplete) return new AutocompleteField(option, context);
  if (option.choices?.length || [TYPE.BOOLEAN, TYPE.USER,
    TYPE.CHANNEL].includes(option.type)) return new ChoiceField(option, context);
  return new Field(option, context);
}
