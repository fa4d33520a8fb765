import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DocumentClient, QueryClient } from '../../clients/index.ts';
import { type Process, startProcess } from '../../services/runtime/testing/processes.ts';
import { type Proxy, startProxy } from '../../services/runtime/testing/proxy.ts';
import { writeTinyTower } from '../../towers/testing/tiny-tower.ts';

/** Room for the store, in MiB: it is filled where a disk has to be full. */
const DISK_MIB = 256;

/** A service in a process of its own, behind a proxy whose address stays. */
class Service {
  readonly proxy: Proxy;
  readonly #module: URL;
  readonly #flags: readonly string[];
  #process: Process | undefined;

  constructor(module: URL, flags: readonly string[], proxy: Proxy) {
    this.#module = module;
    this.#flags = flags;
    this.proxy = proxy;
  }

  /** `host:port` of the proxy. */
  get address(): string {
    return this.proxy.url.slice('http://'.length);
  }

  /** Starts it; where it can't start now, because the disk is full for example, once more. */
  async start(clockOffMs = 0): Promise<void> {
    const environment = { SCALINGNOTE_LOG_LEVEL: 'silent', SCALINGNOTE_CLOCK_OFF_MS: String(clockOffMs) };
    const clock = ['--import', new URL('clock-off.js', import.meta.url).href];
    for (let attempt = 1; this.#process === undefined; attempt++) {
      try {
        const nodeFlags = clockOffMs === 0 ? [] : clock;
        this.#process = await startProcess(this.#module, this.#flags, environment, nodeFlags);
      } catch (error) {
        if (attempt === 20) throw error;
        await sleep(200);
      }
    }
    this.proxy.lead(`http://${this.#process.address}`);
  }

  /** `host:port` of the process itself. */
  get direct(): string {
    return this.#process!.address;
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    await running?.stop(signal);
  }

  /** It stands still for a while. */
  async hold(ms: number): Promise<void> {
    const { child } = this.#process!;
    child.kill('SIGSTOP');
    await sleep(ms);
    child.kill('SIGCONT');
  }
}

/** Both services over one store, proxies before them, and a disk that can be full. */
export class Site {
  readonly document: Service;
  readonly query: Service;
  /** Why the disk can't be full here; `undefined` where it can. */
  readonly noDisk: string | undefined;
  readonly #disk: string;
  #fillings = 0;

  private constructor(document: Service, query: Service, disk: string, noDisk: string | undefined) {
    this.document = document;
    this.query = query;
    this.#disk = disk;
    this.noDisk = noDisk;
  }

  /** @param folder for everything that the site keeps */
  static async open(folder: string): Promise<Site> {
    const disk = join(folder, 'disk');
    mkdirSync(disk, { recursive: true });
    const noDisk = mount(disk);
    const towers = { document: join(folder, 'document-tower'), query: join(folder, 'query-tower') };
    writeTinyTower(towers.document);
    writeTinyTower(towers.query, { role: 'query' });
    const shared = [
      '--port',
      '0',
      '--metrics-port',
      '0',
      '--data',
      join(disk, 'data'),
      '--console-address',
      '',
    ];
    const service = async (name: 'document' | 'query'): Promise<Service> => {
      const module = new URL(`../../services/${name}/main.js`, import.meta.url);
      const flags = [...shared, `--${name}-tower`, `file:${towers[name]}`];
      return new Service(module, flags, await startProxy('http://127.0.0.1:1'));
    };
    const site = new Site(await service('document'), await service('query'), disk, noDisk);
    // The first one makes the store.
    await site.document.start();
    await site.query.start();
    return site;
  }

  /** Fills the disk for a while. */
  async fill(ms: number): Promise<void> {
    const path = join(this.#disk, `ballast-${++this.#fillings}`);
    const file = openSync(path, 'w');
    try {
      for (let size = 1024 * 1024; size >= 512; size = size >> 1) {
        const block = Buffer.alloc(size);
        try {
          while (writeSync(file, block) > 0);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
        }
      }
      await sleep(ms);
    } finally {
      closeSync(file);
      rmSync(path, { force: true });
    }
  }

  /** Clients of the services as they are, past the proxies. */
  documents(): DocumentClient {
    return new DocumentClient({ address: this.document.direct, timeoutMs: 20_000 });
  }

  /** A client of the query service, through its proxy. */
  queries(): QueryClient {
    return new QueryClient({ address: this.query.address, attempts: 1, timeoutMs: 3000 });
  }

  async close(): Promise<void> {
    await Promise.all([this.document.stop('SIGKILL'), this.query.stop('SIGKILL')]);
    await Promise.all([this.document.proxy.close(), this.query.proxy.close()]);
    if (this.noDisk === undefined) execFileSync('umount', ['-l', this.#disk]);
  }
}

/** Makes a folder a disk of its own, in memory. @returns why not */
function mount(folder: string): string | undefined {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MIB}m`, 'scalingnote-faults', folder], {
      stdio: 'pipe',
    });
    return undefined;
  } catch (error) {
    return `a disk in memory can't be mounted here: ${(error as Error).message.split('\n')[1] ?? ''}`;
  }
}
