// Embeds: a card with author, title, text, fields, pictures and a footer.

import { el, localPath } from "./dom.js";
import { openLightbox } from "./lightbox.js";
import { link } from "./links.js";
import { inline, markdown } from "./markdown.js";

const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "short" });
const usable = (url) => /^https?:\/\//.test(url ?? "");

/** The cards of a message. Embeds of one address show their pictures together, as on Discord. */
export function embeds(message) {
  const cards = [];
  for (const data of message.embeds) {
    const picture = media(message, data.image);
    const first = data.url && cards.find((card) => card.url === data.url);
    if (first && picture) first.pictures.push(picture);
    else cards.push({ url: data.url, data, pictures: picture ? [picture] : [], thumbnail: media(message, data.thumbnail) });
  }
  return cards.map(card);
}

/** Attachments that an embed shows are not shown a second time. */
export function shownInEmbeds(message) {
  const urls = message.embeds.flatMap(({ image, thumbnail, author, footer }) =>
    [image?.url, thumbnail?.url, author?.icon_url, footer?.icon_url]).filter(Boolean);
  return message.attachments.filter((attachment) => urls.some((url) => url === `attachment://${attachment.filename}`
    || samePath(url, attachment.url)));
}

/** {url, width, height, description, filename} of a picture of this server; the page fetches nothing from elsewhere. */
function media(message, part) {
  if (!part?.url) return null;
  const attachment = message.attachments.find(({ filename, url }) => part.url === `attachment://${filename}`
    || samePath(part.url, url));
  const url = attachment?.url ?? part.url;
  if (!url.includes("/cdn/attachments/")) return null;
  const { width = part.width, height = part.height } = attachment ?? {};
  const description = attachment?.description ?? part.description ?? "";
  return { url, width, height, description, filename: attachment?.filename ?? "picture.png" };
}

const samePath = (one, other) => one.split("?")[0] === other.split("?")[0];

function card({ data, pictures, thumbnail }) {
  const node = el("article", { class: "embed", "aria-label": data.title ? `Card: ${data.title}` : "Card" });
  if (data.color) node.style.setProperty("--embed", `#${data.color.toString(16).padStart(6, "0")}`);
  const text = el("div", { class: "embed-text" });
  if (data.author?.name) {
    text.append(el("p", { class: "embed-author" }, usable(data.author.url) ? link(data.author.url, data.author.name)
      : data.author.name));
  }
  if (data.title) {
    const title = inline(data.title);
    text.append(el("p", { class: "embed-title" }, usable(data.url) ? link(data.url, title) : title));
  }
  if (data.description) text.append(el("div", { class: "content" }, markdown(data.description)));
  node.append(text);
  if (thumbnail) node.append(button(thumbnail, [thumbnail], "embed-thumbnail", data.title));
  if (data.fields?.length) node.append(el("dl", {}, data.fields.map(field)));
  if (pictures.length) {
    node.append(el("div", { class: "embed-pictures", "data-count": pictures.length }, pictures.map((picture) =>
      button(picture, pictures, "embed-picture", data.title))));
  }
  const footer = [data.footer?.text, data.timestamp && moment.format(new Date(data.timestamp))].filter(Boolean);
  if (footer.length) node.append(el("p", { class: "embed-footer subtext" }, footer.join(" · ")));
  return node;
}

const field = ({ name, value, inline: narrow }) => el("div", { class: narrow ? "" : "wide" },
  el("dt", {}, inline(name)), el("dd", { class: "content" }, markdown(value)));

function button(picture, all, name, title) {
  const alt = picture.description || title || "Picture";
  const size = picture.width ? { width: picture.width, height: picture.height } : {};
  return el("button", { class: name, type: "button", "aria-label": `Open picture: ${alt}`,
    onclick: () => openLightbox(all, all.indexOf(picture)) },
    el("img", { src: localPath(picture.url), alt, draggable: "false", ...size }));
}
