import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hashOf, makeKey } from '../../keys/key.ts';
import { changeKeyFile } from '../../keys/key-file.ts';
import { SCOPES } from '../../keys/scopes.ts';
import type { ServiceReport } from '../../services/runtime/run-service.ts';
import { writeTinyTower } from '../../towers/testing/tiny-tower.ts';
import { HELD, type Held, type HeldAnswer } from '../soak/probe.ts';
import type { ServiceName } from './case.ts';
import type { Ground } from './kinds/kind.ts';

/** Bytes of a service's log that are kept, from the end. */
const MAX_LOG = 1 << 20;

/** A service that runs, with its log. */
export class Service {
  readonly name: ServiceName;
  readonly child: ChildProcess;
  address = { host: '127.0.0.1', port: 0 };
  metrics = '';
  #log = '';
  /** What its metrics ask for, where it wants keys. */
  readonly #key: string | undefined;

  constructor(
    name: ServiceName,
    flags: readonly string[],
    nodeFlags: readonly string[],
    key: string | undefined,
  ) {
    this.name = name;
    this.#key = key;
    this.child = fork(new URL(`../../services/${name}/main.js`, import.meta.url), flags, {
      execArgv: [
        '--enable-source-maps',
        '--expose-gc',
        '--import',
        new URL('../soak/probe.js', import.meta.url).href,
        ...nodeFlags,
      ],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#log = (this.#log + text).slice(-MAX_LOG);
    });
  }

  async ready(): Promise<void> {
    const [report] = (await Promise.race([once(this.child, 'message'), once(this.child, 'exit')])) as [
      ServiceReport | number | null,
    ];
    if (report === null || typeof report === 'number' || report.type === 'failed') {
      throw new Error(`the ${this.name} service did not start: ${this.#log}`);
    }
    this.address = { host: '127.0.0.1', port: Number(report.address.split(':').at(-1)) };
    this.metrics = report.metrics ?? '';
  }

  get pid(): number {
    return this.child.pid!;
  }

  get isAlive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Calls and streams that it holds, as its metrics say. */
  async openCalls(): Promise<number> {
    const headers = this.#key === undefined ? {} : { authorization: `Bearer ${this.#key}` };
    const text = await (await fetch(`http://${this.metrics}/metrics`, { headers })).text();
    const values = [...text.matchAll(/^scalingnote_calls_open(?:\{[^}]*\})? (\d+)$/gm)];
    if (values.length === 0) throw new Error(`the metrics of the ${this.name} service say nothing of calls`);
    return values.reduce((sum, [, value]) => sum + Number(value), 0);
  }

  /** What it wrote to its log since the last time. */
  takeLog(): string {
    const log = this.#log;
    this.#log = '';
    return log;
  }

  /** What it holds after a collection of garbage. */
  held(): Promise<Held> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the ${this.name} service does not answer`)), 60_000);
      const onMessage = (message: unknown): void => {
        if ((message as Partial<HeldAnswer>).type !== HELD) return;
        clearTimeout(timer);
        this.child.off('message', onMessage);
        resolve((message as HeldAnswer).held);
      };
      this.child.on('message', onMessage);
      this.child.send(HELD);
    });
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<number | null> {
    if (!this.isAlive) return this.child.exitCode;
    const exited = once(this.child, 'exit');
    this.child.kill(signal);
    const [code] = (await exited) as [number | null];
    return code;
  }
}

/** Both services over one embedded store; with keys, or open to everybody. */
export interface Pair {
  query: Service;
  document: Service;
  keyFile: string | undefined;
  data: string;
}

/** Two pairs, one of which wants keys. */
export class Site {
  readonly folder: string;
  readonly open: Pair;
  readonly keyed: Pair;
  readonly ground: Ground;

  private constructor(folder: string, open: Pair, keyed: Pair, ground: Ground) {
    this.folder = folder;
    this.open = open;
    this.keyed = keyed;
    this.ground = ground;
  }

  static async start(nodeFlags: readonly string[] = []): Promise<Site> {
    const folder = mkdtempSync(join(tmpdir(), 'scalingnote-fuzz-'));
    const manifest = writeTinyTower(join(folder, 'document-tower'));
    writeTinyTower(join(folder, 'query-tower'), { role: 'query' });
    const keyFile = join(folder, 'keys.json');
    const key = await addKey(keyFile);
    const [open, keyed] = await Promise.all([
      startPair(folder, 'open', undefined, { nodeFlags }),
      startPair(folder, 'keyed', keyFile, { nodeFlags, key }),
    ]);
    const { fingerprint } = manifest.space;
    return new Site(folder, open, keyed, { key, fingerprint, dimensions: manifest.dimensions });
  }

  get services(): Service[] {
    return [this.open.query, this.open.document, this.keyed.query, this.keyed.document];
  }

  service(name: ServiceName, keyed: boolean): Service {
    return (keyed ? this.keyed : this.open)[name];
  }

  async stop(): Promise<void> {
    await Promise.all(this.services.map((service) => service.stop('SIGKILL')));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Adds a key that may do everything to a file. */
export async function addKey(keyFile: string): Promise<string> {
  const { id, text } = makeKey();
  await changeKeyFile(keyFile, (keys) => [
    ...keys,
    {
      id,
      name: 'fuzz',
      sha256: hashOf(text).toString('hex'),
      scopes: [...SCOPES],
      tenants: ['*'],
      collections: ['*'],
      createdAt: new Date().toISOString(),
    },
  ]);
  return text;
}

/** Starts a pair over a store of its own. */
export async function startPair(
  folder: string,
  name: string,
  keyFile: string | undefined,
  {
    nodeFlags = [],
    queryFlags = [],
    key,
  }: { nodeFlags?: readonly string[]; queryFlags?: readonly string[]; key?: string } = {},
): Promise<Pair> {
  const data = join(folder, name);
  mkdirSync(data, { recursive: true });
  const flags = (service: ServiceName): string[] => [
    '--port',
    '0',
    '--metrics-port',
    '0',
    '--log-level',
    'warn',
    '--data',
    data,
    `--${service}-tower`,
    `file:${join(folder, `${service}-tower`)}`,
    '--console-address',
    '',
    ...(service === 'document' ? ['--indexed-fields', 'colour:keyword,size:integer,a.b:keyword'] : []),
    ...(keyFile === undefined ? [] : ['--keys', keyFile]),
  ];
  // The first one makes the store.
  const document = new Service('document', flags('document'), nodeFlags, key);
  await document.ready();
  const query = new Service('query', [...flags('query'), ...queryFlags], nodeFlags, key);
  await query.ready();
  return { document, query, keyFile, data };
}
