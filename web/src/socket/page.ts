import { byId, setText } from "../shell/dom.ts";
import { findService } from "../shell/find.ts";
import { Log } from "../shell/log.ts";
import type { Kind } from "../shell/services.ts";

type State = "closed" | "connecting" | "open";

const LINES_MAX = 300;

const WORDS: Readonly<Record<State, string>> = {
  closed: "Closed",
  connecting: "Connecting",
  open: "Open",
};

/** What the pages of the plain WebSocket services have in common. */
export class SocketPage {
  readonly log = new Log(byId("log", HTMLElement), LINES_MAX);
  readonly #url = byId("url", HTMLInputElement);
  readonly #text = byId("text", HTMLInputElement);
  readonly #connect = byId("connect", HTMLButtonElement);
  readonly #received: (text: string) => void;
  #socket: WebSocket | undefined;

  constructor(kind: Kind, received: (text: string) => void) {
    this.#received = received;
    byId("connect-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#socket === undefined) this.#open();
      else this.#socket.close(1000);
    });
    byId("send-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.sent(this.#text.value);
      this.#text.select();
    });
    void this.#start(kind);
  }

  /** Called with what is to be sent. */
  sent: (text: string) => void = (text) => {
    if (this.send(text)) this.log.add("out", text, "", { "data-testid": "log-line" });
  };

  get text(): string {
    return this.#text.value;
  }

  /** Sends; false when the connection is not open. */
  send(text: string): boolean {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(text);
    return true;
  }

  async #start(kind: Kind): Promise<void> {
    this.#show("connecting");
    this.#connect.disabled = true;
    const address = await findService(kind);
    this.#connect.disabled = false;
    if (address === undefined) {
      this.#show("closed");
      return;
    }
    this.#url.value = address;
    this.#open();
  }

  #open(): void {
    let socket: WebSocket;
    try {
      socket = new WebSocket(new URL(this.#url.value));
    } catch {
      this.#note("This is no WebSocket address");
      return;
    }
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#show("connecting");
    socket.onopen = () => {
      this.#show("open");
      this.#note(`Connected${socket.extensions === "" ? "" : `, with ${socket.extensions}`}`);
    };
    socket.onmessage = ({ data }) => {
      this.#received(typeof data === "string" ? data : `${data.byteLength} bytes`);
    };
    socket.onclose = ({ code, reason }) => {
      this.#socket = undefined;
      this.#show("closed");
      this.#note(`Closed with ${code}${reason === "" ? "" : `: ${reason}`}`);
    };
  }

  #note(text: string): void {
    this.log.add("note", text, "", { "data-testid": "log-line" });
  }

  #show(state: State): void {
    const pill = document.querySelector<HTMLElement>(".pill");
    if (pill !== null) pill.dataset["state"] = state;
    const word = document.querySelector(".pill .word");
    if (word !== null) setText(word, WORDS[state]);
    setText(this.#connect, state === "closed" ? "Connect" : "Disconnect");
    for (const button of document.querySelectorAll<HTMLButtonElement>("#send-form button")) {
      button.disabled = state !== "open";
    }
  }
}
