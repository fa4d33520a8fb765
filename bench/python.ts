import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { MissingPeerError } from './report.ts';

/** The interpreter that has what a peer needs. */
export const PYTHON_VARIABLE = 'BENCH_PYTHON';

/**
 * A script in a process of its own that takes a setup, says its version, and answers each line with one. All of them are
 * JSON.
 */
export class PythonPeer {
  readonly version: string;
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(version: string, child: ChildProcess, lines: AsyncIterator<string>) {
    this.version = version;
    this.#process = child;
    this.#lines = lines;
  }

  /**
   * @param script its path from the root of the repository: scripts are not compiled. It may not be called as a package
   *   that it imports, since it would import itself.
   * @param packages that it needs, as pip names them; the first one is the peer
   * @throws {MissingPeerError} where the interpreter does not have them
   */
  static async open(script: string, packages: readonly string[], setup: object): Promise<PythonPeer> {
    const path = fileURLToPath(new URL(`../../${script}`, import.meta.url));
    const child = spawn(interpreter(), ['-W', 'ignore', path], { stdio: ['pipe', 'pipe', 'pipe'] });
    const said = text(child.stderr);
    const failed = new Promise<undefined>((resolve) => {
      child.once('error', () => resolve(undefined));
      child.once('exit', () => resolve(undefined));
    });
    // If a write fails, the end of the process reports it.
    child.stdin.on('error', () => {});
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    child.stdin.write(`${JSON.stringify(setup)}\n`);
    const first = await Promise.race([failed, lines.next().then(({ value }) => value as string | undefined)]);
    if (first === undefined) throw whyNot(packages, await said);
    return new PythonPeer((JSON.parse(first) as { version: string }).version, child, lines);
  }

  async ask<Answer>(question: object): Promise<Answer> {
    this.#process.stdin!.write(`${JSON.stringify(question)}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${this.version} ended before it had answered`);
    return JSON.parse(value) as Answer;
  }

  /** Ends it, so that its processor time counts as this run's. */
  async close(): Promise<void> {
    this.#process.stdin!.end();
    if (this.#process.exitCode === null && this.#process.signalCode === null)
      await once(this.#process, 'exit');
  }
}

/** @param said what the script wrote about its end; nothing where there is no interpreter */
function whyNot([peer, ...others]: readonly string[], said: string): Error {
  if (said !== '' && !said.includes('ModuleNotFoundError')) {
    return new Error(`${peer} did not start: ${said.trim().split('\n').at(-1)}`);
  }
  return new MissingPeerError(
    `${peer} is not installed for ${interpreter()}; "pip install ${[peer, ...others].join(' ')}" installs it, and ` +
      `${PYTHON_VARIABLE} names another interpreter`,
  );
}

function interpreter(): string {
  return process.env[PYTHON_VARIABLE] ?? 'python3';
}
