// The fields of a form: text, menus, groups of choices, files. Each knows its label, its value and its error.

import { el, fileSize, icon } from "./dom.js";
import { markdown } from "./markdown.js";
import { Select } from "./select.js";
import { displayName, store } from "./store.js";

const TEXT = 4;
const FILES = 19;
const RADIO = 21;
const CHECKS = 22;
const CHECK = 23;
const LONGEST_TEXT = 4000;
let serial = 0;

class FormField {
  constructor(part, label, description) {
    this.part = part;
    this.name = part.custom_id;
    this.label = label;
    this.required = part.required !== false;
    this.id = `form-field-${++serial}`;
    this.problem = el("p", { class: "field-problem", id: `${this.id}-problem` });
    this.about = description && el("div", { class: "subtext", id: `${this.id}-about` }, markdown(description));
    this.node = this.build();
    this.node.addEventListener("input", () => this.complain(""));
  }

  /** The words above an input; `note` stands at their end. */
  row(input, note = null, { group = false } = {}) {
    const words = [this.label, this.required && el("span", { class: "needed", "aria-hidden": "true" }, " *"),
      !this.required && el("small", {}, " optional")];
    const title = group ? el("span", { class: "form-label", id: `${this.id}-label` }, words)
      : el("label", { class: "form-label", for: this.id }, words);
    this.control.setAttribute("aria-describedby", [this.about && `${this.id}-about`, `${this.id}-problem`].filter(Boolean).join(" "));
    if (this.required) this.control.setAttribute("aria-required", "true");
    return el("div", { class: "form-row" }, el("div", { class: "form-head" }, title, note), this.about, input, this.problem);
  }

  /** True: something is wrong, and it is said. */
  check() {
    const text = this.wrong();
    this.complain(text);
    return Boolean(text);
  }

  complain(text) {
    this.problem.textContent = text;
    this.control.setAttribute("aria-invalid", String(Boolean(text)));
  }

  focus() {
    this.control.focus();
  }
}

class TextField extends FormField {
  build() {
    const { placeholder, style, value } = this.part;
    const most = this.part.max_length ?? LONGEST_TEXT;
    const attributes = { id: this.id, placeholder, value: value ?? "", autocomplete: "off", dir: "auto" };
    this.control = style === 2 ? el("textarea", { ...attributes, rows: 4 }) : el("input", { ...attributes, type: "text" });
    const counter = el("small", { class: "counter", "aria-hidden": "true" });
    const count = () => {
      counter.textContent = `${this.control.value.length} / ${most}`;
      counter.classList.toggle("over", this.control.value.length > most);
    };
    this.control.addEventListener("input", count);
    count();
    return this.row(this.control, counter);
  }

  wrong() {
    const least = this.part.min_length ?? 0;
    const most = this.part.max_length ?? LONGEST_TEXT;
    const { length } = this.control.value;
    if (!this.control.value.trim()) return this.required ? `${this.label} is needed.` : "";
    if (length < least) return `At least ${least} characters, please; this has ${length}.`;
    if (length > most) return `At most ${most} characters, please; this has ${length}.`;
    return "";
  }

  collect(values) {
    values[this.name] = this.control.value;
  }
}

/** {least, most} of a field of which several can be chosen. */
function range(field, usual) {
  const least = field.part.min_values ?? 1; // missing or null: not said
  return { least: field.required ? Math.max(1, least) : least, most: field.part.max_values ?? usual };
}

function wrongCount(field, count, { least, most }, noun) {
  if (!count && !field.required) return "";
  if (!count) return `${field.label} is needed.`;
  if (count < least) return `At least ${least} ${noun}, please.`;
  return count > most ? `At most ${most} ${noun}, please.` : "";
}

class MenuField extends FormField {
  build() {
    const { part } = this;
    const options = part.type === 3 ? part.options
      : part.type === 8 ? store.channels.map((channel) => ({ value: channel.id, label: store.title(channel) }))
      : [...store.members, store.bot].map((user) => ({ value: user.id, label: displayName(user) }));
    this.select = new Select({ id: this.id, label: this.label, placeholder: part.placeholder, options, least: 0,
      most: part.max_values ?? 1, onchoose: () => this.complain("") });
    this.control = this.select.node;
    return this.row(this.control);
  }

