// A form (modal) that the bot shows: text fields, menus, check boxes, files.

import { api } from "./api.js";
import { byId, el, icon } from "./dom.js";
import { markdown } from "./markdown.js";
import { store } from "./store.js";
import { toast } from "./toast.js";

export function openForm(interaction) {
  const dialog = byId("form-dialog");
  const { modal } = interaction;
  const controls = [];
  const rows = modal.components.map((node) => row(node, controls)).filter(Boolean);
  const problem = el("p", { class: "field-problem", role: "alert" });
  const form = el("form", { method: "dialog" },
    el("header", {}, el("h2", { id: "form-dialog-title" }, modal.title),
      el("button", { class: "icon-button", type: "button", "aria-label": "Close the form",
        onclick: () => dialog.close() }, icon("close"))),
    rows, problem,
    el("footer", {}, el("button", { class: "button", type: "button", onclick: () => dialog.close() }, "Cancel"),
      el("button", { class: "button primary", type: "submit" }, "Send")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const values = {};
    const files = {};
    for (const control of controls) control(values, files);
    try {
      await api.interact({ type: "modal", user: store.me.id, interaction: interaction.id, values }, files);
      dialog.close();
    } catch (error) {
      problem.textContent = error.message;
    }
  });
  dialog.replaceChildren(form);
  if (!dialog.open) dialog.showModal();
  form.querySelector("textarea, input, select")?.focus();
}

function row(node, controls) {
  if (node.type === 1) return el("div", {}, node.components.map((child) => labelled(child, child.label, "", controls)));
  if (node.type === 18) return labelled(node.component, node.label, node.description, controls);
  if (node.type === 10) return el("div", { class: "content" }, markdown(node.content));
  return null;
}

let serial = 0;

function labelled(part, label, description, controls) {
  const id = `form-field-${++serial}`;
  const required = part.required !== false;
  const { input, collect } = control(part, id, required);
  controls.push(collect);
  return el("div", { class: "form-row" }, el("label", { for: id }, label, required ? "" : el("small", {},
    " optional")), description && el("p", { class: "subtext" }, description), input);
}

/** The input for a component, and how its answer gets into `values` or `files`. */
function control(part, id, required) {
  const name = part.custom_id;
  if (part.type === 4) {
    const attributes = { id, required, maxlength: part.max_length, minlength: part.min_length,
      placeholder: part.placeholder, value: part.value ?? "" };
    const input = part.style === 2 ? el("textarea", { ...attributes, rows: 4 }) : el("input", { ...attributes,
      type: "text" });
    return { input, collect: (values) => { values[name] = input.value; } };
  }
  if (part.type === 19) {
    const input = el("input", { id, type: "file", required, multiple: (part.max_values ?? 1) > 1 });
    return { input, collect: (_, files) => [...input.files].forEach((file, index) => { files[index
      ? `${name}[${index}]` : name] = file; }) };
  }
  if (part.type === 23) {
    const input = el("input", { id, type: "checkbox", checked: part.default });
    return { input, collect: (values) => { values[name] = input.checked; } };
  }
  if ([3, 21, 22].includes(part.type)) {
    const many = part.type === 22 || (part.max_values ?? 1) > 1;
    const options = (part.options ?? []).map((option) => el("option", { value: option.value,
      selected: option.default }, option.label));
    const input = el("select", { id, required, multiple: many }, !many && el("option", { value: "" }, "Choose"), options);
    const chosen = () => [...input.selectedOptions].map((option) => option.value).filter(Boolean);
    return { input, collect: (values) => { values[name] = part.type === 21 ? chosen()[0] ?? null : chosen(); } };
  }
  toast("This form has a field that the playground does not know.");
  return { input: el("p", {}, "Not supported"), collect: () => {} };
}
