// A gateway that a test ends and starts again, on the same store.
import { again, start } from './gateway.mjs';
import { Peer } from './peer.mjs';

/** The configuration of a store in the gateway's own folder. */
export const store = '[store]\npath = "store"\n';

export class Life {
  static async begin(t, config = store, options = {}) {
    const life = new this();
    life.gateway = await start(config, options);
    t.after(() => life.gateway.stop());
    return life;
  }

  async end(signal) {
    this.gateway = await again(this.gateway, signal);
  }

  /** Ends it without warning. */
  async crash() {
    await this.end('SIGKILL');
  }

  /** Ends it in good order. */
  async restart() {
    await this.end('SIGTERM');
  }

  peer(options) {
    return Peer.open(this.gateway, options);
  }
}
