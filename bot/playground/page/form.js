// A form (modal) that the bot shows. What is wrong is said at its field; the form stays until the bot answered.

import { api } from "./api.js";
import { byId, el, icon } from "./dom.js";
import { createFormField } from "./formfields.js";
import { markdown } from "./markdown.js";
import { pending } from "./pending.js";
import { store } from "./store.js";

export function openForm(interaction) {
  const dialog = byId("form-dialog");
  const { modal } = interaction;
  const fields = [];
  const rows = modal.components.map((node) => row(node, fields)).filter(Boolean);
  const problem = el("p", { class: "field-problem", role: "alert" });
  const send = el("button", { class: "button primary", type: "submit" }, "Send");
  const form = el("form", { method: "dialog", novalidate: true },
    el("div", { class: "dialog-head" }, el("h2", { id: "form-dialog-title" }, modal.title),
      el("button", { class: "icon-button", type: "button", "aria-label": "Close the form",
        onclick: () => dialog.close() }, icon("close"))),
    el("p", { class: "form-from subtext" }, icon("shield"), `This form goes to ${store.nameOf(store.bot.id)}. Share no passwords.`),
    rows, problem,
    el("div", { class: "dialog-foot" }, el("button", { class: "button", type: "button", onclick: () => dialog.close() }, "Cancel"), send));
  const opener = document.activeElement;

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.textContent = "";
    const wrong = fields.filter((field) => field.check());
    if (wrong.length) return wrong[0].focus();
    const values = {};
    const files = {};
    for (const field of fields) field.collect(values, files);
    send.disabled = true;
    try {
      const payload = { type: "modal", user: store.me.id, interaction: interaction.id, values };
      const settled = await pending.settled(await api.interact(payload, files));
      if (settled.state === "failed") problem.textContent = "The application did not respond. Your text is still here.";
      else dialog.close();
    } catch (error) {
      const field = fields.find((one) => one.name === error.option);
      if (field) {
        field.complain(error.message);
        field.focus();
      } else problem.textContent = error.message;
    } finally {
      send.disabled = false;
    }
  });
  // Enter sends, as everywhere; in a paragraph it is a new line, and Ctrl+Enter sends.
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  for (const name of ["dragover", "drop"]) form.addEventListener(name, (event) => takeFiles(event, event.dataTransfer, fields));
  form.addEventListener("paste", (event) => takeFiles(event, event.clipboardData, fields));
  dialog.onclose = () => {
    dialog.replaceChildren();
    if (opener?.isConnected) opener.focus({ preventScroll: true });
    else byId("composer-input")?.focus();
  };
  dialog.replaceChildren(form);
  if (!dialog.open) dialog.showModal();
  fields[0]?.focus();
}

function row(node, fields) {
  if (node.type === 1) return el("div", { class: "form-rows" }, node.components.map((part) => field(part, part, fields)));
  if (node.type === 18) return field(node.component, node, fields);
  if (node.type === 10) return el("div", { class: "content" }, markdown(node.content));
  return null;
}

function field(part, { label, description }, fields) {
  const made = createFormField(part, label, description);
  fields.push(made);
  return made.node;
}

/** Pasted and dropped files go into the field under the pointer, else into the first that takes files. */
function takeFiles(event, data, fields) {
  const uploads = fields.filter((one) => one.take);
  if (!uploads.length || !data?.types.includes("Files")) return;
  event.preventDefault();
  event.stopPropagation();
  if (event.type !== "dragover") (uploads.find((one) => one.node.contains(event.target)) ?? uploads[0]).take(data.files);
}
