import http from 'node:http';
import https from 'node:https';
import { secure } from './gateway.mjs';
import { within } from './wait.mjs';

/** A request with any headers, which fetch does not allow. */
export function request(gateway, path, { method = 'GET', headers = {}, body } = {}) {
  const response = new Promise((resolve, reject) => {
    const sent = (secure ? https : http).request(
      { host: '127.0.0.1', port: gateway.port, path, method, headers, agent: false },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (data) => (text += data));
        response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text }));
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
  return within(5000, `${method} ${path}`, response);
}
