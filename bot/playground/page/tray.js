// Files that wait to be sent with the next message.

import { el, fileSize, icon } from "./dom.js";
import { store } from "./store.js";
import { toast } from "./toast.js";

const MOST = 10;

export class Tray {
  files = [];

  constructor() {
    this.node = el("ul", { class: "tray", "aria-label": "Attached files", hidden: true });
  }

  add(file) {
    if (this.files.length >= MOST) return toast(`A message takes at most ${MOST} files.`);
    if (file.size > store.limits.file_bytes) return toast(`${file.name} is larger than ${fileSize(store.limits.file_bytes)}.`);
    this.files.push(file);
    this.#show();
  }

  clear() {
    this.files = [];
    this.#show();
  }

  #show() {
    this.node.hidden = !this.files.length;
    this.node.replaceChildren(...this.files.map((file) => {
      const picture = file.type.startsWith("image/") && file.type !== "image/svg+xml";
      const drop = () => {
        this.files = this.files.filter((one) => one !== file);
        this.#show();
      };
      return el("li", {},
        picture ? el("img", { src: URL.createObjectURL(file), alt: "" }) : el("span", { class: "tray-file" }, icon("file")),
        el("span", { class: "file-name" }, file.name),
        el("button", { class: "icon-button", type: "button", "aria-label": `Remove ${file.name}`, onclick: drop },
          icon("close")));
    }));
  }
}
