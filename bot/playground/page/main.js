// Starts the page and connects its parts.

import { api, listen } from "./api.js";
import { Composer } from "./composer.js";
import { byId, el } from "./dom.js";
import { openForm } from "./form.js";
import { Log } from "./log.js";
import { pending } from "./pending.js";
import { Sidebar } from "./sidebar.js";
import { store } from "./store.js";
import { toast } from "./toast.js";

const EXAMPLES = [
  "/imagine prompt: a red apple",
  "/imagine prompt: a fox, orange background count: 4",
  "/imagine prompt: a rocket guidance: 4 seed: 7",
];
const TYPING_SECONDS = 8;

const sidebar = new Sidebar();
const composer = new Composer({ say, run });
const log = new Log({ reply: (message) => composer.replyTo(message), run: runMessageCommand, changed: showWelcome });
let stopListening = () => {};
let typingTimer = 0;
let everConnected = false;
let botNews = 0;

// ----------------------------------------------------------------- actions

function say(content, files, replyTo) {
  return api.send(store.channel.id, { user: store.me.id, content, reply_to: replyTo }, files);
}

async function run(name, options, files) {
  const where = { user: store.me.id, channel: store.channel.id };
  const sent = await api.interact({ type: "command", ...where, name, options }, files);
  follow(sent, `/${name}`);
}

async function runMessageCommand(command, message) {
  const where = { user: store.me.id, channel: message.channel_id };
  try {
    follow(await api.interact({ type: "context", ...where, name: command.name, message: message.id }), command.name);
  } catch (error) {
    toast(error.message);
  }
}

/** Until the bot answers say so, and say so if it does not. */
async function follow(sent, label) {
  let note = null;
  const slow = setTimeout(() => {
    note = log.note(`Sending ${label}`, { busy: true });
  }, 350);
  const settled = await pending.settled(sent);
  clearTimeout(slow);
  note?.remove();
  if (settled.state !== "failed") return;
  const reason = store.botConnected ? "" : " Atelier is offline.";
  log.note(`${label}: The application did not respond.${reason}`);
}

// ------------------------------------------------------------------ events

const HANDLERS = {
  message({ message }) {
    if (message.channel_id !== store.channel.id) return sidebar.markUnread(message.channel_id);
    if (message.author.bot) showTyping(null);
    log.put(message);
  },
  message_deleted({ id }) {
    log.remove(id);
  },
  typing({ channel, user }) {
    if (channel === store.channel.id && user !== store.me.id) showTyping(user);
  },
  interaction({ interaction }) {
    pending.hear(interaction);
    if (interaction.answer === "modal") openForm(interaction);
  },
  bot({ connected }) {
    botNews += 1;
    store.botConnected = connected;
    showStatus();
    store.tell("bot");
  },
  commands: refresh,
  channels: refresh,
};

function connect() {
  stopListening();
  const opened = async () => {
    try {
      await refresh();
      await log.load(store.channel, store.me);
    } catch (error) {
      toast(error.message);
    }
  };
  const lost = () => {
    byId("status").dataset.state = "lost";
    byId("status").textContent = "Playground stopped";
  };
  stopListening = listen(store.me.id, (event) => HANDLERS[event.type]?.(event), opened, lost);
}

async function refresh() {
  const before = botNews;
  const state = await api.state();
  // An event that came while we asked is newer than the answer.
  if (botNews !== before) state.bot_connected = store.botConnected;
  store.takeState(state);
  showStatus();
}

// ------------------------------------------------------------------- shown

function showStatus() {
  const status = byId("status");
  everConnected ||= store.botConnected;
  status.dataset.state = store.botConnected ? "on" : everConnected ? "off" : "waiting";
  const text = store.botConnected ? "Atelier is online" : everConnected ? "Atelier is offline" : "Atelier is starting";
  if (status.textContent !== text) status.textContent = text;
}

function showChannel() {
  byId("channel-name").textContent = store.channel.name;
  byId("channel-topic").textContent = store.channel.topic ?? "";
  document.title = `#${store.channel.name} · Atelier playground`;
  composer.rename();
}

function showTyping(user) {
  clearTimeout(typingTimer);
  byId("typing").textContent = user ? `${store.nameOf(user)} is typing …` : "";
  if (user) typingTimer = setTimeout(() => showTyping(null), TYPING_SECONDS * 1000);
}

function showWelcome(empty) {
  const welcome = byId("welcome");
  welcome.hidden = !empty;
  if (!empty || !store.channel) return;
  welcome.replaceChildren(
    el("img", { src: "/page/mark.svg", alt: "", width: 72, height: 72 }),
    el("h2", {}, `Welcome to #${store.channel.name}`),
    el("p", {}, "Describe a picture and Atelier draws it, right here on your computer. Pick one to start, or type ", el("kbd", {}, "/"), " to see every command."),
    el("div", { class: "examples" }, EXAMPLES.map((line) => el("button", { class: "example", type: "button",
      onclick: () => composer.fill(line) }, example(line)))));
}

function example(line) {
  return line.split(/(\/imagine|\w+:)/).filter(Boolean).map((part) =>
    /^(\/imagine|\w+:)$/.test(part) ? el("span", { class: "key" }, part) : part);
}

// ------------------------------------------------------------ drag and drop

let dragDepth = 0;
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
addEventListener("dragenter", (event) => {
  if (carriesFiles(event)) byId("drop").hidden = ++dragDepth === 0;
});
addEventListener("dragleave", (event) => {
  if (carriesFiles(event)) byId("drop").hidden = --dragDepth <= 0;
});
addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
addEventListener("drop", (event) => {
  dragDepth = 0;
  byId("drop").hidden = true;
  if (!carriesFiles(event)) return;
  event.preventDefault();
  composer.addFiles(event.dataTransfer.files);
});

// "/" anywhere starts a command, as typing in the box does.
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, dialog")) return;
  event.preventDefault();
  composer.fill("/");
});

// ------------------------------------------------------------------- start

store.on("channel", () => {
  showChannel();
  log.load(store.channel, store.me).catch((error) => toast(error.message));
});
store.on("me", connect);
store.on("state", showChannel);

try {
  await refresh();
  connect();
  if (matchMedia("(hover: hover)").matches) byId("composer-input").focus();
} catch (error) {
  toast(error.message);
}
