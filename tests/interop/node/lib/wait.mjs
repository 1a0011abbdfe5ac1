/** What `promise` gives, or an error if that takes longer than `ms`. */
export async function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits; for what takes a time by itself, never for what could be observed. */
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Items that arrive by themselves and are taken one by one. */
export class Inbox {
  #items = [];
  #waiting = [];

  constructor(what = 'a message') {
    this.what = what;
  }

  push(item) {
    const take = this.#waiting.shift();
    if (take) take(item);
    else this.#items.push(item);
  }

  /** How many have arrived and are not taken. */
  get length() {
    return this.#items.length;
  }

  /** Takes the next. */
  async next(ms = 5000) {
    if (this.#items.length > 0) return this.#items.shift();
    let take;
    const item = new Promise((resolve) => this.#waiting.push((take = resolve)));
    try {
      return await within(ms, this.what, item);
    } catch (error) {
      this.#waiting = this.#waiting.filter((other) => other !== take);
      throw error;
    }
  }

  /** Takes the next `count`. */
  async take(count, ms = 5000) {
    const items = [];
    while (items.length < count) items.push(await this.next(ms));
    return items;
  }
}

/** Numbers from 0 (inclusive) to 1 that are the same for the same seed (mulberry32). */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
