import { el } from "./dom.ts";

export type Direction = "in" | "out" | "note";

const ARROWS: Readonly<Record<Direction, string>> = { in: "←", out: "→", note: "·" };

/** A list of lines, newest first, of which only the newest stay. It paints once a frame, however
 * many come. */
export class Log {
  readonly #list: HTMLElement;
  readonly #max: number;
  #waiting: HTMLElement[] = [];

  constructor(list: HTMLElement, max: number) {
    this.#list = list;
    this.#max = max;
  }

  /** Adds a line; the row may still be changed. */
  add(
    direction: Direction,
    text: string,
    meta: string | Node,
    attributes: Readonly<Record<string, string>>,
  ): HTMLElement {
    const row = el(
      "li",
      { "data-direction": direction, ...attributes },
      el("span", { "aria-hidden": "true" }, ARROWS[direction]),
      el("pre", {}, text),
      el("span", { class: "meta num" }, meta),
    );
    if (this.#waiting.length === 0) requestAnimationFrame(() => this.#paint());
    this.#waiting.push(row);
    if (this.#waiting.length > this.#max) this.#waiting.shift();
    return row;
  }

  clear(): void {
    this.#waiting = [];
    this.#list.replaceChildren();
  }

  #paint(): void {
    this.#list.prepend(...this.#waiting.reverse());
    this.#waiting = [];
    while (this.#list.childElementCount > this.#max) this.#list.lastElementChild?.remove();
  }
}
