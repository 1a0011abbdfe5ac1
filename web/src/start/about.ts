/** What the gateway says of itself, beside the pages. */
export interface About {
  readonly version: string;
  /** Who may connect where the page came from. */
  readonly login: "none" | "optional" | "required";
  /** Whether only the gateway's own machine reaches that. */
  readonly local: boolean;
  /** For operators alone. */
  readonly operator?: {
    /** The configuration's file; none where the defaults hold. */
    readonly file?: string;
    /** The path of the metrics, relative to the pages. */
    readonly metrics?: string;
  };
}

/** Reads the file; `undefined`: it is none. */
export function read(text: string): About | undefined {
  try {
    const about: unknown = JSON.parse(text);
    if (typeof about === "object" && about !== null && "login" in about) return about as About;
  } catch {
    // As with the list of services: other servers send pages for what they do not know.
  }
  return undefined;
}

/** Who may come in, in words. */
export function who(about: About): string {
  const everybody = about.local
    ? "Everybody on this machine may connect, and no other machine"
    : "Everybody who reaches it may connect";
  switch (about.login) {
    case "none":
      return `${everybody}. There are no users.`;
    case "optional":
      return `${everybody}. Users may log in.`;
    case "required":
      return about.local ? "Users log in, from this machine alone." : "Users log in.";
  }
}

/** Where it is configured, in words. */
export function configuration(about: About): string {
  if (about.operator === undefined) {
    return "Operators see it here: who comes by an address with operations = true, or has a role of [operations].";
  }
  return about.operator.file === undefined
    ? "Nowhere: the defaults hold. `passerelle init` writes a file in which each part is explained, and `passerelle serve passerelle.toml` takes it."
    : `In ${about.operator.file}. \`passerelle check\` says what it does; SIGHUP makes the gateway read users, access rules and certificates again.`;
}
