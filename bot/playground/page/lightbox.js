// One picture, large: arrows go through its message's pictures, Escape closes.

import { byId, el, icon, localPath } from "./dom.js";

export function openLightbox(pictures, index) {
  const dialog = byId("lightbox");
  const opener = document.activeElement;
  let current = index;

  const show = () => {
    const picture = pictures[current];
    const path = localPath(picture.url);
    const image = el("img", { src: path, alt: picture.description || "" });
    // Small pictures are shown several times their size; the browser smooths them.
    const scale = Math.max(1, Math.min(8, 768 / Math.max(picture.width || 768, picture.height || 768)));
    image.style.width = `${(picture.width || 768) * scale}px`;
    const many = pictures.length > 1;
    dialog.replaceChildren(
      el("div", { class: "lightbox-stage" },
        many && arrow("Previous picture", "left", -1), image, many && arrow("Next picture", "right", 1)),
      el("div", { class: "lightbox-bar" },
        el("p", {}, picture.description || picture.filename,
          el("small", {}, `${picture.width || "?"} × ${picture.height || "?"}${many ? `,
            ${current + 1} of ${pictures.length}` : ""}`)),
        el("a", { class: "button", href: path, download: picture.filename }, icon("save"), "Download"),
        el("button", { class: "icon-button", type: "button", "aria-label": "Close the picture",
          onclick: () => dialog.close() }, icon("close"))));
  };
  const move = (by) => {
    current = (current + by + pictures.length) % pictures.length;
    show();
  };
  const arrow = (label, name, by) =>
    el("button", { class: "icon-button", type: "button", "aria-label": label, onclick: () => move(by) }, icon(name));

  dialog.onkeydown = (event) => {
    if (event.key === "ArrowLeft") move(-1);
    if (event.key === "ArrowRight") move(1);
  };
  dialog.onclick = (event) => {
    if (event.target === dialog || event.target.classList.contains("lightbox-stage")) dialog.close();
  };
  dialog.onclose = () => opener?.focus?.();
  show();
  dialog.showModal();
}
