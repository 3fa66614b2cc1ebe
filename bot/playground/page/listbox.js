// A list to choose from while typing: arrows move, Enter and Tab choose, Escape closes.

import { el } from "./dom.js";

export class Listbox {
  #items = [];
  #active = 0;
  #input = null;

  /** choose(key) is called with the chosen item's key. */
  constructor(id, label, choose) {
    this.choose = choose;
    this.node = el("div", { class: "listbox", id, role: "listbox", "aria-label": label, hidden: true });
    // Pressing must not take the focus from the input.
    this.node.addEventListener("pointerdown", (event) => event.preventDefault());
  }

  /** The text input that this list belongs to. */
  attach(input) {
    this.#input = input;
    input.setAttribute("aria-autocomplete", "list");
    input.setAttribute("aria-controls", this.node.id);
  }

  get open() {
    return !this.node.hidden;
  }

  /** items: [{key, title, detail}] */
  show(items, emptyText = "") {
    this.#items = items;
    this.#active = 0;
    this.node.replaceChildren(...items.map((item, index) =>
      el("div", { class: "option", role: "option", id: `${this.node.id}-${index}`,
        onclick: () => this.choose(item.key), onpointermove: () => this.#mark(index) },
        el("b", {}, item.title), item.detail && el("span", {}, item.detail))));
    if (!items.length && emptyText) this.node.append(el("p", {}, emptyText));
    this.node.hidden = !items.length && !emptyText;
    this.#mark(0);
  }

  hide() {
    this.node.hidden = true;
    this.#items = [];
    this.#input?.removeAttribute("aria-activedescendant");
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

  #mark(index) {
    this.#active = index;
    [...this.node.querySelectorAll("[role=option]")].forEach((node, number) => {
      node.setAttribute("aria-selected", String(number === index));
      if (number === index) node.scrollIntoView({ block: "nearest" });
    });
    if (this.#items.length) this.#input?.setAttribute("aria-activedescendant", `${this.node.id}-${index}`);
  }
}
