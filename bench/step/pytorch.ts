import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** The interpreter that has PyTorch. */
const PYTHON_VARIABLE = 'SCALINGNOTE_BENCH_PYTHON';

/** It is not compiled: from the place of this file's own compilation to its source. */
const SCRIPT = fileURLToPath(new URL('../../../bench/step/pytorch.py', import.meta.url));

/** What a step is made of, as the script reads it. */
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

/** PyTorch in a process of its own, which takes a step when asked. */
export class PyTorch {
  readonly version: string;
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(version: string, child: ChildProcess, lines: AsyncIterator<string>) {
    this.version = version;
    this.#process = child;
    this.#lines = lines;
  }

  /** @returns undefined where there is no PyTorch */
  static async open(sizes: Sizes): Promise<PyTorch | undefined> {
    const child = spawn(process.env[PYTHON_VARIABLE] ?? 'python3', ['-W', 'ignore', SCRIPT], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    const failed = new Promise<undefined>((resolve) => {
      child.once('error', () => resolve(undefined));
      child.once('exit', () => resolve(undefined));
    });
    // What it can't be sent, its end tells.
    child.stdin.on('error', () => {});
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    child.stdin.write(`${JSON.stringify(sizes)}\n`);
    const first = await Promise.race([failed, lines.next().then(({ value }) => value as string | undefined)]);
    if (first === undefined) return undefined;
    return new PyTorch((JSON.parse(first) as { version: string }).version, child, lines);
  }

  /** Seconds of a step. @param attention - written out, or PyTorch's own operator */
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

/** What to say where it is missing. */
export const MISSING = `PyTorch is not installed for ${process.env[PYTHON_VARIABLE] ?? 'python3'}; ${PYTHON_VARIABLE} names another interpreter`;
