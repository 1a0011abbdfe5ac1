/** What the ages of the last second's quotes were. */
export interface Ages {
  readonly median: number;
  readonly worst: number;
  /** Quotes of that second. */
  readonly count: number;
}

const WINDOW_MS = 1000;

/** Measures how old quotes are when they are painted. */
export class AgeMeter {
  #samples: { readonly at: number; readonly age: number }[] = [];

  /** A quote of this age was painted. */
  add(at: number, age: number): void {
    this.#samples.push({ at, age: Math.max(0, age) });
  }

  /** The ages of the second before, or `undefined` when nothing was painted. */
  read(now: number): Ages | undefined {
    this.#samples = this.#samples.filter(({ at }) => at > now - WINDOW_MS);
    const ages = this.#samples.map(({ age }) => age).sort((a, b) => a - b);
    const [median, worst] = [ages[ages.length >> 1], ages.at(-1)];
    if (median === undefined || worst === undefined) return undefined;
    return { median, worst, count: ages.length };
  }
}
