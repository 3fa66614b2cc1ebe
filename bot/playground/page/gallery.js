// A message's attachments: pictures in a grid, other files as cards. Edits replace pictures in place.

import { el, fileSize, icon, localPath } from "./dom.js";
import { openLightbox } from "./lightbox.js";

export const isPicture = (attachment) => attachment.content_type?.startsWith("image/") && attachment.width;
const isSpoiler = (attachment) => attachment.filename.startsWith("SPOILER_");

export class Gallery {
  #shown = "";
  #version = 0;

  constructor() {
    this.node = el("div", { class: "attachments" });
  }

  /** Show these attachments. New pictures are loaded first and swapped in when ready: nothing flickers. */
  async update(attachments) {
    const wanted = attachments.map((attachment) => attachment.id).join();
    if (wanted === this.#shown) return;
    this.#shown = wanted;
    const version = ++this.#version;
    const pictures = attachments.filter(isPicture);
    const replacing = this.node.childElementCount > 0;
    const tiles = pictures.map((picture, index) => tile(picture, () => openLightbox(pictures, index)));
    if (replacing) await Promise.race([Promise.all(tiles.map(loaded)), pause(2000)]);
    if (version !== this.#version) return;
    const files = attachments.filter((attachment) => !isPicture(attachment)).map(card);
    const parts = [];
    if (tiles.length) parts.push(el("div", { class: "gallery", "data-count": Math.min(tiles.length, 5) }, tiles));
    this.node.replaceChildren(...parts, ...files);
  }
}

function tile(picture, open) {
  const image = el("img", { src: localPath(picture.url), alt: picture.description || "", width: picture.width,
    height: picture.height, draggable: "false" });
  const label = picture.description ? `Open picture: ${picture.description}` : `Open picture ${picture.filename}`;
  const button = el("button", { class: "tile-open", type: "button", "aria-label": label, onclick: open }, image);
  const figure = el("figure", { class: "tile" }, button);
  figure.style.setProperty("--ratio", `${picture.width} / ${picture.height}`);
  if (isSpoiler(picture)) {
    figure.classList.add("hidden-picture");
    const cover = el("button", { class: "cover", type: "button", onclick: () => {
      figure.classList.remove("hidden-picture");
      cover.remove();
      button.focus();
    } }, icon("eye"), "Spoiler: show");
    figure.append(cover);
  }
  if (picture.description) figure.append(...altBadge(picture.description));
  return figure;
}

function altBadge(description) {
  const text = el("figcaption", { hidden: true }, description);
  const badge = el("button", { class: "alt", type: "button", "aria-expanded": "false",
    title: "Description of the picture", onclick: () => {
    text.hidden = !text.hidden;
    badge.setAttribute("aria-expanded", String(!text.hidden));
  } }, "ALT");
  return [text, badge];
}

function card(attachment) {
  return el("a", { class: "file-card", href: localPath(attachment.url), download: attachment.filename },
    icon("file"), el("span", {}, el("b", {}, attachment.filename), el("small", {}, fileSize(attachment.size))));
}

const loaded = (figure) => figure.querySelector("img").decode().catch(() => {});
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
