// A message's attachments: pictures in a grid, other files as cards. Edits replace pictures in place.

import { el, fileSize, icon, localPath } from "./dom.js";
import { openLightbox } from "./lightbox.js";

export const isPicture = (attachment) => attachment.content_type?.startsWith("image/") && attachment.width;
const isSpoiler = (attachment) => attachment.filename.startsWith("SPOILER_");

export class Gallery {
  #shown = "";
  #version = 0;

  /** changed() is called when other pictures stand there. */
  constructor(changed = () => {}) {
    this.node = el("div", { class: "attachments" });
    this.changed = changed;
  }

  /** Show these attachments. New pictures are loaded first and swapped in when ready: nothing flickers. */
  async update(attachments) {
    const wanted = JSON.stringify(attachments.map(({ id, description }) => [id, description]));
    if (wanted === (this.#shown || "[]")) return;
    this.#shown = wanted;
    const version = ++this.#version;
    const pictures = attachments.filter(isPicture);
    const replacing = this.node.childElementCount > 0;
    const tiles = pictures.map((picture, index) => tile(picture, () => openLightbox(pictures, index)));
    if (replacing) await Promise.race([Promise.all(tiles.map(loaded)), pause(2000)]);
    if (version !== this.#version) return;
    const files = attachments.filter((attachment) => !isPicture(attachment)).map(card);
    const parts = [];
    const ratios = new Set(pictures.map(({ width, height }) => (width / height).toFixed(2)));
    if (tiles.length) parts.push(el("div", { class: `gallery ${ratios.size > 1 ? "mixed" : ""}`, "data-count": tiles.length }, tiles));
    const focused = [...this.node.querySelectorAll(".tile-open")].indexOf(document.activeElement);
    this.node.replaceChildren(...parts, ...files);
    if (focused >= 0) (tiles[focused]?.querySelector(".tile-open") ?? this.node.closest(".message"))?.focus({ preventScroll: true });
    this.changed();
  }
}

function tile(picture, open) {
  const image = el("img", { src: localPath(picture.url), alt: picture.description || "", width: picture.width,
    height: picture.height, draggable: "false" });
  const label = picture.description ? `Open picture: ${picture.description}` : `Open picture ${picture.filename}`;
  const button = el("button", { class: "tile-open", type: "button", "aria-label": label, onclick: open }, image);
  const figure = el("figure", { class: "tile" }, button);
  figure.style.setProperty("--ratio", `${picture.width} / ${picture.height}`);
  if (isSpoiler(picture)) hide(figure, button);
  // Links expire after a day: a picture that does not load says so in words.
  image.addEventListener("error", () => figure.classList.add("gone"));
  if (picture.description) figure.append(...altBadge(picture.description));
  return figure;
}

/** Until it is pressed the picture is blurred, and neither Tab nor a screen reader reaches what is below. */
function hide(figure, button) {
  figure.classList.add("hidden-picture");
  button.inert = true;
  const cover = el("button", { class: "cover", type: "button", "aria-label": "Spoiler: show the picture", onclick: () => {
    figure.classList.remove("hidden-picture");
    button.inert = false;
    cover.remove();
    button.focus({ preventScroll: true });
  } }, el("span", { class: "cover-word" }, icon("eye"), "Spoiler"));
  figure.append(cover);
}

function altBadge(description) {
  const text = el("figcaption", { hidden: true, dir: "auto" }, description);
  const badge = el("button", { class: "alt", type: "button", "aria-expanded": "false",
    "aria-label": "ALT: description of the picture", title: "Description of the picture", onclick: () => {
    text.hidden = !text.hidden;
    badge.setAttribute("aria-expanded", String(!text.hidden));
  } }, "ALT");
  return [text, badge];
}

function card(attachment) {
  const name = attachment.filename.replace(/^SPOILER_/, "");
  return el("a", { class: "file-card", href: localPath(attachment.url), download: name },
    icon("file"), el("span", {}, el("bdi", { class: "file-name" }, name), el("small", {}, fileSize(attachment.size),
      isSpoiler(attachment) && " · spoiler", attachment.description && ` · ${attachment.description}`)));
}

const loaded = (figure) => figure.querySelector("img").decode().catch(() => {});
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
