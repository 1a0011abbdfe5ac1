import { Client, type IMessage, type StompSubscription } from "@stomp/stompjs";
import { byId, el, setText } from "../shell/dom.ts";
import { findService } from "../shell/find.ts";
import { Log } from "../shell/log.ts";
import { describe, parseHeaders } from "./frames.ts";

const MESSAGES_MAX = 200;
const FRAMES_MAX = 300;

const messages = new Log(byId("messages", HTMLElement), MESSAGES_MAX);
const frames = new Log(byId("frames", HTMLElement), FRAMES_MAX);
const url = byId("url", HTMLInputElement);
const beats = byId("beats", HTMLInputElement);
const subscriptions = byId("subscriptions", HTMLUListElement);
const problem = byId("send-problem", HTMLElement);

let client: Client | undefined;
let messageCount = 0;
let frameCount = 0;

void start();

onSubmit("connect-form", () => (client === undefined ? connect() : disconnect()));

onSubmit("subscribe-form", () => {
  const destination = value("subscribe-destination");
  const ack = byId("subscribe-ack", HTMLSelectElement).value;
  const subscription = client?.subscribe(
    destination,
    (message) => received(message, ack !== "auto"),
    { ack },
  );
  if (subscription !== undefined) list(subscription, destination, ack);
});

onSubmit("send-form", () => {
  const headers = parseHeaders(byId("send-headers", HTMLTextAreaElement).value);
  if (typeof headers === "string") {
    setText(problem, headers);
    return;
  }
  setText(problem, "");
  const body = byId("send-body", HTMLTextAreaElement).value;
  client?.publish({ destination: value("send-destination"), headers, body });
});

byId("clear", HTMLButtonElement).addEventListener("click", () => {
  messages.clear();
  frames.clear();
  [messageCount, frameCount] = [0, 0];
  setText(byId("messages-count", HTMLElement), "");
  setText(byId("frames-count", HTMLElement), "");
});

async function start(): Promise<void> {
  const button = byId("connect", HTMLButtonElement);
  show("connecting");
  button.disabled = true;
  const address = await findService("broker");
  button.disabled = false;
  if (address === undefined) {
    show("closed");
    return;
  }
  url.value = address;
  connect();
}

function connect(): void {
  if (!URL.canParse(url.value)) {
    frame("note", "this is no WebSocket address");
    return;
  }
  const login = value("login");
  const made = new Client({
    // A console shows what happens: it does not connect again behind its user's back.
    reconnectDelay: 0,
    connectHeaders: login === "" ? {} : { login, passcode: value("passcode") },
    webSocketFactory: () => tap(new WebSocket(url.value, made.stompVersions.protocolVersions())),
    onConnect: () => show("open"),
    onWebSocketClose: (event: CloseEvent) => {
      frame("note", `closed with ${event.code}${event.reason === "" ? "" : `: ${event.reason}`}`);
      if (client === made) client = undefined;
      subscriptions.replaceChildren();
      show("closed");
    },
  });
  client = made;
  show("connecting");
  made.activate();
}

function disconnect(): void {
  void client?.deactivate();
}

/** Shows what goes through the socket. */
function tap(socket: WebSocket): WebSocket {
  const send = socket.send.bind(socket);
  socket.send = (data) => {
    frame("out", typeof data === "string" ? data : decode(data as ArrayBuffer));
    send(data);
  };
  socket.addEventListener("message", ({ data }) => {
    frame("in", typeof data === "string" ? data : decode(data));
  });
  return socket;
}

function decode(data: ArrayBuffer | ArrayBufferView): string {
  return new TextDecoder().decode(data);
}

function frame(direction: "in" | "out" | "note", data: string): void {
  const { command, text } = direction === "note" ? { command: "", text: data } : describe(data);
  if (command === "heart-beat" && !beats.checked) return;
  frameCount += 1;
  setText(byId("frames-count", HTMLElement), frameCount.toLocaleString("en-US"));
  frames.add(direction, text, "", { "data-testid": "frame", "data-command": command });
}

function received(message: IMessage, wantsAck: boolean): void {
  messageCount += 1;
  setText(byId("messages-count", HTMLElement), messageCount.toLocaleString("en-US"));
  const { destination, "content-type": type } = message.headers;
  const meta = wantsAck ? ackButtons(message) : (type ?? "");
  messages.add("in", `${destination}\n${message.body}`, meta, {
    "data-testid": "message-row",
    "data-destination": destination ?? "",
  });
}

/** The buttons that settle a message. */
function ackButtons(message: IMessage): HTMLElement {
  const buttons = (["ack", "nack"] as const).map((command) => {
    const name = command.toUpperCase();
    const button = el(
      "button",
      { type: "button", class: "button small", "data-testid": command },
      name,
    );
    button.addEventListener("click", () => {
      message[command]();
      buttons[0]?.parentElement?.replaceChildren(name);
    });
    return button;
  });
  return el("span", {}, ...buttons);
}

function list(subscription: StompSubscription, destination: string, ack: string): void {
  const button = el(
    "button",
    { type: "button", class: "button small", "data-testid": "unsubscribe" },
    "Unsubscribe",
  );
  const row = el(
    "li",
    { "data-testid": "subscription-row", "data-destination": destination },
    el("span", {}, destination, ack === "auto" ? "" : ` · ${ack}`),
    button,
  );
  button.addEventListener("click", () => {
    subscription.unsubscribe();
    row.remove();
  });
  subscriptions.append(row);
}

function show(state: "closed" | "connecting" | "open"): void {
  const words = { closed: "Closed", connecting: "Connecting", open: "Open" };
  const pill = document.querySelector<HTMLElement>(".pill");
  if (pill !== null) pill.dataset["state"] = state;
  const word = document.querySelector(".pill .word");
  if (word !== null) setText(word, words[state]);
  setText(byId("connect", HTMLButtonElement), state === "closed" ? "Connect" : "Disconnect");
  const buttons = "#subscribe-form button, #send-form button";
  for (const button of document.querySelectorAll<HTMLButtonElement>(buttons)) {
    button.disabled = state !== "open";
  }
}

function value(id: string): string {
  return byId(id, HTMLInputElement).value.trim();
}

function onSubmit(id: string, then: () => void): void {
  byId(id, HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    then();
  });
}
