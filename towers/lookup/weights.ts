import { LookupError } from './errors.ts';
import type { TableName } from './stages.ts';
import type { Tensor } from './tensors.ts';

/** Rows of numbers; those in eight bits have a scale each. */
export interface Table {
  rows: number;
  width: number;
  values: Float32Array | Int8Array;
  scales: Float32Array | undefined;
}

/** Rows of four bits as rows of eight, once: whoever reads them at each text would take longer. */
function unpacked(packed: Uint8Array, half: number): Int8Array {
  const values = new Int8Array(2 * packed.length);
  for (let start = 0; start < packed.length; start += half) {
    for (let i = 0; i < half; i++) {
      const byte = packed[start + i]!;
      values[2 * start + i] = 2 * (byte & 15) - 15;
      values[2 * start + half + i] = 2 * (byte >> 4) - 15;
    }
  }
  return values;
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
        return { rows, width, values: values.data, scales: undefined };
      throw new LookupError(`"${name}" is no table of float32`);
    }
    const scales = this.#tensor(name.scales).data;
    if (!(scales instanceof Float32Array && scales.length === rows)) {
      throw new LookupError(`"${name.scales}" is no list of ${rows} float32`);
    }
    const { data, dims } = values;
    if (name.bits === undefined) {
      if (dims.length === 2 && data instanceof Int8Array) return { rows, width, values: data, scales };
      throw new LookupError(`"${name.values}" is no table of int8`);
    }
    if (dims.length === 2 && data instanceof Uint8Array)
      return { rows, width: 2 * width, values: unpacked(data, width), scales };
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
export function rowsOfTable({ width, values, scales }: Table): Float32Array {
  return Float32Array.from(values, (x, i) => (scales === undefined ? x : x * scales[Math.floor(i / width)]!));
}
