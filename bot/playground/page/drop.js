// Files dropped anywhere on the page go into the message box, unless a dialog is open.

import { byId } from "./dom.js";

export function listenForFiles(add) {
  let depth = 0;
  const drop = byId("drop");
  const ours = (event) => event.dataTransfer?.types.includes("Files") && !document.querySelector("dialog[open]");
  addEventListener("dragenter", (event) => {
    if (ours(event)) drop.hidden = ++depth === 0;
  });
  addEventListener("dragleave", (event) => {
    if (ours(event)) drop.hidden = --depth <= 0;
  });
  addEventListener("dragover", (event) => event.dataTransfer?.types.includes("Files") && event.preventDefault());
  addEventListener("drop", (event) => {
    depth = 0;
    drop.hidden = true;
    if (!event.dataTransfer?.types.includes("Files") || event.defaultPrevented) return;
    event.preventDefault(); // the browser would leave the page to show the file
    if (ours(event)) add(event.dataTransfer.files);
  });
}
