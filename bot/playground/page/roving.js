// The list of messages is one stop of the Tab key: arrows go from message to message, Tab into the message's
// own links and buttons. Enter, the menu key, a right click and a long press open the message's menu.

const LONG_PRESS = 500;
const STILL = 10; // pixels that a finger may move while it presses

export class Roving {
  #current = null;

  /** viewOf(node) is the view of a message's element. */
  constructor(list, viewOf, toolbar) {
    this.list = list;
    this.viewOf = viewOf;
    this.toolbar = toolbar;
    list.addEventListener("focusin", (event) => this.#focused(event));
    list.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("pointerover", (event) => {
      const node = event.target.closest(".message");
      if (node && event.pointerType === "mouse" && !toolbar.node.contains(document.activeElement)) toolbar.attach(viewOf(node));
    });
    list.addEventListener("contextmenu", (event) => {
      const node = event.target.closest(".message");
      if (!node || event.target.closest("a, img") || String(getSelection())) return; // the browser's own menu is of use there
      event.preventDefault();
      if (this.touched) return; // the long press below opens it
      this.#open(node, event.button === 2 ? { x: event.clientX, y: event.clientY } : node);
    });
    this.#listenForLongPress();
    new MutationObserver(() => this.#keepOne()).observe(list, { childList: true });
  }

  /** The message before (-1) or after (1), or null. */
  beside(node, by) {
    let next = node;
    do next = by > 0 ? next.nextElementSibling : next.previousElementSibling;
    while (next && !next.matches(".message"));
    return next;
  }

  /** One message can always be reached by Tab: the last one that had the focus, else the newest. */
  #keepOne() {
    const view = this.#current?.isConnected && this.viewOf(this.#current);
    const newest = this.list.querySelector(".message:nth-last-child(1 of .message)");
    if (!newest || (view && this.list.contains(document.activeElement))) return;
    this.#mark(newest);
  }

  #mark(node) {
    if (node === this.#current) return;
    const before = this.#current && this.viewOf(this.#current);
    if (before) before.current = false;
    this.#current = node;
    this.viewOf(node).current = true;
  }

  #focused(event) {
    const node = event.target.closest(".message");
    if (!node) return;
    this.#mark(node);
    this.toolbar.attach(this.viewOf(node));
  }

  #key(event) {
    const node = event.target.closest(".message");
    if (!node || event.target.closest(".toolbar")) return;
    if (event.key === "Tab") return this.toolbar.attach(this.viewOf(node));
    if (event.key === "Escape" && event.target !== node) return node.focus();
    if (event.target !== node || event.ctrlKey || event.metaKey || event.altKey) return;
    const messages = () => this.list.querySelectorAll(".message");
    const next = { ArrowUp: () => this.beside(node, -1), ArrowDown: () => this.beside(node, 1), Home: () => messages()[0],
      End: () => [...messages()].at(-1) }[event.key];
    if (next) {
      event.preventDefault();
      next()?.focus();
      next()?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.#open(node, node);
    } else if (event.key === "r") {
      event.preventDefault();
      this.toolbar.actions.reply(this.viewOf(node).message);
    }
  }

  /** The menu opens when the finger is lifted: opened under it, the same press would close it again. */
  #listenForLongPress() {
    let timer = 0;
    let held = null; // {node, x, y}
    let start = null;
    const stop = () => {
      clearTimeout(timer);
      held?.node.classList.remove("held");
      held = null;
    };
    this.list.addEventListener("pointerdown", (event) => {
      this.touched = event.pointerType === "touch";
    });
    this.list.addEventListener("touchstart", ({ target, touches }) => {
      const node = target.closest(".message");
      stop();
      if (!node || touches.length > 1) return;
      start = { x: touches[0].clientX, y: touches[0].clientY };
      timer = setTimeout(() => {
        held = { node, ...start };
        node.classList.add("held");
        navigator.vibrate?.(10);
      }, LONG_PRESS);
    }, { passive: true });
    this.list.addEventListener("touchmove", ({ touches }) => {
      if (Math.hypot(touches[0].clientX - start?.x, touches[0].clientY - start?.y) > STILL) stop();
    }, { passive: true });
    this.list.addEventListener("touchcancel", stop);
    this.list.addEventListener("touchend", (event) => {
      const { node, x, y } = held ?? {};
      stop();
      if (!node) return;
      event.preventDefault(); // the release presses nothing
      setTimeout(() => this.#open(node, { x, y }));
    });
  }

  #open(node, anchor) {
    const view = this.viewOf(node);
    node.focus({ preventScroll: true });
    this.toolbar.openMenu(view, anchor);
  }
}