  wrong() {
    return wrongCount(this, this.select.values.length, range(this, 1), "choices");
  }

  collect(values) {
    values[this.name] = this.select.values;
  }
}

class GroupField extends FormField {
  build() {
    const type = this.part.type === RADIO ? "radio" : "checkbox";
    this.inputs = this.part.options.map((option, index) => el("input", { type, name: this.id, value: option.value,
      id: `${this.id}-${index}`, checked: option.default }));
    this.control = el("div", { class: "choices", role: type === "radio" ? "radiogroup" : "group", id: this.id,
      "aria-labelledby": `${this.id}-label` }, this.part.options.map(({ label, description }, index) =>
      el("label", { class: "choice", for: `${this.id}-${index}` }, this.inputs[index],
        el("span", {}, label, description && el("small", {}, description)))));
    return this.row(this.control, null, { group: true });
  }

  get chosen() {
    return this.inputs.filter((input) => input.checked).map((input) => input.value);
  }

  wrong() {
    const most = this.part.type === RADIO ? 1 : this.inputs.length;
    return wrongCount(this, this.chosen.length, range(this, most), "choices");
  }

  collect(values) {
    values[this.name] = this.part.type === RADIO ? this.chosen[0] ?? null : this.chosen;
  }

  focus() {
    (this.inputs.find((input) => input.checked) ?? this.inputs[0]).focus();
  }
}

/** One box to tick; Discord does not let it be required. */
class CheckField extends FormField {
  build() {
    this.control = el("input", { id: this.id, type: "checkbox", checked: this.part.default,
      "aria-describedby": this.about ? `${this.id}-about` : null });
    return el("div", { class: "form-row" }, el("label", { class: "choice", for: this.id }, this.control, el("span", {}, this.label)),
      this.about, this.problem);
  }

  wrong() {
    return "";
  }

  collect(values) {
    values[this.name] = this.control.checked;
  }
}

class FilesField extends FormField {
  files = [];

  build() {
    const { most } = range(this, 1);
    this.control = el("input", { id: this.id, type: "file", class: "visually-hidden", multiple: most > 1,
      onchange: () => this.take(this.control.files) });
    this.list = el("ul", { class: "upload-files", "aria-label": `Files of ${this.label}`, hidden: true });
    const face = el("label", { class: "upload-face", for: this.id }, icon("clip"),
      most > 1 ? `Choose up to ${most} files, paste or drop them` : "Choose a file, paste or drop it");
    return this.row(el("div", { class: "upload" }, this.control, face, this.list));
  }

  take(files) {
    const { most } = range(this, 1);
    this.complain("");
    for (const file of files) {
      if (file.size > store.limits.file_bytes) this.complain(`${file.name} is larger than ${fileSize(store.limits.file_bytes)}.`);
      else if (most === 1) this.files = [file];
      else if (this.files.length >= most) this.complain(`At most ${most} files, please.`);
      else this.files.push(file);
    }
    this.control.value = "";
    this.#show();
  }

  wrong() {
    return wrongCount(this, this.files.length, range(this, 1), "files");
  }

  collect(_values, files) {
    this.files.forEach((file, index) => { files[index ? `${this.name}[${index}]` : this.name] = file; });
  }

  #show() {
    this.list.hidden = !this.files.length;
    this.list.replaceChildren(...this.files.map((file) => el("li", {}, thumbnail(file),
      el("bdi", { class: "file-name" }, file.name), el("small", {}, fileSize(file.size)),
      el("button", { class: "icon-button", type: "button", "aria-label": `Remove ${file.name}`, onclick: () => {
        this.files = this.files.filter((one) => one !== file);
        this.#show();
        this.focus();
      } }, icon("close")))));
  }
}

/** What a chosen file looks like, small. */
export function thumbnail(file) {
  if (!file.type.startsWith("image/") || file.type === "image/svg+xml") return icon("file");
  const url = URL.createObjectURL(file);
  return el("img", { src: url, alt: "", onload: () => URL.revokeObjectURL(url) });
}

const KINDS = { [TEXT]: TextField, [FILES]: FilesField, [RADIO]: GroupField, [CHECKS]: GroupField, [CHECK]: CheckField };

export const createFormField = (part, label, description) => new (KINDS[part.type] ?? MenuField)(part, label, description);
