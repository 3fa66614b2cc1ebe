// Embeds: a card with title, text, fields and picture.

import { el, localPath } from "./dom.js";
import { inline, markdown } from "./markdown.js";

export function embed(data) {
  const card = el("div", { class: "embed" });
  if (data.color) card.style.setProperty("--embed", `#${data.color.toString(16).padStart(6, "0")}`);
  if (data.author?.name) card.append(el("p", { class: "embed-author" }, data.author.name));
  if (data.title) card.append(el("p", { class: "embed-title" }, inline(data.title)));
  if (data.description) card.append(el("div", { class: "content" }, markdown(data.description)));
  if (data.fields?.length) {
    card.append(el("dl", {}, data.fields.map((field) =>
      el("div", { class: field.inline ? "" : "wide" }, el("dt", {}, inline(field.name)), el("dd", {},
        markdown(field.value))))));
  }
  const picture = data.image?.url ?? data.thumbnail?.url;
  // Only pictures of this server are shown: the page fetches nothing from elsewhere.
  if (picture?.includes("/cdn/attachments/")) card.append(el("img", { src: localPath(picture), alt: "" }));
  if (data.footer?.text) card.append(el("p", { class: "subtext" }, data.footer.text));
  return card;
}
