// A menu to choose from: one option or several, in messages and in forms.

import { el, icon } from "./dom.js";
import { moveFocus, openPopup } from "./popup.js";

let serial = 0;

/** options: [{value, label, description, emoji, default}].
 *  onchoose(values) is called when the choice is made: at once for one option, when the list closes for several. */
export class Select {
  constructor({ label, placeholder, options, least = 1, most = 1, disabled = false, id = "", onchoose = () => {} }) {
    Object.assign(this, { label, options, least, most: Math.min(most, options.length), onchoose });
    this.placeholder = placeholder || "Choose";
    this.values = options.filter((option) => option.default).map((option) => option.value);
    this.face = el("span", { class: "select-face" });
    this.node = el("button", { class: "select", type: "button", role: "combobox", "aria-haspopup": "listbox",
      "aria-expanded": "false", "aria-label": label, disabled, id: id || null,
      onclick: () => this.open(), onkeydown: (event) => {
        if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
        event.preventDefault();
        event.stopPropagation();
        this.open();
      } }, this.face, icon("chevron"));
    this.#show();
  }

  get many() {
    return this.most > 1;
  }

  open() {
    if (this.popup || this.node.getAttribute("aria-busy") === "true") return;
    const before = this.values.join("\n");
    const list = el("div", { class: "select-list", role: "listbox", id: `select-${++serial}`, "aria-label": this.label,
      "aria-multiselectable": this.many ? "true" : null });
    const nodes = this.options.map((option) => this.#option(option));
    list.append(...nodes);
    const most = this.many && el("p", { class: "select-note", role: "status" });
    this.note = most || null;
    const done = this.many && el("button", { class: "button primary", type: "button", onclick: () => this.popup.close() }, "Done");
    const body = el("div", {}, list, this.many && el("div", { class: "select-foot" }, most, done));
    body.addEventListener("keydown", (event) => {
      if (event.target !== done) moveFocus(event, nodes);
      if (event.key === "Tab" && !this.many) {
        event.preventDefault();
        this.popup.close();
      } else if (event.key === "Escape") this.values = before.split("\n").filter(Boolean);
    });
    this.popup = openPopup(body, this.node, { wide: true, onclose: () => {
      this.popup = null;
      this.node.setAttribute("aria-expanded", "false");
      this.node.removeAttribute("aria-controls");
      if (this.values.length < this.least) this.values = before.split("\n").filter(Boolean);
      this.#show();
      if (this.values.join("\n") !== before) this.onchoose(this.values);
    } });
    this.node.setAttribute("aria-expanded", "true");
    this.node.setAttribute("aria-controls", list.id);
    this.#count();
    (nodes.find((node) => node.getAttribute("aria-selected") === "true") ?? nodes[0])?.focus();
  }

  #option(option) {
    const chosen = this.values.includes(option.value);
    const node = el("button", { class: "select-option", type: "button", role: "option", tabindex: "-1",
      "aria-selected": String(chosen), onclick: () => this.#press(option, node) },
      option.emoji?.name && !option.emoji.id && el("span", { "aria-hidden": "true" }, option.emoji.name),
      el("span", { class: "select-words" }, el("b", {}, option.label), option.description && el("small", {}, option.description)),
      icon("check"));
    return node;
  }

  #press(option, node) {
    if (!this.many) {
      const again = this.values[0] === option.value;
      this.values = again && this.least === 0 ? [] : [option.value];
      return this.popup.close();
    }
    const chosen = this.values.includes(option.value);
    if (!chosen && this.values.length >= this.most) return this.#count(true);
    this.values = this.options.map(({ value }) => value).filter((value) =>
      value === option.value ? !chosen : this.values.includes(value));
    node.setAttribute("aria-selected", String(!chosen));
    this.#count();
  }

  #count(full = false) {
    if (!this.note) return;
    const range = this.least === this.most ? `${this.most}` : `${this.least} to ${this.most}`;
    this.note.textContent = full ? `At most ${this.most} can be chosen.` : `${this.values.length} chosen of ${range}`;
  }

  #show() {
    const chosen = this.options.filter((option) => this.values.includes(option.value)).map((option) => option.label);
    this.face.textContent = chosen.join(", ") || this.placeholder;
    this.node.classList.toggle("empty", !chosen.length);
    this.node.setAttribute("aria-label", chosen.length ? `${this.label}: ${chosen.join(", ")}` : this.label);
  }
}
