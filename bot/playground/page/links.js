// Links in messages: to elsewhere (a new tab), and to messages and channels of this page (jumps).

import { el, icon } from "./dom.js";
import { store } from "./store.js";

const JUMP = /^https?:\/\/(?:(?:www|canary|ptb)\.)?discord(?:app)?\.com\/channels\/(\d+|@me)\/(\d+)(?:\/(\d+))?\/?$/;

export function link(url, content) {
  const jump = JUMP.exec(url);
  if (jump) return jumpLink(jump[2], jump[3], content);
  return el("a", { href: url, title: url, target: "_blank", rel: "noopener noreferrer nofollow" }, content ?? url);
}

/** A link that opens a channel of this page, at a message where one is given. */
export function jumpLink(channelId, messageId = "", content = null) {
  const channel = store.channelOf(channelId);
  const where = new URLSearchParams({ channel: channelId, ...(messageId && { message: messageId }) });
  const label = content ?? [channel ? store.title(channel) : "#unknown", messageId && icon("message")];
  return el("a", { class: content ? "jump" : "jump mention", href: `/?${where}`,
    title: messageId ? "Go to the message" : "Go to the channel",
    "aria-label": content ? null : `${channel ? store.title(channel) : "unknown channel"}${messageId ? ", message" : ""}`,
    "data-channel": channelId, "data-message": messageId }, label);
}

/** One listener for all jumps: a plain press stays in the page, every other one is the browser's. */
export function onJump(go) {
  document.addEventListener("click", (event) => {
    const anchor = event.target.closest?.("a.jump");
    if (!anchor || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(anchor.dataset.channel, anchor.dataset.message);
  });
}
