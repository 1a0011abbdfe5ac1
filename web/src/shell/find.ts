import { finishCommands } from "./commands.ts";
import { byId, el } from "./dom.ts";
import { absence, findServices, type Kind, Services } from "./services.ts";

/** Finds the service of this page and finishes the page with what is known then. Gives the service's
 * WebSocket address; where it has none, the page says so. */
export async function findService(kind: Kind): Promise<string | undefined> {
  const found = await findServices();
  if (found instanceof Services) {
    finishCommands(found);
    const address = found.ws(kind);
    if (address !== undefined) return address;
  }
  const text = absence(found, kind);
  byId("main", HTMLElement).before(
    el("p", { class: "notice", role: "alert", "data-testid": "notice" }, text),
  );
  return undefined;
}
