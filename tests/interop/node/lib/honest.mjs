// A connection that does nothing wrong, whose messages come and go whatever another one does.
import assert from 'node:assert/strict';
import { Amqp } from './amqp.mjs';
import { unique } from './peer.mjs';

export class Honest {
  static async open(gateway) {
    const honest = new Honest();
    honest.amqp = await Amqp.open(gateway);
    const name = unique('honest');
    honest.sender = await honest.amqp.sender(name);
    honest.receiver = await honest.amqp.receiver(name);
    return honest;
  }

  /** A message comes and goes. */
  async hasItsTurn(body = 'honest') {
    assert.equal(await this.sender.send({ body }), 'accepted');
    assert.deepEqual(await this.receiver.bodies(1), [body]);
  }

  close() {
    return this.amqp.close();
  }
}
