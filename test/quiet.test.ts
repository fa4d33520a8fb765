import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { writeTinyTower } from '../towers/testing/tiny-tower.ts';
import { letterPairs, linesFile, tinyBase } from '../training/testing/tiny-base.ts';

/**
 * Nothing leaves the machine that nobody asked for. Processes run here with a home folder of their own and with every
 * proxy variable set to a recorder; a hook in each of their threads records what they connect to past the proxy.
 */

const CLI = fileURLToPath(new URL('../cli/main.js', import.meta.url));
const HOOK = new URL('./testing/record-connections.js', import.meta.url).href;

/** How long a pair is left alone: ONNX Runtime asked its maker's host within five seconds, when it was let. */
const REST_MS = 10_000;

const run = promisify(execFile);

/** A machine that is watched. */
class Machine {
  readonly home = mkdtempSync(join(tmpdir(), 'scalingnote-quiet-'));
  readonly env: NodeJS.ProcessEnv;
  readonly #log: string;
  readonly #proxied: string[] = [];

  private constructor(proxy: Server) {
    const { port } = proxy.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}`;
    proxy.on('connect', ({ url: host }, socket) => {
      this.#proxied.push(host!);
      socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
    });
    proxy.on('request', ({ url: address }, response) => {
      this.#proxied.push(new URL(address!).host);
      response.writeHead(502).end();
    });
    const proxies = ['http_proxy', 'https_proxy', 'all_proxy', 'grpc_proxy'].flatMap((name) => [
      [name, url],
      [name.toUpperCase(), url],
    ]);
    mkdirSync(join(this.home, 'tmp'));
    this.#log = `${this.home}.connections`;
    this.env = {
      PATH: process.env['PATH'],
      HOME: this.home,
      TMPDIR: join(this.home, 'tmp'),
      NODE_OPTIONS: `--import=${HOOK}`,
      RECORD_CONNECTIONS: this.#log,
      ...(Object.fromEntries(proxies) as Record<string, string>),
    };
  }

  static async open(context: TestContext): Promise<Machine> {
    const proxy = createServer().listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    const machine = new Machine(proxy);
    context.after(() => {
      proxy.close();
      rmSync(machine.home, { recursive: true, force: true });
      rmSync(machine.#log);
    });
    return machine;
  }

  /** Every host other than this machine that was asked for, sorted. */
  get hosts(): string[] {
    const lines = readFileSync(this.#log, 'utf8').trim().split('\n');
    const away = lines.filter((line) => !/^(?:loaded|(?:127\.0\.0\.1|localhost):\d+)$/.test(line));
    return [...new Set([...this.#proxied, ...away])].sort();
  }

  /** Every file in the home folder, sorted; hashes in their names are stars. */
  get files(): string[] {
    const files = readdirSync(this.home, { recursive: true, withFileTypes: true })
      .filter((entry) => !entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name).slice(this.home.length + 1));
    return [...new Set(files.map((path) => path.replaceAll(/[0-9a-f]{12,64}/g, '*')))].sort();
  }

  /** Runs a command to its end. @returns its standard output */
  async cli(...parameters: string[]): Promise<string> {
    const { stdout } = await run(process.execPath, [CLI, ...parameters], { env: this.env, cwd: this.home });
    return stdout;
  }
}

test(
  'the pair asks no host and writes its store, what it has verified and how it runs its tower',
  { timeout: 120_000 },
  async (context) => {
    const machine = await Machine.open(context);
    const towers = mkdtempSync(join(tmpdir(), 'scalingnote-quiet-towers-'));
    context.after(() => rmSync(towers, { recursive: true, force: true }));
    writeTinyTower(join(towers, 'document'));
    writeTinyTower(join(towers, 'query'), { role: 'query' });
    const ports = ['document', 'query', 'console'].flatMap((name) => [`--${name}-port`, '0']);
    const files = ['document', 'query'].flatMap((name) => [`--${name}-tower`, `file:${join(towers, name)}`]);
    const pair = spawn(process.execPath, [CLI, 'up', '--json', '--documents', '20', ...ports, ...files], {
      env: machine.env,
      cwd: machine.home,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    context.after(() => pair.kill());
    let [stdout, stderr] = ['', ''];
    pair.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    for await (const chunk of pair.stdout) {
      stdout += String(chunk);
      if (stdout.endsWith('\n}\n')) break;
    }
    assert.ok(stdout.endsWith('\n}\n'), stderr);
    const { addresses } = JSON.parse(stdout) as { addresses: { query: string } };
    const hits = await machine.cli('search', 'star', '-c', 'wordnet', '--query-address', addresses.query);
    assert.notEqual(hits, '');
    await sleep(REST_MS);
    pair.kill();
    await once(pair, 'exit');
    assert.deepEqual(machine.hosts, []);
    // The log of a store that was closed by its last user is gone; a slow machine may end that one before.
    const kept = machine.files.filter((file) => !/store\.db-(?:wal|shm)$/.test(file));
    assert.deepEqual(kept, [
      '.cache/scalingnote/sessions/*.json',
      '.cache/scalingnote/verified/*.json',
      '.local/share/scalingnote/logs/console.log',
      '.local/share/scalingnote/logs/document.log',
      '.local/share/scalingnote/logs/query.log',
      '.local/share/scalingnote/sample.json',
      '.local/share/scalingnote/store.db',
      '.local/share/scalingnote/store.id',
    ]);
  },
);

test(
  'training, its processes included, asks no host and writes its towers and their cache',
  { timeout: 120_000 },
  async (context) => {
    const machine = await Machine.open(context);
    const input = ['--base', tinyBase(context), '--pairs', linesFile(context, letterPairs(200))];
    const sizes = ['--steps', '4', '--batch', '16', '--workers', '2', '--threads', '1'];
    await machine.cli('train', ...input, ...sizes, '--out', join(machine.home, 'out'));
    assert.deepEqual(machine.hosts, []);
    assert.deepEqual(
      machine.files.filter((path) => !path.startsWith('out/')),
      ['.cache/scalingnote/vectors/*.f32', '.cache/scalingnote/verified/*.json'],
    );
  },
);

test(
  'with an empty cache, the pair asks the npm registry for its tower',
  { timeout: 120_000 },
  async (context) => {
    const machine = await Machine.open(context);
    await assert.rejects(machine.cli('up', '--once'), /registry\.npmjs\.org/);
    assert.deepEqual(machine.hosts, ['registry.npmjs.org:443']);
    assert.deepEqual(machine.files, []);
  },
);
