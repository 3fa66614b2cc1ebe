// Interactions on their way: who waits for which answer.

class Pending {
  #waiting = new Map();
  #early = new Map();

  /** Resolves with the interaction once the bot answered or the three seconds are over. */
  settled(sent) {
    if (sent.state !== "waiting") return Promise.resolve(sent);
    const early = this.#early.get(sent.id);
    if (early) return Promise.resolve(early);
    return new Promise((resolve) => {
      this.#waiting.set(sent.id, resolve);
      // The event stream may just be reconnecting; nobody waits for ever.
      setTimeout(() => resolve({ ...sent, state: "failed" }), 6000);
    });
  }

  /** News from the event stream. It may overtake the answer to the request. */
  hear(interaction) {
    this.#early.set(interaction.id, interaction);
    if (this.#early.size > 50) this.#early.delete(this.#early.keys().next().value);
    this.#waiting.get(interaction.id)?.(interaction);
    this.#waiting.delete(interaction.id);
  }
}

export const pending = new Pending();
