// Light or dark. Not a module: it runs before the first paint, so that no page flashes in the wrong colours.
"use strict";
{
  const KEY = "playground.theme";
  const COLOURS = { light: "#faf9f6", dark: "#191817" };
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  const kept = () => {
    const theme = localStorage.getItem(KEY);
    return theme in COLOURS ? theme : "system";
  };

  const apply = () => {
    const theme = kept();
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    const shown = theme === "system" ? (system.matches ? "dark" : "light") : theme;
    document.querySelector("meta[name=theme-color]").content = COLOURS[shown];
    for (const input of document.querySelectorAll("input[name=theme]")) input.checked = input.value === theme;
  };

  apply();
  system.addEventListener("change", apply);
  addEventListener("storage", (event) => event.key === KEY && apply()); // another tab changed it
  addEventListener("DOMContentLoaded", apply);
  addEventListener("change", (event) => {
    if (!event.target.matches?.("input[name=theme]")) return;
    localStorage.setItem(KEY, event.target.value);
    apply();
  });
}
