// `<t:seconds:style>` timestamps, and the clock that keeps the relative ones right.

import { el } from "./dom.js";

const STYLES = {
  t: { timeStyle: "short" },
  T: { timeStyle: "medium" },
  d: { dateStyle: "short" },
  D: { dateStyle: "long" },
  f: { dateStyle: "long", timeStyle: "short" },
  F: { dateStyle: "full", timeStyle: "short" },
};
const UNITS = [["second", 1, 60], ["minute", 60, 60], ["hour", 3600, 24], ["day", 86400, 30], ["month", 2629746, 12],
  ["year", 31556952, Infinity]];
const words = new Intl.RelativeTimeFormat("en", { numeric: "always" });
const LATEST = 8_640_000_000_000; // seconds; a Date holds no more

/** The element, or null where that is no moment. */
export function timestamp(seconds, style = "f") {
  if (Math.abs(seconds) > LATEST) return null;
  const date = new Date(seconds * 1000);
  const full = new Intl.DateTimeFormat(undefined, STYLES.F).format(date);
  const node = el("time", { datetime: date.toISOString(), title: full });
  if (style === "R") node.dataset.relative = seconds;
  node.append(style === "R" ? relative(seconds) : new Intl.DateTimeFormat(undefined, STYLES[style]).format(date));
  return node;
}

/** "in 5 minutes", "2 days ago". */
function relative(seconds, now = Date.now() / 1000) {
  const left = Math.round(seconds - now);
  if (left === 0) return "now";
  for (const [unit, size, most] of UNITS) {
    const count = Math.round(left / size);
    if (Math.abs(count) < most) return words.format(count, unit);
  }
}

setInterval(() => {
  if (document.hidden) return;
  for (const node of document.querySelectorAll("time[data-relative]")) {
    const text = relative(Number(node.dataset.relative));
    if (node.firstChild.data !== text) node.firstChild.data = text;
  }
}, 1000);
