// What the page knows. Modules change it here and are told by events on `store`.

class Store extends EventTarget {
  server = { name: "" };
  members = [];
  channels = [];
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
    // What most people come for is first in the list of "/".
    const first = (command) => command.name === "imagine";
    this.commands = state.commands.sort((a, b) => first(b) - first(a) || a.name.localeCompare(b.name));
    this.messageCommands = state.message_commands;
    this.bot = state.bot;
    this.botConnected = state.bot_connected;
    this.limits = state.limits;
    this.me = this.members.find((member) => member.id === (this.me?.id ?? remembered("me"))) ?? this.members[0];
    this.channel =
      this.channels.find((c) => c.id === (this.channel?.id ?? remembered("channel"))) ?? this.channels[0];
    this.tell("state");
  }

  actAs(member) {
    this.me = member;
    remember("me", member.id);
    this.tell("me");
  }

  open(channel) {
    this.channel = channel;
    remember("channel", channel.id);
    this.tell("channel");
  }

  /** The name of a member or bot, by id. */
  nameOf(id) {
    const user = [...this.members, this.bot].find((known) => known?.id === String(id));
    return user ? displayName(user) : "someone";
  }
}

export const displayName = (user) => user.global_name || user.username;
const remembered = (key) => sessionStorage.getItem(`playground.${key}`);
const remember = (key, value) => sessionStorage.setItem(`playground.${key}`, value);

export const store = new Store();
