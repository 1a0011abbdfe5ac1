import { Client, type IMessage, ReconnectionTimeMode } from "@stomp/stompjs";
import type { Quote, Reply, Request } from "./messages.ts";

/** What the connection tells. */
export interface DeskEvents {
  readonly connected: () => void;
  readonly lost: () => void;
  /** The gateway sent ERROR, and closes the connection. */
  readonly refused: (why: string) => void;
  readonly quote: (quote: Quote) => void;
  readonly reply: (reply: Reply) => void;
}

/** The page's queue; to others the gateway shows a random name instead. */
const REPLIES = "/temp-queue/trader";
const REQUESTS = "/queue/orders";
const QUOTES = "/topic/quotes.*";
/**
 * On a slow link only the newest quote of each instrument is of use. No more than these are on their way
 * and not acknowledged, since what a link or a proxy holds can be replaced by nothing newer.
 */
const QUOTES_IN_FLIGHT = 40;
const QUOTE_HEADERS = {
  "x-slow": "latest",
  ack: "client",
  "prefetch-count": String(QUOTES_IN_FLIGHT),
};

/** The STOMP connection to the market and the order desk; it comes back by itself. */
export class Desk {
  readonly #client: Client;

  constructor(events: DeskEvents) {
    this.#client = new Client({
      connectionTimeout: 5000,
      reconnectDelay: 250,
      maxReconnectDelay: 2000,
      reconnectTimeMode: ReconnectionTimeMode.EXPONENTIAL,
      heartbeatIncoming: 10_000,
      heartbeatOutgoing: 10_000,
      discardWebsocketOnCommFailure: true,
      onConnect: () => {
        // Before the first request: its reply must find the queue.
        this.#client.subscribe(REPLIES, (message) => events.reply(JSON.parse(message.body)));
        this.#subscribeToQuotes(events);
        events.connected();
      },
      onStompError: ({ headers }) => events.refused(headers["message"] ?? "no reason given"),
      onWebSocketClose: () => events.lost(),
    });
  }

  #subscribeToQuotes(events: DeskEvents): void {
    let received = 0;
    const take = (message: IMessage): void => {
      events.quote(JSON.parse(message.body));
      received += 1;
      // It stands for all before it.
      if (received % (QUOTES_IN_FLIGHT / 2) === 0) message.ack();
    };
    this.#client.subscribe(QUOTES, take, QUOTE_HEADERS);
  }

  get isConnected(): boolean {
    return this.#client.connected;
  }

  /** Connects to a broker. */
  start(url: string): void {
    this.#client.brokerURL = url;
    this.#client.activate();
  }

  /** Sends a request; false when there is no connection. After `expires`, in Unix milliseconds, the
   * gateway drops it rather than hand it to a desk that comes back late. */
  ask(request: Request, expires?: number): boolean {
    if (!this.#client.connected) return false;
    this.#client.publish({
      destination: REQUESTS,
      body: JSON.stringify(request),
      headers: {
        "content-type": "application/json",
        "reply-to": REPLIES,
        // An order outlives the gateway.
        persistent: "true",
        ...(expires === undefined ? {} : { expires: String(Math.round(expires)) }),
      },
    });
    return true;
  }
}

/** The trader that this browser is: a random secret, kept. */
export function trader(storage: Storage): string {
  const key = "passerelle.trader";
  const kept = storage.getItem(key);
  if (kept !== null && /^[A-Za-z0-9-]{16,64}$/.test(kept)) return kept;
  const made = randomId();
  storage.setItem(key, made);
  return made;
}

/** 128 random bits. (`crypto.randomUUID` is for secure origins only.) */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
