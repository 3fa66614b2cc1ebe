// What the page knows. Modules change it here and are told by events on `store`.

const DM = 1;
const THREADS = [10, 11, 12];
const MAY = { manage_channels: 1n << 4n, send: 1n << 11n, manage_messages: 1n << 13n, attach: 1n << 15n,
  manage_threads: 1n << 34n, threads: 1n << 35n, send_in_threads: 1n << 38n };

class Store extends EventTarget {
  server = { name: "" };
  members = [];
  channels = [];
  threads = [];
  dms = [];
  commands = [];
  messageCommands = [];
  bot = null;
  botConnected = false;
  limits = { file_bytes: 0, message_length: 2000 };
  me = null;
  channel = null;

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  on(name, listener) {
    this.addEventListener(name, (event) => listener(event.detail));
  }

  takeState(state) {
    this.server = state.server;
    this.members = state.members;
    this.channels = state.channels;
    this.threads = state.threads;
    this.dms = state.dms;
    // What most people come for is first in the list of "/".
    const first = (command) => command.name === "imagine";
    this.commands = state.commands.sort((a, b) => first(b) - first(a) || a.name.localeCompare(b.name));
    this.messageCommands = state.message_commands;
    this.bot = state.bot;
    this.botConnected = state.bot_connected;
    this.limits = state.limits;
    this.me = this.members.find((member) => member.id === state.me.id);
    this.channel = this.channelOf(this.channel?.id ?? remembered("channel")) ?? this.channels[0];
    this.tell("state");
  }

  actAs(member) {
    this.me = member;
    this.tell("me");
  }

  open(channel) {
    this.channel = channel;
    sessionStorage.setItem("playground.channel", channel.id);
    this.tell("channel");
  }

  /** A channel, thread or direct message that the current member sees. */
  channelOf(id) {
    return this.everything.find((channel) => channel.id === String(id));
  }

  get everything() {
    return [...this.channels, ...this.threads, ...this.dms];
  }

  /** "#studio", "@Atelier", or a thread's name. */
  title(channel) {
    if (isDm(channel)) return `@${displayName(this.partner(channel))}`;
    return isThread(channel) ? channel.name : `#${channel.name}`;
  }

  /** Who is at the other end of a direct message. */
  partner(channel) {
    return channel.recipients.find((user) => user.id !== this.me.id) ?? this.bot;
  }

  restricted(channel) {
    return Boolean(channel.nsfw || (isThread(channel) && this.channelOf(channel.parent_id)?.nsfw));
  }

  /** Whether the current member may do this there; `what` is a key of MAY. */
  may(what, channel = this.channel) {
    return isDm(channel) ? ["send", "attach"].includes(what) : (BigInt(channel.permissions) & MAY[what]) > 0n;
  }

  maySend(channel = this.channel) {
    if (isThread(channel) && channel.thread_metadata.locked && !this.may("manage_threads", channel)) return false;
    return this.may(isThread(channel) ? "send_in_threads" : "send", channel);
  }

  /** The name of a member or bot, by id. */
  nameOf(id) {
    const user = [...this.members, this.bot].find((known) => known?.id === String(id));
    return user ? displayName(user) : "someone";
  }
}

export const isDm = (channel) => channel.type === DM;
export const isThread = (channel) => THREADS.includes(channel.type);
export const displayName = (user) => user.global_name || user.username;
const remembered = (key) => sessionStorage.getItem(`playground.${key}`);

export const store = new Store();
