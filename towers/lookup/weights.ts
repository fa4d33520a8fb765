import { LookupError } from './errors.ts';
import type { TableName } from './stages.ts';
import type { Tensor } from './tensors.ts';

/** Rows of numbers; those in few bits have a scale each. */
export interface Table {
  rows: number;
  width: number;
  bits: 4 | 8 | 32;
  /** In four bits as in the file, two numbers in a byte. */
  values: Float32Array | Int8Array | Uint8Array;
  scales: Float32Array | undefined;
}

/** A table's numbers, those of four bits as eight. */
export function unpacked({ width, values }: Table): Float32Array | Int8Array {
  if (!(values instanceof Uint8Array)) return values;
  const half = width / 2;
  const found = new Int8Array(2 * values.length);
  for (let start = 0; start < values.length; start += half) {
    for (let i = 0; i < half; i++) {
      const byte = values[start + i]!;
      found[2 * start + i] = 2 * (byte & 15) - 15;
      found[2 * start + half + i] = 2 * (byte >> 4) - 15;
    }
  }
  return found;
}

/** The weights that stages name. */
export class Weights {
  readonly #tensors: ReadonlyMap<string, () => Tensor>;
  readonly #dimensions: number;

  constructor(tensors: ReadonlyMap<string, () => Tensor>, dimensions: number) {
    this.#tensors = tensors;
    this.#dimensions = dimensions;
  }

  #tensor(name: string): Tensor {
    const tensor = this.#tensors.get(name);
    if (tensor === undefined) {
      throw new LookupError(
        `the manifest names the weights "${name}"; the model has ${[...this.#tensors.keys()].join(', ')}`,
      );
    }
    return tensor();
  }

  table(name: TableName): Table {
    const values = this.#tensor(typeof name === 'string' ? name : name.values);
    const [rows = 0, width = 0] = values.dims;
    if (typeof name === 'string') {
      if (values.dims.length === 2 && values.data instanceof Float32Array)
        return { rows, width, bits: 32, values: values.data, scales: undefined };
      throw new LookupError(`"${name}" is no table of float32`);
    }
    const scales = this.#tensor(name.scales).data;
    if (!(scales instanceof Float32Array && scales.length === rows)) {
      throw new LookupError(`"${name.scales}" is no list of ${rows} float32`);
    }
    const { data, dims } = values;
    if (name.bits === undefined) {
      if (dims.length === 2 && data instanceof Int8Array)
        return { rows, width, bits: 8, values: data, scales };
      throw new LookupError(`"${name.values}" is no table of int8`);
    }
    if (dims.length === 2 && data instanceof Uint8Array)
      return { rows, width: 2 * width, bits: 4, values: data, scales };
    throw new LookupError(`"${name.values}" is no table of uint8, two numbers in a byte`);
  }

  /** A table whose rows are added to a vector of so many components. */
  rows(name: TableName, width = this.#dimensions): Table {
    const table = this.table(name);
    if (table.width === width) return table;
    const whose = width === this.#dimensions ? 'the tower' : 'the rows of the projection';
    throw new LookupError(
      `the rows of ${JSON.stringify(name)} have ${table.width} components, ${whose} ${width}`,
    );
  }

  numbers(name: string): ArrayLike<number> {
    return this.#tensor(name).data;
  }

  list(name: string | undefined): ArrayLike<number> | undefined {
    if (name === undefined) return undefined;
    const { data } = this.#tensor(name);
    if (data instanceof Float32Array && data.length > 0) return data;
    throw new LookupError(`"${name}" is no list of float32`);
  }
}

/** A table's rows as they are meant: each times its scale. */
export function rowsOfTable(table: Table): Float32Array {
  const { width, scales } = table;
  return Float32Array.from(unpacked(table), (x, i) =>
    scales === undefined ? x : x * scales[Math.floor(i / width)]!,
  );
}
