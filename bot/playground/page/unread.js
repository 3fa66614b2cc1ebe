// Which channels hold something that the member at the keyboard has not seen.

import { store } from "./store.js";

class Unread {
  #counts = new Map(); // "member/channel" → {messages, mentions}
  #last = new Map(); // "member/channel" → id of the newest message that was there when this page looked

  #key = (channelId) => `${store.me.id}/${channelId}`;

  /** News for a channel that is not open. False: an edit of a message that is known, or the reader's own words. */
  add(message) {
    const key = this.#key(message.channel_id);
    const known = BigInt(message.id) <= BigInt(this.#last.get(key) ?? 0);
    if (!known) this.saw(message);
    if (known || message.author.id === store.me.id) return false;
    const { messages = 0, mentions = 0 } = this.#counts.get(key) ?? {};
    const personal = !message.guild_id || message.pings.includes(store.me.id);
    this.#counts.set(key, { messages: messages + 1, mentions: mentions + (personal ? 1 : 0) });
    store.tell("unread");
    return true;
  }

  /** What came for this member while somebody else was at the keyboard. */
  compare() {
    const met = [...this.#last.keys()].some((key) => key.startsWith(`${store.me.id}/`));
    for (const channel of store.everything) {
      const key = this.#key(channel.id);
      const before = BigInt(this.#last.get(key) ?? 0);
      const now = BigInt(channel.last_message_id ?? 0);
      if (met && now > before && !this.#counts.has(key)) {
        const personal = store.dms.includes(channel) ? 1 : 0;
        this.#counts.set(key, { messages: 1, mentions: personal });
      }
      this.#last.set(key, String(now));
    }
    this.read(store.channel.id);
  }

  /** The newest message that this member saw or was told of. */
  saw(message) {
    const key = this.#key(message.channel_id);
    if (BigInt(message.id) > BigInt(this.#last.get(key) ?? 0)) this.#last.set(key, message.id);
  }

  read(channelId) {
    this.#counts.delete(this.#key(channelId));
    store.tell("unread");
  }

  of(channelId) {
    return this.#counts.get(this.#key(channelId)) ?? { messages: 0, mentions: 0 };
  }

  get mentions() {
    return store.everything.reduce((sum, channel) => sum + this.of(channel.id).mentions, 0);
  }
}

export const unread = new Unread();
