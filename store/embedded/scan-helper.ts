import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { limits } from '../../machine/limits.ts';

/** Cells of the memory that both threads share: scans that were asked for, and those that were answered. */
export const ASKED = 0;
export const ANSWERED = 1;
const CELLS = 2;

/** How long to wait for an answer before the store scans everything itself from then on, in milliseconds. */
const PATIENCE_MS = 1000;

/** What a helper is started with. */
export interface HelperData {
  port: MessagePort;
  turns: Int32Array;
}

/** What a helper is sent. */
export type HelperRequest =
  | { chunk: number; codes: Int8Array }
  | { forget: true }
  | { chunks: readonly number[]; query: Int8Array; count: number };

/** The best rows of each chunk. */
export type HelperAnswer = { keys: BigUint64Array; distances: Float32Array }[];

/** Codes that a helper may have a copy of. */
export interface HelpedChunk {
  index: number;
  /** Grows with each change of the codes. */
  version: number;
  codes(): Int8Array;
}

/**
 * A thread that scans half of the chunks while the store's own scans the others. It keeps a copy of its half, and works for
 * one matrix at a time. Nothing here waits for the event loop: the store's thread does one thing at a time.
 */
export class ScanHelper {
  readonly #port: MessagePort;
  readonly #turns = new Int32Array(new SharedArrayBuffer(CELLS * Int32Array.BYTES_PER_ELEMENT));
  /** Versions of its chunks. */
  readonly #known = new Map<number, number>();
  #owner: object | undefined;
  #isBroken = false;

  constructor() {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const worker = new Worker(new URL('./scan-helper-worker.js', import.meta.url), {
      name: 'embedded-store-scan',
      workerData: { port: port2, turns: this.#turns } satisfies HelperData,
      transferList: [port2],
    });
    worker.on('error', () => (this.#isBroken = true));
    worker.unref();
    port1.unref();
  }

  /** Asks for a scan of some chunks; {@link take} has its answer. @returns whether the helper can do it */
  ask(owner: object, chunks: readonly HelpedChunk[], query: Int8Array, count: number): boolean {
    if (this.#isBroken) return false;
    if (this.#owner !== owner) {
      this.#owner = owner;
      this.#known.clear();
      this.#send({ forget: true });
    }
    for (const { index, version, codes } of chunks) {
      if (this.#known.get(index) === version) continue;
      this.#known.set(index, version);
      this.#send({ chunk: index, codes: codes() });
    }
    this.#send({ chunks: chunks.map(({ index }) => index), query, count });
    Atomics.add(this.#turns, ASKED, 1);
    Atomics.notify(this.#turns, ASKED);
    return true;
  }

  /** The answer to the scan that was asked for, by chunk; `undefined` where none came. */
  take(): HelperAnswer | undefined {
    const before = Atomics.load(this.#turns, ASKED) - 1;
    Atomics.wait(this.#turns, ANSWERED, before, PATIENCE_MS);
    const answer = receiveMessageOnPort(this.#port);
    if (!answer) this.#isBroken = true;
    return answer?.message as HelperAnswer | undefined;
  }

  #send(request: HelperRequest): void {
    this.#port.postMessage(request, []);
  }
}

let helper: ScanHelper | undefined;

/** The helper of this thread; `undefined` where there is no core for it. */
export function scanHelper(): ScanHelper | undefined {
  if (limits().threads < 2) return undefined;
  return (helper ??= new ScanHelper());
}
