import { Client } from "@stomp/stompjs";
import { byId, el, setText } from "../shell/dom.ts";
import { finishPage } from "../shell/find.ts";
import { Log } from "../shell/log.ts";
import { absence, Services } from "../shell/services.ts";
import { type About, configuration, read, who } from "./about.ts";

const TOPIC = "/topic/news";
const LINES_MAX = 100;
const RECONNECT_MS = 2000;
const LOOPBACK = /^(localhost|127\..*|\[::1\])$/;

const log = new Log(byId("live-log", HTMLElement), LINES_MAX);
const send = byId("live-send", HTMLButtonElement);
const problem = byId("live-problem", HTMLElement);

setText(byId("address", HTMLElement), location.origin);
void start();

async function start(): Promise<void> {
  const about = await findAbout();
  if (about?.login === "required") showLogin();
  const services = await finishPage();
  if (!(services instanceof Services)) {
    setText(byId("who", HTMLElement), absence(services, "pages"));
    return;
  }
  if (about !== undefined) {
    // A proxy on the same machine may have let others in.
    const local = about.local && LOOPBACK.test(location.hostname);
    setText(byId("who", HTMLElement), who({ ...about, local }));
    setCode(byId("configuration", HTMLElement), configuration(about));
  }
  list(services, about);
  const broker = services.ws("broker");
  if (broker === undefined) return;
  if (about?.login === "required") {
    setCode(
      problem,
      "A login is required: the console has a form for it, and `--user NAME` asks for the password.",
    );
    return;
  }
  live(broker);
}

async function findAbout(): Promise<About | undefined> {
  const response = await fetch(new URL("about.json", document.baseURI)).catch(() => undefined);
  return response?.ok ? read(await response.text()) : undefined;
}

/** Lets the commands log in. */
function showLogin(): void {
  for (const pre of document.querySelectorAll<HTMLElement>("pre[data-login]")) {
    pre.append(pre.dataset["login"] ?? "");
  }
  for (const script of document.querySelectorAll("pre.script")) {
    const login = 'connectHeaders: { login: "NAME", passcode: "…" }';
    script.textContent = (script.textContent ?? "").replace(" });", `, ${login} });`);
  }
}

/** Shows what comes on a topic, and publishes to it. */
function live(brokerURL: string): void {
  const client = new Client({ brokerURL, reconnectDelay: RECONNECT_MS });
  client.onConnect = () => {
    show("open");
    setText(problem, "");
    client.subscribe(TOPIC, (message) => {
      log.add("in", message.body, new Date().toLocaleTimeString(), { "data-testid": "start-line" });
    });
  };
  client.onStompError = ({ headers }) => {
    setText(problem, `The gateway refuses: ${headers["message"] ?? "no reason given"}`);
    // The same would be refused again.
    void client.deactivate();
  };
  client.onWebSocketClose = () => show("closed");
  byId("live-form", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    if (!client.connected) return;
    const body = byId("live-text", HTMLInputElement).value;
    client.publish({ destination: TOPIC, body, headers: { "content-type": "text/plain" } });
  });
  show("connecting");
  client.activate();
}

function show(state: "closed" | "connecting" | "open"): void {
  const pill = byId("live-status", HTMLElement);
  pill.dataset["state"] = state;
  const word = pill.querySelector(".word");
  if (word !== null)
    setText(word, { closed: "Closed", connecting: "Connecting", open: "Live" }[state]);
  send.disabled = state !== "open";
}

/** Lists the services that there are, with the page that tries each. */
function list(services: Services, about: About | undefined): void {
  const rows: HTMLElement[] = [];
  const add = (path: string | undefined, what: string, link?: string, name?: string): void => {
    if (path === undefined) return;
    const page = link === undefined ? "" : el("a", { href: link }, name ?? "Open");
    rows.push(
      el(
        "li",
        {},
        el("span", {}, new URL(path).pathname),
        el("span", { class: "what" }, what),
        page,
      ),
    );
  };
  add(
    services.http("trader"),
    "a market, orders and fills, live",
    services.http("trader"),
    "Trader",
  );
  add(
    services.http("broker"),
    "topics and queues: STOMP and AMQP 1.0",
    "./console.html",
    "Console",
  );
  add(services.http("topics"), "a POST below it publishes");
  add(services.http("queues"), "a POST below it sends to a queue");
  add(services.http("echo"), "a WebSocket that sends back what it receives", "./echo.html", "Echo");
  add(
    services.http("broadcast"),
    "what one WebSocket sends all get",
    "./broadcast.html",
    "Broadcast",
  );
  const metrics = about?.operator?.metrics;
  if (metrics !== undefined) {
    const address = new URL(metrics, document.baseURI).href;
    add(address, "for Prometheus", address, "Metrics");
  }
  byId("services", HTMLElement).replaceChildren(...rows);
}

/** Sets a text in which commands stand in backquotes. */
function setCode(element: Element, text: string): void {
  const parts = text
    .split("`")
    .map((part, index) => (index % 2 === 1 ? el("code", {}, part) : part));
  element.replaceChildren(...parts);
}
