// A chosen command with its fields: the required ones first, the optional ones as chips to add.

import { TYPE, ValueError } from "./commands.js";
import { el, icon } from "./dom.js";
import { createField } from "./fields.js";

export class CommandCard {
  #fields = [];

  /** close() leaves the card. */
  constructor(command, close) {
    this.command = command;
    this.grid = el("div", { class: "fields" });
    this.chips = el("div", { class: "chips", role: "group", "aria-label": "Optional fields" });
    this.node = el("div", { class: "command-card", role: "group", "aria-label": `Command /${command.name}` },
      el("div", { class: "command-head" },
        el("b", {}, `/${command.name}`), el("span", {}, command.description),
        el("button", { class: "icon-button", type: "button", "aria-label": "Leave the command", onclick: close },
          icon("close"))),
      this.grid, this.chips);
    for (const option of command.options.filter((one) => one.required)) this.#add(option);
    this.#showChips();
  }

  focus() {
    const empty = this.#fields.find((field) => !field.filled) ?? this.#fields[0];
    if (empty) empty.focus();
    else this.node.querySelector(".command-head button").focus();
  }

  /** Fill in what was typed so far. */
  fill(values) {
    for (const [name, raw] of Object.entries(values)) {
      const option = this.command.options.find((one) => one.name === name);
      if (option) this.#field(option).raw = raw;
    }
    this.#showChips();
  }

  /** A pasted or dropped file goes into the first attachment field that is free. False: there is none. */
  takeFile(file) {
    const options = this.command.options.filter((option) => option.type === TYPE.ATTACHMENT);
    const free = options.find((option) => !this.#fields.some((field) => field.option === option && field.filled));
    if (!free) return false;
    this.#field(free).take(file);
    this.#showChips();
    return true;
  }

  /** {options, files}, or null after showing what is wrong. */
  collect() {
    const options = {};
    const files = {};
    let wrong = null;
    for (const field of this.#fields) {
      try {
        const value = field.value();
        field.complain("");
        if (value instanceof File) files[field.option.name] = value;
        else if (value !== undefined) options[field.option.name] = value;
      } catch (error) {
        if (!(error instanceof ValueError)) throw error;
        field.complain(error.message);
        wrong ??= field;
      }
    }
    wrong?.focus();
    return wrong ? null : { options, files };
  }

  /** Show a refusal at its field. False: there is no such field. */
  complain(name, text) {
    const field = this.#fields.find((one) => one.option.name === name);
    field?.complain(text);
    field?.focus();
    return Boolean(field);
  }

  #field(option) {
    return this.#fields.find((field) => field.option === option) ?? this.#add(option);
  }

  #add(option) {
    const context = {
      commandName: this.command.name,
      values: () => Object.fromEntries(this.#fields.filter((one) => one.filled && one.option !== option
        && one.option.type !== TYPE.ATTACHMENT).map((one) => [one.option.name, one.raw])),
      remove: (field) => this.#remove(field),
    };
    const field = createField(option, context);
    this.#fields.push(field);
    this.grid.append(field.node);
    return field;
  }

  #remove(field) {
    this.#fields = this.#fields.filter((one) => one !== field);
    field.node.remove();
    this.#showChips();
    this.focus();
  }

  #showChips() {
    const left = this.command.options.filter((option) => !this.#fields.some((field) => field.option === option));
    this.chips.replaceChildren(...left.map((option) =>
      el("button", { class: "chip", type: "button", title: option.description, "aria-label": `Add ${option.name}`,
        onclick: () => {
        const field = this.#add(option);
        this.#showChips();
        field.focus();
      } }, icon("plus"), option.name)));
  }
}
