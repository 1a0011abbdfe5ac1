import { randomFillSync } from 'node:crypto';

const MIB = 1024 * 1024;
export const SIZE_MAX = 2 * MIB;
const POOL = randomFillSync(Buffer.alloc(2 * SIZE_MAX));

/** A body of a size at random: many are empty or small, few are of 2 MiB. */
export function body(client, most = SIZE_MAX) {
  const kind = client.draw();
  const limit = kind < 0.1 ? 0 : kind < 0.6 ? 1024 : kind < 0.9 ? 64 * 1024 : kind < 0.985 ? 512 * 1024 : SIZE_MAX;
  return some(client, Math.min(most, client.between(0, limit)));
}

/** A body of some size from 512 KiB to 2 MiB. */
export const large = (client) => some(client, client.between(SIZE_MAX / 4, SIZE_MAX));

function some(client, size) {
  const start = client.between(0, POOL.length - size);
  return POOL.subarray(start, start + size);
}
