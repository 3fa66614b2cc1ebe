// Starts the page and connects its parts.

import { rememberMember, wantedMember, wantedPlace } from "./address.js";
import { api, listen } from "./api.js";
import { Composer } from "./composer.js";
import { askDelete, askForward, askThread } from "./dialogs.js";
import { byId } from "./dom.js";
import { listenForFiles } from "./drop.js";
import { openForm } from "./form.js";
import { gated, showGate } from "./gate.js";
import { showHeader, showTitle, showWelcome } from "./header.js";
import { onJump } from "./links.js";
import { Log } from "./log.js";
import { pending } from "./pending.js";
import { Sidebar } from "./sidebar.js";
import { store } from "./store.js";
import { toast } from "./toast.js";
import { unread } from "./unread.js";

const TYPING_SECONDS = 8;

const sidebar = new Sidebar();
const composer = new Composer({ say, run });
const log = new Log({
  reply: (message) => composer.replyTo(message),
  run: runMessageCommand,
  forward: (message) => askForward(message, (channel) => forward(channel, message)),
  thread: (message) => askThread(message, (name) => createThread(name, message)),
  remove: (message) => askDelete(message, () => api.remove(message.channel_id, message.id, store.me.id)),
  changed: (empty) => showWelcome(empty, (line) => composer.fill(line)),
});
const headerActions = { newThread: () => askThread(null, (name) => createThread(name)), archive };
let stopListening = () => {};
let typingTimer = 0;
let everConnected = false;
let botNews = 0;
let refreshing = false;
let refreshWanted = false;
let place = ""; // the channel and member that the messages are of
let loading = Promise.resolve();

// ----------------------------------------------------------------- actions

function say(content, uploads, reply) {
  return api.send(store.channel.id, { user: store.me.id, content, ...reply }, uploads);
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

async function forward(channel, message) {
  await api.forward(channel.id, store.me.id, message);
  toast(`Forwarded to ${store.title(channel)}.`, { quiet: true });
}

async function createThread(name, message = null) {
  const thread = await api.createThread(store.channel.id, { user: store.me.id, name, ...(message && { message: message.id }) });
  await refresh();
  const made = store.channelOf(thread.id);
  if (made) store.open(made);
}

async function archive(thread, archived) {
  try {
    await api.changeThread(thread.id, { user: store.me.id, archived });
  } catch (error) {
    toast(error.message);
  }
}

async function jump(channelId, messageId) {
  const channel = store.channelOf(channelId);
  if (!channel) return toast("You can't see that channel.");
  sidebar.toggle(false);
  if (channel.id !== store.channel.id) store.open(channel);
  else if (log.shown !== place) showPlace();
  await loading;
  if (messageId && !gated(channel) && !(await log.show(messageId))) toast("That message is not there any more.");
}

// ------------------------------------------------------------------ events

const HANDLERS = {
  message({ message }) {
    if (message.channel_id !== store.channel.id) return elsewhere(message);
    unread.saw(message);
    if (gated(store.channel)) return;
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
  commands: refreshSoon,
  channels: refreshSoon,
  members: refreshSoon,
};

function elsewhere(message) {
  if (!unread.add(message) || message.guild_id) return;
  byId("settled").textContent = `New direct message from ${store.nameOf(message.author.id)}`;
}

function connect() {
  stopListening();
  const opened = async () => {
    try {
      const before = place;
      await refresh();
      await (place === before ? showPlace() : loading);
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
  const asked = store.me?.id;
  const state = await api.state(asked, store.channel?.id);
  if (asked !== store.me?.id) return; // somebody else took the keyboard while we asked
  // An event that came while we asked is newer than the answer.
  if (botNews !== before) state.bot_connected = store.botConnected;
  store.takeState(state);
  showStatus();
}

/** However many events ask for it, one request is under way and at most one waits. */
async function refreshSoon() {
  refreshWanted = true;
  if (refreshing) return;
  refreshing = true;
  while (refreshWanted) {
    refreshWanted = false;
    await refresh().catch((error) => toast(error.message));
  }
  refreshing = false;
}

// ------------------------------------------------------------------- shown

/** The open channel as the member at the keyboard sees it: its messages, or the question before them. */
function showPlace() {
  place = `${store.channel.id}/${store.me.id}`;
  const { channel, me } = store;
  const closed = gated(channel);
  byId("gate").hidden = !closed;
  byId("chat").hidden = closed;
  if (closed) {
    log.forget();
    showGate(byId("gate"), channel, {
      enter: () => {
        showPlace();
        byId("composer-input")?.focus();
      },
      leave: () => store.open(store.channels.find((one) => !store.restricted(one)) ?? store.dms[0]),
    });
    byId("gate-title").focus({ preventScroll: true });
    return loading;
  }
  unread.read(channel.id);
  loading = log.load(channel, me).catch((error) => toast(error.message));
  return loading;
}

function showStatus() {
  const status = byId("status");
  everConnected ||= store.botConnected;
  status.dataset.state = store.botConnected ? "on" : everConnected ? "off" : "waiting";
  const text = store.botConnected ? "Atelier is online" : everConnected ? "Atelier is offline" : "Atelier is starting";
  if (status.textContent !== text) status.textContent = text;
}

function showTyping(user) {
  clearTimeout(typingTimer);
  byId("typing").textContent = user ? `${store.nameOf(user)} is typing …` : "";
  if (user) typingTimer = setTimeout(() => showTyping(null), TYPING_SECONDS * 1000);
}

// ------------------------------------------------------------------- start

listenForFiles((files) => composer.addFiles(files));
onJump(jump);

// "/" anywhere starts a command, as typing in the box does.
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, dialog, .popup") || gated(store.channel)) return;
  event.preventDefault();
  composer.fill("/");
});

store.on("channel", () => {
  showHeader(headerActions);
  composer.rename();
  showTyping(null);
  showPlace();
  refreshSoon(); // which commands there are depends on the channel
});
store.on("me", () => {
  rememberMember(store.me, store.members[0]);
  connect();
});
store.on("state", () => {
  showHeader(headerActions);
  composer.rename();
  unread.compare();
  if (place && !isShown()) showPlace();
});
store.on("unread", showTitle);

const isShown = () => place === `${store.channel.id}/${store.me.id}`;

try {
  await refresh();
  const member = wantedMember(store.members);
  const wanted = wantedPlace();
  if (member && member.id !== store.me.id) store.actAs(member);
  else connect();
  if (wanted.channel) await refresh().then(() => jump(wanted.channel, wanted.message));
  if (!wanted.message && matchMedia("(hover: hover)").matches) byId("composer-input").focus();
} catch (error) {
  toast(error.message);
}
