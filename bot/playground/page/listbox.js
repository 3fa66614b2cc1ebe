// A list to choose from while typing: arrows move, Enter and Tab choose, Escape closes.

import { el } from "./dom.js";

export class Listbox {
  #items = [];
  #active = 0;
  #input = null;

  /** choose(key) is called with the chosen item's key. */
  constructor(id, label, choose) {
    this.choose = choose;
    this.list = el("div", { class: "listbox", id, role: "listbox", "aria-label": label, hidden: true });
    this.empty = el("p", { role: "status" });
    this.node = el("div", {}, this.list, this.empty);
    // Pressing must not take the focus from the input.
    this.node.addEventListener("pointerdown", (event) => event.preventDefault());
  }

  /** The text input that this list belongs to. */
  attach(input) {
    this.#input = input;
    input.setAttribute("aria-autocomplete", "list");
  }

  get open() {
    return !this.list.hidden || this.empty.textContent !== "";
  }

  /** items: [{key, title, detail}] */
  show(items, emptyText = "") {
    this.#items = items;
    this.#active = 0;
    this.list.replaceChildren(...items.map((item, index) =>
      el("div", { class: "option", role: "option", id: `${this.list.id}-${index}`,
        onclick: () => this.choose(item.key), onpointermove: () => this.#mark(index) },
        el("b", {}, item.title), item.detail && el("span", {}, item.detail))));
    this.list.hidden = !items.length;
    this.#tell(items.length ? "" : emptyText);
    this.#describe();
    this.#mark(0);
  }

  hide() {
    this.list.hidden = true;
    this.#items = [];
    this.#tell("");
    this.#describe();
  }

  /** Handle a key of the input. True: it was ours. */
  key(event) {
    if (!this.open || event.isComposing) return false;
    const count = this.#items.length;
    if (event.key === "ArrowDown" && count) this.#mark((this.#active + 1) % count);
    else if (event.key === "ArrowUp" && count) this.#mark((this.#active + count - 1) % count);
    else if ((event.key === "Enter" || event.key === "Tab") && count
      && !event.shiftKey) this.choose(this.#items[this.#active].key);
    else if (event.key === "Escape") this.hide();
    else return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  #tell(text) {
    this.empty.className = text ? "listbox listbox-empty" : "";
    if (this.empty.textContent !== text) this.empty.textContent = text;
  }

  /** The input is a combobox while there is something to choose, and an ordinary text box otherwise. */
  #describe() {
    const open = this.#items.length > 0;
    const states = { role: "combobox", "aria-expanded": "true", "aria-controls": this.list.id };
    for (const [name, value] of Object.entries(states)) {
      if (open) this.#input?.setAttribute(name, value);
      else this.#input?.removeAttribute(name);
    }
    if (!open) this.#input?.removeAttribute("aria-activedescendant");
  }

  #mark(index) {
    this.#active = index;
    [...this.list.querySelectorAll("[role=option]")].forEach((node, number) => {
      node.setAttribute("aria-selected", String(number === index));
      if (number === index) node.scrollIntoView({ block: "nearest" });
    });
    if (this.#items.length) this.#input?.setAttribute("aria-activedescendant", `${this.list.id}-${index}`);
  }
}
