/** The kinds of services that the pages use. */
export type Kind = "broadcast" | "broker" | "echo" | "pages" | "queues" | "topics";

/** What else there may be: the market's page. */
export type Named = Kind | "trader";

/** What the gateway said when the pages requested its services. */
export type Found = Services | Failure;

/** Why the gateway's services are not known. */
export interface Failure {
  readonly failure: string;
}

/** Beside the pages: where the services are, by kind, relative to the pages. */
const FILE = "services.json";
const PAUSE_MS = 1000;

/** Where the services of the gateway are. */
export class Services {
  readonly #paths: Readonly<Record<string, unknown>>;
  readonly #base: string;

  /** `paths` are relative to `base`, so that what a proxy puts in front of one stands in front of all. */
  constructor(paths: Readonly<Record<string, unknown>>, base: string) {
    this.#paths = paths;
    this.#base = base;
  }

  /** The address of a service; `undefined`: the gateway has none of this kind. */
  http(kind: Named): string | undefined {
    const path = this.#paths[kind];
    return typeof path === "string" ? new URL(path, this.#base).href : undefined;
  }

  /** The same, for WebSockets. */
  ws(kind: Kind): string | undefined {
    return this.http(kind)?.replace(/^http/, "ws");
  }
}

/** Requests from the gateway where its services are, again and again as long as it cannot be reached. */
export async function findServices(): Promise<Found> {
  const file = new URL(FILE, document.baseURI).href;
  for (;;) {
    const response = await fetch(file).catch(() => undefined);
    if (response?.ok) return read(await response.text(), file);
    if (response !== undefined && response.status < 500) {
      return { failure: `${file} gives ${response.status}` };
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

/** Reads the file that stands at `address`. */
export function read(text: string, address: string): Found {
  try {
    const paths: unknown = JSON.parse(text);
    if (typeof paths === "object" && paths !== null) return new Services({ ...paths }, address);
  } catch {
    // Neither is what other servers send for an address that they do not know.
  }
  return { failure: `${address} is no list of services` };
}

/** Why a page has nothing to connect to, for its reader. */
export function absence(found: Found, kind: Kind): string {
  return "failure" in found
    ? `The services of this gateway are not known: ${found.failure}.`
    : `This gateway has no ${kind} service. It needs one in its configuration: a [[service]] with type = "${kind}".`;
}
