import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { OptionalTool } from '../../../test/testing/optional-tool.ts';

/** The script is not compiled, so this path leads from the compiled file to the source. */
const SERVER = fileURLToPath(new URL('../../../../store/qdrant/testing/engine/server.py', import.meta.url));

/** A folder in memory: the engine syncs its files some hundred times for each collection. */
const MEMORY = '/dev/shm';

/** Qdrant's own engine as a local server, in a process of its own that ends with this one. */
export class Engine {
  readonly url: string;
  /** Of every node; a node answers from its own copy of a replicated collection. */
  readonly urls: readonly string[];
  readonly #process: ChildProcess;

  private constructor(urls: readonly string[], child: ChildProcess) {
    this.url = urls[0]!;
    this.urls = urls;
    this.#process = child;
  }

  /** @param python the interpreter that has the engine @param folder where the data are, and stay when it is killed @param port 0 for any */
  static async start(python: string, folder: string, port = 0, nodes = 1): Promise<Engine> {
    const options = ['--folder', folder, '--port', String(port), '--nodes', String(nodes)];
    const child = spawn(python, ['-B', SERVER, '--temporary', ...options], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    child.stdin.on('error', () => undefined);
    let output = '';
    for await (const chunk of child.stdout.setEncoding('utf8')) {
      output += String(chunk);
      if (output.endsWith('\n')) return new Engine((JSON.parse(output) as { urls: string[] }).urls, child);
    }
    throw new Error('the Qdrant engine ended before it was ready');
  }

  /** Kills the engine, whatever it is doing. */
  async kill(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await exited;
  }
}

/** A folder for an engine's data. The caller removes it; the engine does if this process dies first. */
export function engineFolder(): { path: string; remove(): void } {
  const path = mkdtempSync(join(hasMemory() ? MEMORY : tmpdir(), 'scalingnote-qdrant-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** A Qdrant server for the tests of one file. */
export interface TestServer {
  /** Why there is no server. Pass it to `test()`. */
  readonly skip: string | false;
  /** Address of its REST API; set while tests run. */
  readonly url: string;
}

/**
 * The server at `QDRANT_URL`, or the engine, which runs while the calling file's tests run.
 *
 * @param find finds the engine if there is no server: `() => optionalTool('qdrant-engine')`, in the test file
 */
export function useQdrant(find: () => OptionalTool): TestServer {
  const url = process.env['QDRANT_URL'];
  return url === undefined ? useEngine(find()) : { skip: false, url };
}

/** An empty engine, which runs while the calling file's tests run. */
export function useEngine({ path: python, skip }: OptionalTool): TestServer {
  let engine: Engine | undefined;
  const folder = python === undefined ? undefined : engineFolder();
  before(async () => {
    if (folder) engine = await Engine.start(python!, folder.path);
  });
  after(async () => {
    await engine?.kill();
    folder?.remove();
    setTimeout(tellAndEnd, LINGERING_MS).unref();
  });
  return {
    skip,
    get url() {
      return engine!.url;
    },
  };
}

/** How long a file's process may go on after its last test, in milliseconds. */
const LINGERING_MS = 30_000;

/** Says what keeps the process alive after its tests, which have been reported, and ends it with their exit code. */
function tellAndEnd(): void {
  const handles = (process as unknown as { _getActiveHandles(): object[] })._getActiveHandles();
  const kinds = handles.map((handle) => `${handle.constructor.name} ${JSON.stringify(placesOf(handle))}`);
  console.error(
    `still open after the tests: ${process.getActiveResourcesInfo().join(', ')}; ${kinds.join('; ')}`,
  );
  process.exit();
}

function placesOf(handle: object): Record<string, unknown> {
  const { localPort, remotePort, listening, spawnfile, exitCode } = handle as Record<string, unknown>;
  return { localPort, remotePort, listening, spawnfile, exitCode };
}

function hasMemory(): boolean {
  try {
    accessSync(MEMORY, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
