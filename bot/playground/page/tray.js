// Files that wait to be sent with the next message; each can be hidden as a spoiler and be described in words.

import { el, icon, fileSize } from "./dom.js";
import { thumbnail } from "./formfields.js";
import { store } from "./store.js";
import { toast } from "./toast.js";

const MOST = 10;
const LONGEST_DESCRIPTION = 1024;

export class Tray {
  #entries = []; // {file, spoiler, description}

  constructor() {
    this.node = el("ul", { class: "tray", "aria-label": "Attached files", hidden: true });
  }

  get files() {
    return this.#entries.map((entry) => entry.file);
  }

  /** What is sent: [{file, name, description}]. A name that starts with SPOILER_ hides its picture. */
  get uploads() {
    return this.#entries.map(({ file, spoiler, description }) => ({ file, description,
      name: spoiler ? `SPOILER_${file.name}` : file.name }));
  }

  add(file) {
    if (this.#entries.length >= MOST) return toast(`A message takes at most ${MOST} files.`);
    if (file.size > store.limits.file_bytes) return toast(`${file.name} is larger than ${fileSize(store.limits.file_bytes)}.`);
    this.#entries.push({ file, spoiler: false, description: "" });
    this.#show();
  }

  take(file) {
    this.#entries = this.#entries.filter((entry) => entry.file !== file);
    this.#show();
  }

  clear() {
    this.#entries = [];
    this.#show();
  }

  #show() {
    this.node.hidden = !this.#entries.length;
    this.node.replaceChildren(...this.#entries.map((entry) => this.#item(entry)));
  }

  #item(entry) {
    const { file } = entry;
    const item = el("li", { class: entry.spoiler ? "is-spoiler" : "" });
    const hide = el("button", { class: "icon-button", type: "button", "aria-pressed": String(entry.spoiler),
      "aria-label": `Spoiler: ${file.name}`, title: "Hide as a spoiler", onclick: () => {
        entry.spoiler = !entry.spoiler;
        hide.setAttribute("aria-pressed", String(entry.spoiler));
        item.classList.toggle("is-spoiler", entry.spoiler);
      } }, icon("eye"));
    const words = el("input", { type: "text", class: "tray-words", placeholder: "Describe it", maxlength: LONGEST_DESCRIPTION,
      "aria-label": `Description of ${file.name}`, value: entry.description, oninput: () => { entry.description = words.value; } });
    item.append(el("span", { class: "tray-picture" }, thumbnail(file)), el("bdi", { class: "file-name", title: file.name }, file.name),
      words, el("span", { class: "tray-tools" }, hide, el("button", { class: "icon-button", type: "button",
        "aria-label": `Remove ${file.name}`, onclick: () => this.take(file) }, icon("close"))));
    return item;
  }
}
