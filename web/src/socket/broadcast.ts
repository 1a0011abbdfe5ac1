import * as format from "../trader/format.ts";
import { SocketPage } from "./page.ts";

// What this page sends comes back to it as to everybody: that is what the log shows.
const page = new SocketPage("broadcast", (text) => {
  page.log.add("in", text, format.time(Date.now()), { "data-testid": "log-line" });
});

page.sent = (text) => {
  page.send(text);
};
