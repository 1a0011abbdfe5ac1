import { finishCommands } from "./commands.ts";
import { byId, el } from "./dom.ts";
import { absence, type Found, findServices, type Kind, type Named, Services } from "./services.ts";

/** Finds the service of this page and finishes the page with what is known then. Gives the service's
 * WebSocket address; where it has none, the page says so. */
export async function findService(kind: Kind): Promise<string | undefined> {
  const found = await finishPage();
  if (found instanceof Services) {
    const address = found.ws(kind);
    if (address !== undefined) return address;
  }
  const text = absence(found, kind);
  byId("main", HTMLElement).before(
    el("p", { class: "notice", role: "alert", "data-testid": "notice" }, text),
  );
  return undefined;
}

/** Requests the services, and finishes what depends on them: commands, and what needs a service that is not there. */
export async function finishPage(): Promise<Found> {
  const found = await findServices();
  if (found instanceof Services) finishCommands(found);
  for (const part of document.querySelectorAll<HTMLElement>("[data-needs]")) {
    const isThere =
      !(found instanceof Services) || found.http(part.dataset["needs"] as Named) !== undefined;
    // The page that is shown keeps its own link.
    part.hidden = !isThere && !part.hasAttribute("aria-current");
  }
  return found;
}
