import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { PYTHON_VARIABLE } from '../python.ts';

/** The script is not compiled, so this path leads from the compiled file to the source. */
const SCRIPT = fileURLToPath(new URL('../../../bench/step/pytorch.py', import.meta.url));

/** The sizes of a step, in the form that the script reads. */
export interface Sizes {
  layers: number;
  width: number;
  inner: number;
  heads: number;
  vocabulary: number;
  texts: number;
  tokens: number;
  threads: number;
  loss: 'distillation' | 'contrastive';
}

/** PyTorch in a process of its own, which takes a step on request. */
export class PyTorch {
  readonly version: string;
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(version: string, child: ChildProcess, lines: AsyncIterator<string>) {
    this.version = version;
    this.#process = child;
    this.#lines = lines;
  }

  /** @returns `undefined` without PyTorch */
  static async open(sizes: Sizes): Promise<PyTorch | undefined> {
    const child = spawn(process.env[PYTHON_VARIABLE] ?? 'python3', ['-W', 'ignore', SCRIPT], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    const failed = new Promise<undefined>((resolve) => {
      child.once('error', () => resolve(undefined));
      child.once('exit', () => resolve(undefined));
    });
    // If a write fails, the end of the process reports it.
    child.stdin.on('error', () => {});
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    child.stdin.write(`${JSON.stringify(sizes)}\n`);
    const first = await Promise.race([failed, lines.next().then(({ value }) => value as string | undefined)]);
    if (first === undefined) return undefined;
    return new PyTorch((JSON.parse(first) as { version: string }).version, child, lines);
  }

  /** Takes a step and returns its seconds. @param attention written out, or PyTorch's own operator */
  async step(attention: 'eager' | 'fused'): Promise<number> {
    this.#process.stdin!.write(`${attention}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error('PyTorch ended in the middle of a step');
    return Number(value);
  }

  close(): void {
    this.#process.stdin!.end();
  }
}

/** What to say if PyTorch is missing. */
export const MISSING = `PyTorch is not installed for ${process.env[PYTHON_VARIABLE] ?? 'python3'}; ${PYTHON_VARIABLE} names another interpreter`;
