// Certificates of an authority that only a test trusts, made by openssl.
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const CONFIG = `[ca]
default_ca = test
[test]
dir = .
database = index
new_certs_dir = .
serial = serial
certificate = ca.pem
private_key = ca.key
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
`;

export class Authority {
  #serial = 0;

  /** Makes one, in a folder of its own. */
  static async create() {
    const authority = new Authority();
    authority.folder = await mkdtemp(join(tmpdir(), 'passerelle-ca-'));
    await writeFile(join(authority.folder, 'config'), CONFIG);
    await writeFile(join(authority.folder, 'index'), '');
    await authority.#openssl('req', '-x509', ...key('ca'), '-out', 'ca.pem', '-days', '2', '-subj', '/CN=authority of a test',
      '-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign');
    authority.pem = await readFile(join(authority.folder, 'ca.pem'), 'utf8');
    return authority;
  }

  /** Key and certificate of a server with these names, as Node's servers take them. */
  async issue(names, { from = '20200101000000Z', to = '20490101000000Z' } = {}) {
    const name = `server${(this.#serial += 1)}`;
    const alternatives = names.map((one) => `${/^[\d.]+$/.test(one) ? 'IP' : 'DNS'}:${one}`).join(',');
    await this.#openssl('req', '-new', ...key(name), '-out', `${name}.csr`, '-subj', `/CN=${name}`,
      '-addext', `subjectAltName=${alternatives}`);
    await this.#openssl('ca', '-batch', '-config', 'config', '-rand_serial', '-startdate', from, '-enddate', to, '-notext',
      '-in', `${name}.csr`, '-out', `${name}.pem`);
    const read = (file) => readFile(join(this.folder, file), 'utf8');
    return { key: await read(`${name}.key`), cert: await read(`${name}.pem`) };
  }

  remove() {
    return rm(this.folder, { recursive: true, force: true });
  }

  #openssl(...options) {
    return promisify(execFile)('openssl', options, { cwd: this.folder });
  }
}

const key = (name) => ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}.key`];
