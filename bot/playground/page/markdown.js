// The part of Discord's markdown that bots use, rendered to DOM nodes. Text only ever becomes text nodes.

import { el } from "./dom.js";
import { jumpLink, link } from "./links.js";
import { spoiler } from "./spoiler.js";
import { store } from "./store.js";
import { timestamp } from "./times.js";

const DEEPEST = 8; // nested marks; deeper ones stay as they were typed

/** By the character that a rule starts with. `inner` renders what stands between the marks. */
const RULES = {
  "\\": [[/^\\([^A-Za-z0-9\s])/, (m) => m[1]]],
  "`": [
    [/^``(.+?)``/s, (m) => el("code", {}, m[1].trim())],
    [/^`([^`\n]+)`/, (m) => el("code", {}, m[1])],
  ],
  "*": [
    [/^\*\*\*(?=\S)(.+?)\*\*\*/s, (m, inner) => el("strong", {}, el("em", {}, inner(m[1])))],
    [/^\*\*(?=\S)(.+?)\*\*(?!\*)/s, (m, inner) => el("strong", {}, inner(m[1]))],
    [/^\*(?=[^\s*])((?:\\.|[^*\\])+?)\*(?!\*)/s, (m, inner) => el("em", {}, inner(m[1]))],
  ],
  "_": [
    [/^__(?=\S)(.+?)__(?!_)/s, (m, inner) => el("u", {}, inner(m[1]))],
    [/^_(?=[^\s_])((?:\\.|[^_\\])+?)_(?![A-Za-z0-9_])/s, (m, inner) => el("em", {}, inner(m[1]))],
  ],
  "~": [[/^~~(?=\S)(.+?)~~/s, (m, inner) => el("s", {}, inner(m[1]))]],
  "|": [[/^\|\|(?=\S)(.+?)\|\|/s, (m, inner) => spoiler(inner(m[1]))]],
  "<": [
    [/^<@!?(\d+)>/, (m) => mention(`@${store.nameOf(m[1])}`)],
    [/^<@&\d+>/, () => mention("@role")],
    [/^<#(\d+)>/, (m) => jumpLink(m[1])],
    [/^<\/([^:>]+):\d+>/, (m) => mention(`/${m[1]}`)],
    [/^<a?:(\w+):\d+>/, (m) => `:${m[1]}:`],
    [/^<t:(-?\d{1,13})(?::([tTdDfFR]))?>/, (m) => timestamp(Number(m[1]), m[2]) ?? m[0]],
    [/^<(https?:\/\/[^\s>]+)>/, (m) => link(m[1])],
  ],
  "[": [[/^\[((?:\\.|[^\]\\\n])+)\]\(<?(https?:\/\/[^\s)>]+)>?(?: "[^"\n]*")?\)/, (m, inner) => link(m[2], inner(m[1]))]],
  h: [[/^https?:\/\/[^\s<>]*[^\s<>.,:;"'\])*|]/, (m) => link(m[0])]],
};
const SPECIAL = /[\\`*_~|<[]|\bh(?=ttps?:\/\/)/g;

const mention = (text) => el("span", { class: "mention" }, text);

/** Inline markdown → array of nodes and strings. */
export function inline(text, depth = 0) {
  const out = [];
  let plain = "";
  let at = 0;
  while (at < text.length) {
    SPECIAL.lastIndex = at;
    const next = depth > DEEPEST ? null : SPECIAL.exec(text);
    const stop = next ? next.index : text.length;
    plain += text.slice(at, stop);
    at = stop;
    if (at >= text.length) break;
    const insideWord = text[at] === "_" && /\w$/.test(plain);
    const found = insideWord ? null : firstMatch(text.slice(at));
    if (!found) {
      plain += text[at];
      at += 1;
      continue;
    }
    const node = found.make(found.match, (inside) => inline(inside, depth + 1));
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
  for (const [pattern, make] of RULES[rest[0]]) {
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

const item = (line) => el("li", {}, inline(line));
const BLOCKS = {
  quote: (lines) => [el("blockquote", {}, ...blocks(lines.join("\n"), { quoted: true }))],
  list: (lines) => [el("ul", {}, lines.map(item))],
  numbers: (lines) => [el("ol", {}, lines.map(item))],
  small: (lines) => lines.map((line) => el("p", { class: "subtext" }, inline(line))),
  heading: (lines) => lines.map((line) => el("p", { class: "heading" }, inline(line))),
  text: (lines) => (lines.join("").trim() ? [el("p", {}, inline(lines.join("\n")))] : []),
};

/** Quotes do not nest, as on Discord. */
function blocks(text, { quoted = false } = {}) {
  const out = [];
  let current = "text";
  let lines = [];
  for (const line of text.split("\n")) {
    const [kind, content] = classify(line, quoted);
    if (kind !== current && lines.length) {
      out.push(...BLOCKS[current](lines));
      lines = [];
    }
    current = kind;
    lines.push(content);
  }
  return lines.length ? [...out, ...BLOCKS[current](lines)] : out;
}

function classify(line, quoted) {
  let match;
  if (!quoted && (match = /^> (.*)$/.exec(line))) return ["quote", match[1]];
  if ((match = /^-# (.+)$/.exec(line))) return ["small", match[1]];
  if ((match = /^#{1,3} (.+)$/.exec(line))) return ["heading", match[1]];
  if ((match = /^ *[-*] (.+)$/.exec(line))) return ["list", match[1]];
  if ((match = /^\d+\. (.+)$/.exec(line))) return ["numbers", match[1]];
  return ["text", line];
}

/** The text without its marks, for one-line excerpts. What a spoiler hides stays hidden. */
export function plainText(text) {
  const holder = el("div", {});
  holder.append(markdown(text.slice(0, 400)));
  for (const node of holder.querySelectorAll(".spoiler")) node.replaceChildren("(spoiler)");
  for (const node of holder.querySelectorAll("p, li, pre")) node.append(" ");
  return holder.textContent.replace(/\s+/g, " ").trim();
}
