import { KERNEL } from './kernel-bytes.ts';
import { type Arithmetic, checkRow, type Rows } from './rows.ts';
import type { Table } from './weights.ts';

/** Bytes that the kernel reads at once, at an address that is a multiple of them. */
const STEP = 16;

/** Tokens of one call: texts have fewer nearly always, and others take several. */
const TOKENS = 256;

/** Bytes of a page of memory, as WebAssembly has it. */
const PAGE = 65_536;

/** Bytes of the two lists: of ids and of factors. */
const LISTS = 2 * 4 * TOKENS;

/** What is used of WebAssembly, whose types come with those of pages. */
interface Wasm {
  Memory: new (size: { initial: number }) => { readonly buffer: ArrayBuffer };
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports: Record<string, object>) => { readonly exports: object };
}

/** A function of `kernel.wat` that reads rows: addresses, and how many. */
type Run = (
  rows: number,
  scales: number,
  bytes: number,
  ids: number,
  factors: number,
  count: number,
  sum: number,
) => void;

interface Exports {
  add8: Run;
  add4: Run;
  dot8: Run;
  dot4: Run;
  unit: (from: number, end: number) => void;
}

/** A table of few bits whose rows the kernel can read. */
type Packed = Table & { values: Int8Array | Uint8Array; scales: Float32Array };

/**
 * The arithmetic of a lookup in WebAssembly, four numbers at a time. It holds the tables itself, those of four bits as they
 * are in the file: half of what JavaScript needs. Its vectors are views of its memory, which never grows.
 */
export class Kernel implements Arithmetic {
  readonly #memory: ArrayBuffer;
  readonly #run: Exports;
  /** Where its memory is free from. */
  #free = 0;
  readonly #ids: Int32Array;
  readonly #factors: Float32Array;

  private constructor(memory: ArrayBuffer, run: Exports) {
    this.#memory = memory;
    this.#run = run;
    this.#ids = new Int32Array(memory, this.#take(4 * TOKENS), TOKENS);
    this.#factors = new Float32Array(memory, this.#take(4 * TOKENS), TOKENS);
  }

  /** A kernel with room for tables; `undefined` where these are of other kinds, or a page or an old processor allows none. */
  static open(tables: readonly Table[]): Kernel | undefined {
    const { WebAssembly: wasm } = globalThis as { WebAssembly?: Wasm };
    if (wasm === undefined || !tables.every(isPacked)) return undefined;
    const bytes = tables.reduce(
      // A vector for each: what one table's rows are added to, or multiplied with, is as wide as they are.
      (sum, { width, values, scales }) =>
        sum + aligned(values.byteLength) + aligned(scales.byteLength) + aligned(4 * width),
      LISTS,
    );
    try {
      const memory = new wasm.Memory({ initial: Math.ceil(bytes / PAGE) });
      const { exports } = new wasm.Instance(new wasm.Module(bytesOf(KERNEL)), { env: { memory } });
      return new Kernel(memory.buffer, exports as Exports);
    } catch {
      // A policy of the page (`wasm-unsafe-eval`), a processor without such instructions, or no memory.
      return undefined;
    }
  }

  /** @param table one of those that it was opened for */
  rows(table: Table): Rows {
    if (!isPacked(table)) throw new TypeError('the kernel was opened without this table');
    const { rows, width, values, scales, bits } = table;
    const bytes = (width * bits) / 8;
    const valuesAt = this.#take(values.byteLength);
    new Uint8Array(this.#memory, valuesAt).set(
      new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
    );
    const scalesAt = this.#take(scales.byteLength);
    new Float32Array(this.#memory, scalesAt, rows).set(scales);
    const { add8, add4, dot8, dot4 } = this.#run;
    const [add, dot] = bits === 8 ? [add8, dot8] : [add4, dot4];
    const [listed, factored] = [this.#ids, this.#factors];
    const [idsAt, factorsAt] = [listed.byteOffset, factored.byteOffset];
    return {
      width,
      add: (ids, factors, sum) => {
        for (let start = 0; start < ids.length; start += TOKENS) {
          const count = Math.min(TOKENS, ids.length - start);
          for (let i = 0; i < count; i++) {
            checkRow(table, ids[start + i]!);
            listed[i] = ids[start + i]!;
            factored[i] = factors === undefined ? 1 : factors[start + i]!;
          }
          add(valuesAt, scalesAt, bytes, idsAt, factorsAt, count, sum.byteOffset);
        }
      },
      multiply: (ids, vector, products) => {
        for (let start = 0; start < ids.length; start += TOKENS) {
          const count = Math.min(TOKENS, ids.length - start);
          for (let i = 0; i < count; i++) {
            checkRow(table, ids[start + i]!);
            listed[i] = ids[start + i]!;
          }
          dot(valuesAt, scalesAt, bytes, idsAt, factorsAt, count, vector.byteOffset);
          for (let i = 0; i < count; i++) products[start + i] = factored[i]!;
        }
      },
    };
  }

  vector(width: number): Float32Array {
    return new Float32Array(this.#memory, this.#take(4 * width), width);
  }

  toUnit({ byteOffset, byteLength }: Float32Array): void {
    this.#run.unit(byteOffset, byteOffset + byteLength);
  }

  #take(bytes: number): number {
    const at = this.#free;
    this.#free += aligned(bytes);
    return at;
  }
}

function isPacked(table: Table): table is Packed {
  return table.scales !== undefined && table.bits !== 32 && ((table.width * table.bits) / 8) % STEP === 0;
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / STEP) * STEP;
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}
