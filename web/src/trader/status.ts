import { byId, el, setText } from "../shell/dom.ts";
import type { Ages } from "./age.ts";

type State = "connecting" | "waiting" | "live" | "offline" | "absent";

const WORDS: Readonly<Record<State, string>> = {
  connecting: "Connecting",
  waiting: "Waiting",
  live: "Live",
  offline: "Reconnecting",
  absent: "No broker",
};

const HINTS: Readonly<Record<State, string>> = {
  connecting: "Connecting to the gateway",
  waiting: "The gateway is there; the market is not heard of",
  live: "Quotes and orders flow",
  offline: "The gateway cannot be reached; trying again",
  absent: "There is nothing to connect to",
};

/** Time without a quote after which the market is thought to be away. */
const QUIET_MAX_MS = 3000;
/** The same for the desk, which is asked every 5 s. */
const SILENT_MAX_MS = 12_000;
const AGES_SHOWN = 40;

/** The state of the connection, and how old what is on the screen is. */
export class Status {
  #link: "connecting" | "up" | "down" | "absent" = "connecting";
  /** Whether the desk has told the state since the connection was made. */
  #entered = false;
  #quoteAt = Number.NEGATIVE_INFINITY;
  #replyAt = Number.NEGATIVE_INFINITY;
  #state: State = "connecting";
  readonly #ages: number[] = [];
  #countShown = 0;

  readonly #dot = el("span", { class: "dot", "aria-hidden": "true" });
  readonly #word = el("span", {}, WORDS.connecting);
  readonly #pill = el(
    "span",
    { class: "pill", "data-testid": "status", "data-state": "connecting", role: "status" },
    this.#dot,
    this.#word,
  );
  readonly #age = el("b", { "data-testid": "age", class: "num" }, "–");
  readonly #trace = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  readonly #rate = el("span", { class: "rate num" }, "");

  constructor() {
    const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    picture.setAttribute("viewBox", "0 0 60 18");
    picture.setAttribute("aria-hidden", "true");
    picture.classList.add("trace");
    picture.append(this.#trace);
    const hint =
      "Median age of the quotes of the last second at the moment they were painted: from the market's time stamp to your screen";
    byId("top-status", HTMLElement).append(
      el("span", { class: "age", title: hint }, "Age ", this.#age, picture),
      this.#rate,
      this.#pill,
    );
  }

  get isLive(): boolean {
    return this.#state === "live";
  }

  /** There is no broker to connect to. */
  absent(): void {
    this.#link = "absent";
  }

  connected(): void {
    this.#link = "up";
    this.#entered = false;
  }

  lost(): void {
    if (this.#link === "up") this.#link = "down";
    this.#entered = false;
    this.#set(this.#link === "down" ? "offline" : "connecting");
  }

  entered(): void {
    this.#entered = true;
  }

  quote(now: number): void {
    this.#quoteAt = now;
  }

  reply(now: number): void {
    this.#replyAt = now;
  }

  /** Shows how it stands; call it a few times a second. */
  show(now: number, ages: Ages | undefined): void {
    this.#set(this.#now(now));
    if (ages === undefined) {
      setText(this.#age, "–");
      setText(this.#rate, "");
      return;
    }
    setText(this.#age, `${Math.round(ages.median)} ms`);
    this.#age.dataset["ms"] = ages.median.toFixed(1);
    this.#age.title = `worst ${Math.round(ages.worst)} ms`;
    this.#countShown = Math.round(this.#countShown * 0.7 + ages.count * 0.3) || ages.count;
    setText(this.#rate, `${this.#countShown}/s`);
    this.#ages.push(ages.median);
    if (this.#ages.length > AGES_SHOWN) this.#ages.shift();
    const top = Math.max(20, ...this.#ages);
    const points = this.#ages.map(
      (age, at) =>
        `${((at * 60) / (AGES_SHOWN - 1)).toFixed(1)},${(16.5 - (age / top) * 15).toFixed(1)}`,
    );
    this.#trace.setAttribute("points", points.join(" "));
  }

  #now(now: number): State {
    if (this.#link !== "up") return this.#link === "down" ? "offline" : this.#link;
    const isMarket = now - this.#quoteAt < QUIET_MAX_MS;
    const isDesk = this.#entered && now - this.#replyAt < SILENT_MAX_MS;
    return isMarket && isDesk ? "live" : "waiting";
  }

  #set(state: State): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#pill.dataset["state"] = state;
    this.#pill.title = HINTS[state];
    setText(this.#word, WORDS[state]);
  }
}
