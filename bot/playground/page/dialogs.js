// Small questions: the name of a new thread, where to forward a message, whether to delete.

import { byId, el, icon } from "./dom.js";
import { excerpt } from "./context.js";
import { moveFocus } from "./popup.js";
import { displayName, isThread, store } from "./store.js";

/** One dialog with a title, content and buttons. `submit()` may throw: its sentence is shown and the dialog stays. */
function ask(title, content, { action, submit, danger = false, focus = null }) {
  const problem = el("p", { class: "field-problem", role: "alert" });
  const send = el("button", { class: `button ${danger ? "danger" : "primary"}`, type: "submit" }, action);
  const form = el("form", { method: "dialog", novalidate: true },
    el("div", { class: "dialog-head" }, el("h2", { id: "ask-title" }, title),
      el("button", { class: "icon-button", type: "button", "aria-label": "Close", onclick: () => dialog.close() }, icon("close"))),
    content, problem,
    el("div", { class: "dialog-foot" }, el("button", { class: "button", type: "button", onclick: () => dialog.close() }, "Cancel"), send));
  const dialog = el("dialog", { class: "form-dialog", "aria-labelledby": "ask-title" }, form);
  const opener = document.activeElement;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    try {
      await submit();
      dialog.close();
    } catch (error) {
      problem.textContent = error.message;
      send.disabled = false;
    }
  });
  dialog.addEventListener("close", () => {
    const inside = dialog.contains(document.activeElement) || document.activeElement === document.body;
    dialog.remove();
    if (inside) (opener?.isConnected ? opener : byId("composer-input"))?.focus({ preventScroll: true });
  });
  document.body.append(dialog);
  dialog.showModal();
  focus?.focus();
}

const quote = (message) => el("blockquote", { class: "quoted" }, el("b", {}, el("bdi", {}, displayName(message.author))), " ",
  el("bdi", {}, excerpt(message)));

/** create(name) makes the thread. `message` is what it starts from, if it does. */
export function askThread(message, create) {
  const input = el("input", { id: "thread-name", type: "text", maxlength: 100, required: true, autocomplete: "off",
    value: message ? excerpt(message).slice(0, 40) : "" });
  const submit = async () => {
    if (!input.value.trim()) {
      input.focus();
      throw new Error("A thread needs a name.");
    }
    await create(input.value.trim());
  };
  ask("New thread", el("div", { class: "form-row" }, el("label", { for: "thread-name" }, "Name"), input, message && quote(message)),
    { action: "Create thread", submit, focus: input });
  input.select();
}

/** forward(channel) sends it. */
export function askForward(message, forward) {
  const targets = store.everything.filter((channel) => store.maySend(channel)
    && !(isThread(channel) && channel.thread_metadata.archived));
  let chosen = null;
  const list = el("div", { class: "targets", role: "radiogroup", "aria-label": "Forward to" });
  const search = el("input", { id: "forward-search", type: "search", placeholder: "Search", autocomplete: "off", "aria-label": "Search channels" });
  const show = () => {
    const found = targets.filter((channel) => store.title(channel).toLowerCase().includes(search.value.trim().toLowerCase()));
    if (!found.includes(chosen)) chosen = null;
    list.replaceChildren(...found.map((channel, index) => el("button", { class: "target", type: "button", role: "radio",
      "aria-checked": String(channel === chosen), tabindex: channel === chosen || (!chosen && !index) ? 0 : -1, onclick: () => {
        chosen = channel;
        show();
        list.querySelector("[aria-checked=true]").focus();
      } }, el("bdi", {}, store.title(channel)), icon("check"))));
    if (!found.length) list.append(el("p", { class: "subtext" }, "No such channel."));
  };
  search.addEventListener("input", show);
  list.addEventListener("keydown", (event) => {
    if (moveFocus(event, [...list.querySelectorAll("[role=radio]")])) document.activeElement.click();
  });
  show();
  const submit = () => {
    if (!chosen) throw new Error("Choose where the message goes.");
    return forward(chosen);
  };
  ask("Forward", el("div", { class: "form-row" }, quote(message), search, list), { action: "Forward", submit, focus: search });
}

export function askDelete(message, remove) {
  ask("Delete this message?", quote(message), { action: "Delete", danger: true, submit: remove });
}
