import { byId } from "../shell/dom.ts";
import { SocketPage } from "./page.ts";

const BURST = 1000;
const COUNT = BURST.toLocaleString("en-US");

/** When each message that is not back yet was sent; echoes keep their order. */
const under: number[] = [];
let burst: { left: number; readonly start: number } | undefined;

const page = new SocketPage("echo", (text) => {
  const now = performance.now();
  const took = now - (under.shift() ?? now);
  if (burst !== undefined) {
    burst.left -= 1;
    if (burst.left > 0) return;
    const ms = now - burst.start;
    const rate = Math.round((BURST / ms) * 1000).toLocaleString("en-US");
    page.log.add("in", `${COUNT} messages came back`, `${ms.toFixed(0)} ms, ${rate}/s`, {
      "data-testid": "log-line",
    });
    burst = undefined;
    return;
  }
  page.log.add("in", text, `${took.toFixed(1)} ms`, { "data-testid": "log-line" });
});

page.sent = (text) => {
  if (burst !== undefined || !page.send(text)) return;
  under.push(performance.now());
  page.log.add("out", text, "", { "data-testid": "log-line" });
};

byId("burst", HTMLButtonElement).addEventListener("click", () => {
  if (burst !== undefined || !page.send(page.text)) return;
  const start = performance.now();
  burst = { left: BURST, start };
  under.push(start);
  for (let count = 1; count < BURST; count += 1) {
    page.send(page.text);
    under.push(start);
  }
  page.log.add("out", `${COUNT} messages sent`, "", { "data-testid": "log-line" });
});
