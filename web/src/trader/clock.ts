/**
 * The market's clock, as far as the browser's own tells it.
 *
 * The age of a quote compares two clocks. A round trip bounds how far they are apart: the desk's
 * reply was made between sending and receiving. As long as zero is within the bounds, the clocks
 * are taken to agree; else the middle of the tightest bounds is the offset.
 */
export class Clock {
  #offset = 0;
  #roundTrip = Number.POSITIVE_INFINITY;
  #set = false;

  /** Whether a round trip was seen. */
  get isSet(): boolean {
    return this.#set;
  }

  /** A round trip: sent and received by our clock, replied by the market's. */
  sample(sent: number, replied: number, received: number): void {
    const roundTrip = received - sent;
    if (roundTrip < 0) return;
    this.#set = true;
    // Clocks drift and networks change: an old bound slowly gives way.
    this.#roundTrip *= 1.1;
    if (roundTrip > this.#roundTrip) return;
    this.#roundTrip = roundTrip;
    const offset = replied - (sent + received) / 2;
    // One more millisecond, as the desk's time is a whole number of them.
    this.#offset = Math.abs(offset) <= roundTrip / 2 + 1 ? 0 : offset;
  }

  /** Our time in the market's. */
  market(ours: number): number {
    return ours + this.#offset;
  }
}
