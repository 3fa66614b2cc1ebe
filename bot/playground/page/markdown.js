// The part of Discord's markdown that bots use, rendered to DOM nodes. Text only ever becomes text nodes.

import { el } from "./dom.js";
import { store } from "./store.js";

const INLINE = [
  [/^\\([^A-Za-z0-9\s])/, (m) => m[1]],
  [/^``(.+?)``/s, (m) => el("code", {}, m[1].trim())],
  [/^`([^`\n]+)`/, (m) => el("code", {}, m[1])],
  [/^\*\*\*(?=\S)(.+?)\*\*\*/s, (m) => el("strong", {}, el("em", {}, inline(m[1])))],
  [/^\*\*(?=\S)(.+?)\*\*(?!\*)/s, (m) => el("strong", {}, inline(m[1]))],
  [/^__(?=\S)(.+?)__(?!_)/s, (m) => el("u", {}, inline(m[1]))],
  [/^~~(?=\S)(.+?)~~/s, (m) => el("s", {}, inline(m[1]))],
  [/^\|\|(?=\S)(.+?)\|\|/s, (m) => spoiler(m[1])],
  [/^\*(?=[^\s*])((?:\\.|[^*\\])+?)\*(?!\*)/s, (m) => el("em", {}, inline(m[1]))],
  [/^_(?=[^\s_])((?:\\.|[^_\\])+?)_(?![A-Za-z0-9_])/s, (m) => el("em", {}, inline(m[1]))],
  [/^<@!?(\d+)>/, (m) => el("span", { class: "mention" }, `@${store.nameOf(m[1])}`)],
  [/^<#(\d+)>/, (m) => el("span", { class: "mention" }, `#${channelName(m[1])}`)],
  [/^<\/([^:>]+):\d+>/, (m) => el("span", { class: "mention" }, `/${m[1]}`)],
  [/^<a?:(\w+):\d+>/, (m) => `:${m[1]}:`],
  [/^<t:(-?\d{1,12})(?::([tTdDfFR]))?>/, (m) => timestamp(Number(m[1]), m[2])],
  [/^\[([^\]\n]+)\]\(<?(https?:\/\/[^\s)>]+)>?\)/, (m) => link(m[2], inline(m[1]))],
  [/^<(https?:\/\/[^\s>]+)>/, (m) => link(m[1], m[1])],
  [/^https?:\/\/[^\s<>]*[^\s<>.,:;"'\])]/, (m) => link(m[0], m[0])],
];
const SPECIAL = /[\\`*_~|<[h]/g;

/** Inline markdown → array of nodes and strings. */
export function inline(text) {
  const out = [];
  let plain = "";
  let at = 0;
  while (at < text.length) {
    SPECIAL.lastIndex = at;
    const next = SPECIAL.exec(text);
    const stop = next ? next.index : text.length;
    plain += text.slice(at, stop);
    at = stop;
    if (at >= text.length) break;
    const rest = text.slice(at);
    const insideWord = rest[0] === "_" && /\w$/.test(plain);
    const found = insideWord ? null : firstMatch(rest);
    if (!found) {
      plain += text[at];
      at += 1;
      continue;
    }
    const node = found.make(found.match);
    if (typeof node === "string") plain += node;
    else {
      if (plain) out.push(plain);
      plain = "";
      out.push(node);
    }
    at += found.match[0].length;
  }
  if (plain) out.push(plain);
  return out;
}

function firstMatch(rest) {
  for (const [pattern, make] of INLINE) {
    const match = pattern.exec(rest);
    if (match) return { match, make };
  }
  return null;
}

/** Block markdown → one fragment. */
export function markdown(text) {
  const fragment = document.createDocumentFragment();
  const parts = text.split(/```(?:[\w+-]*\n)?([\s\S]*?)```/g);
  parts.forEach((part, index) => {
    if (index % 2) fragment.append(el("pre", {}, el("code", {}, part.replace(/\n$/, ""))));
    else fragment.append(...blocks(part.replace(index ? /^\n/ : /^(?!)/, "").replace(/\n$/, "")));
  });
  return fragment;
}

function blocks(text) {
  const out = [];
  let lines = [];
  const flush = (kind) => {
    if (!lines.length) return;
    if (kind === "quote") out.push(el("blockquote", {}, ...blocks(lines.join("\n"))));
    else if (kind === "list") out.push(el("ul", {}, lines.map((line) => el("li", {}, inline(line)))));
    else if (kind === "small") out.push(...lines.map((line) => el("p", { class: "subtext" }, inline(line))));
    else if (kind === "heading") out.push(...lines.map((line) => el("p", { class: "heading" }, inline(line))));
    else if (lines.join("").trim()) out.push(el("p", {}, inline(lines.join("\n"))));
    lines = [];
  };
  let current = "text";
  for (const line of text.split("\n")) {
    const [kind, content] = classify(line);
    if (kind !== current) flush(current);
    current = kind;
    lines.push(content);
  }
  flush(current);
  return out;
}

function classify(line) {
  let match;
  if ((match = /^>{1,3} ?(.*)$/.exec(line)) && line.startsWith("> ")) return ["quote", match[1]];
  if ((match = /^-# (.+)$/.exec(line))) return ["small", match[1]];
  if ((match = /^#{1,3} (.+)$/.exec(line))) return ["heading", match[1]];
  if ((match = /^[-*] (.+)$/.exec(line))) return ["list", match[1]];
  return ["text", line];
}

function spoiler(text) {
  const reveal = () => node.classList.add("shown");
  const node = el("span", { class: "spoiler", role: "button", tabindex: "0", title: "Spoiler" }, el("span", {},
    inline(text)));
  node.addEventListener("click", reveal);
  node.addEventListener("keydown", (event) => event.key === "Enter" && reveal());
  return node;
}

function link(url, content) {
  return el("a", { href: url, target: "_blank", rel: "noopener noreferrer nofollow" }, content);
}

function channelName(id) {
  return store.channels.find((channel) => channel.id === id)?.name ?? "deleted-channel";
}

const STYLES = {
  t: { timeStyle: "short" },
  T: { timeStyle: "medium" },
  d: { dateStyle: "short" },
  D: { dateStyle: "long" },
  f: { dateStyle: "long", timeStyle: "short" },
  F: { dateStyle: "full", timeStyle: "short" },
};

function timestamp(seconds, style = "f") {
  const date = new Date(seconds * 1000);
  const full = new Intl.DateTimeFormat(undefined, STYLES.F).format(date);
  const node = el("time", { datetime: date.toISOString(), title: full });
  if (style === "R") node.dataset.relative = seconds;
  node.textContent = style === "R" ? relative(seconds) : new Intl.DateTimeFormat(undefined, STYLES[style]).format(date);
  return node;
}

function relative(seconds) {
  const format = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
  const left = Math.round(seconds - Date.now() / 1000);
  const size = Math.abs(left);
  if (size < 60) return format.format(left, "second");
  if (size < 3600) return format.format(Math.round(left / 60), "minute");
  if (size < 86400) return format.format(Math.round(left / 3600), "hour");
  return format.format(Math.round(left / 86400), "day");
}

setInterval(() => {
  for (const node of document.querySelectorAll("time[data-relative]")) node.textContent = relative(Number(node.dataset.relative));
}, 1000);

/** The text without its marks, for one-line excerpts. */
export function plainText(text) {
  const holder = el("div", {});
  holder.append(markdown(text));
  return holder.textContent.replace(/\s+/g, " ").trim();
}
