import { Tensor, type InferenceSession } from './onnxruntime.ts';
import { TowerError } from '../errors.ts';
import { createSession } from './devices.ts';
import { fromHalves } from './floats.ts';
import { Head } from './head.ts';
import { cutRows, normalizeRows, pool } from './pooling.ts';
import type { ModelOptions, Session, TokenBatch } from './protocol.ts';

/** Outputs that we know by name, best first: sentence-transformers' exports, those of bare encoders, ONNX Runtime's own. */
const KNOWN_OUTPUTS = ['sentence_embedding', 'last_hidden_state', 'token_embeddings', 'hidden_states'];

/** Caches of a decoder, fed empty: we run each text once, from its start. */
const PAST = /^past_key_values?\b|^past_\d+|^cache_(key|value)/;

/** Widths of heads to try where a graph has a cache and does not state them: the usual ones, then all others. */
const HEAD_WIDTHS = new Set([
  128,
  64,
  256,
  96,
  80,
  ...Array.from({ length: 64 }, (_, index) => 8 * (index + 1)),
]);

/** ONNX Runtime says nothing of runs that fail: they are told otherwise. */
const SILENT = { logSeverityLevel: 4 } as const;

type Integers = 'int64' | 'int32';

/** How one input of the graph gets its value for a padded batch. */
type Feed = (padded: Padded) => Tensor;

interface Padded {
  batch: number;
  length: number;
  /** batch × length, padded on the right. */
  ids: Int32Array;
  mask: Uint8Array;
  unpooled: Int32Array | undefined;
  /** Where the second text of each input begins. */
  second: number;
  /** Width of the heads of a cache that does not state it. */
  headWidth: number;
}

/** An ONNX encoder or decoder in this thread. `run` holds the thread for as long as the model runs. */
export class Model implements Session {
  readonly device: string;
  readonly #session: InferenceSession;
  readonly #options: ModelOptions;
  readonly #feeds: ReadonlyMap<string, Feed>;
  readonly #head: Head;
  #headWidth = 0;
  /** Which output of the graph the vectors are read from. */
  readonly output: string;
  /** Dimensions of that output in the last run. */
  outputDims: readonly number[] = [];

  private constructor(session: InferenceSession, device: string, options: ModelOptions, head: Head) {
    this.#session = session;
    this.device = device;
    this.#options = options;
    this.#feeds = new Map(session.inputMetadata.map((input) => [input.name, feedFor(input)]));
    this.#head = head;
    this.output = options.output ?? outputOf(session.outputNames);
  }

  /** Names of the graph's inputs. */
  get inputs(): readonly string[] {
    return this.#session.inputNames;
  }

  /**
   * @throws {TowerError} `TOWER_MODEL_UNSUPPORTED` where the graph is none that we can run, `DEVICE_UNAVAILABLE` where
   *   the device is not there
   */
  static async load(options: ModelOptions, log: (message: string) => void): Promise<Model> {
    const { session, device } = await createSession(options, log);
    try {
      const model = new Model(session, device, options, await Head.load(options.head ?? []));
      if (session.inputMetadata.some(lacksHeadWidth)) await model.#findHeadWidth();
      return model;
    } catch (error) {
      await session.release();
      throw error;
    }
  }

  async run(batch: TokenBatch): Promise<Float32Array<ArrayBuffer>> {
    const padded = pad(batch, this.#headWidth);
    let output: InferenceSession.OnnxValueMapType[string] | undefined;
    try {
      output = (await this.#session.run(this.#feed(padded), [this.output]))[this.output];
    } catch (error) {
      throw new TowerError('ENCODER_FAILED', `the model failed on a batch: ${messageOf(error)}`, {
        cause: error,
      });
    }
    return this.#vectors(output, padded);
  }

  async close(): Promise<void> {
    await this.#session.release();
  }

  #feed(padded: Padded): Record<string, Tensor> {
    return Object.fromEntries([...this.#feeds].map(([name, feed]) => [name, feed(padded)]));
  }

  /** @throws {TowerError} `TOWER_MODEL_UNSUPPORTED` */
  async #findHeadWidth(): Promise<void> {
    const token = { ids: Int32Array.of(0), lengths: Int32Array.of(1) };
    let first: unknown;
    for (const width of HEAD_WIDTHS) {
      try {
        await this.#session.run(this.#feed(pad(token, width)), [this.output], SILENT);
        this.#headWidth = width;
        return;
      } catch (error) {
        first ??= error;
      }
    }
    throw unsupported(
      `its cache does not state the width of its heads, and with none of the usual ones it runs: ${messageOf(first)}`,
    );
  }

  #vectors(output: Tensor | undefined, padded: Padded): Float32Array<ArrayBuffer> {
    const { dimensions, pooling, normalize } = this.#options;
    const data = output?.type === 'float16' ? fromHalves(halvesOf(output)) : output?.data;
    if (output === undefined || !(data instanceof Float32Array)) {
      throw unsupported(
        `its output "${this.output}" is ${output?.type ?? 'missing'}; export it with float32 or float16 outputs`,
      );
    }
    this.outputDims = output.dims;
    const { batch, length, mask, unpooled } = padded;
    const width = output.dims.at(-1)!;
    let pooled: Float32Array<ArrayBuffer>;
    let pooledWidth = width;
    if (output.dims.length === 3) {
      pooledWidth *= typeof pooling === 'string' ? 1 : pooling.length;
      // What is cut off in the end need not be pooled, unless a layer reads it.
      if (this.#head.isEmpty) pooledWidth = Math.min(pooledWidth, dimensions ?? pooledWidth);
      pooled = pool({ data, batch, length, width, mask, unpooled }, pooling, pooledWidth);
    } else if (output.dims.length === 2) {
      pooled = Float32Array.from(data);
    } else {
      const rank = output.dims.length;
      throw unsupported(`its output "${this.output}" has rank ${rank}; 2 and 3 are understood`);
    }
    const whole = this.#head.apply({ data: pooled, width: pooledWidth });
    const kept = dimensions ?? whole.width;
    if (whole.width < kept) {
      const wanted = `the manifest's dimensions: ${kept}`;
      throw unsupported(`its vectors have ${whole.width} components, fewer than ${wanted}`);
    }
    const vectors = kept === whole.width ? whole.data : cutRows(whole.data, whole.width, kept);
    for (let row = 0; row < batch; row++) {
      if (mask[row * length] === 0) vectors.fill(0, row * kept, (row + 1) * kept);
    }
    if (normalize) normalizeRows(vectors, kept);
    return vectors;
  }
}

/** The bits of half-precision numbers; newer versions of Node have a type for these. */
function halvesOf({ data }: Tensor): Uint16Array {
  const { buffer, byteOffset, length } = data as unknown as Uint16Array;
  return new Uint16Array(buffer, byteOffset, length);
}

function unsupported(message: string): TowerError {
  return new TowerError('TOWER_MODEL_UNSUPPORTED', `the ONNX model can't be used: ${message}`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function pad({ ids, lengths, unpooled, second = Infinity }: TokenBatch, headWidth: number): Padded {
  const batch = lengths.length;
  let length = 1;
  for (const each of lengths) length = Math.max(length, each);
  const padded = new Int32Array(batch * length);
  const mask = new Uint8Array(batch * length);
  let start = 0;
  for (let row = 0; row < batch; row++) {
    const end = start + lengths[row]!;
    padded.set(ids.subarray(start, end), row * length);
    mask.fill(1, row * length, row * length + end - start);
    start = end;
  }
  return { batch, length, ids: padded, mask, unpooled, second, headWidth };
}

/** Which of a graph's outputs the vectors are read from. @throws {TowerError} `TOWER_MODEL_UNSUPPORTED` */
export function outputOf(names: readonly string[]): string {
  const known = KNOWN_OUTPUTS.find((name) => names.includes(name));
  if (known !== undefined) return known;
  if (names.length === 1) return names[0]!;
  throw unsupported(`none of its outputs (${names.join(', ')}) is one of ${KNOWN_OUTPUTS.join(', ')}`);
}

function feedFor(input: InferenceSession.ValueMetadata): Feed {
  if (!input.isTensor) throw unsupported(`its input "${input.name}" is no tensor`);
  if (PAST.test(input.name)) return emptyCache(input);
  const values = VALUES[input.name];
  if (values === undefined) {
    throw unsupported(
      `its input "${input.name}" is none of ${Object.keys(VALUES).join(', ')}, past_key_values.*`,
    );
  }
  if (input.type !== 'int64' && input.type !== 'int32') {
    throw unsupported(`its input "${input.name}" is ${input.type}; int64 and int32 are understood`);
  }
  const type: Integers = input.type;
  return (padded) => integers(type, values(padded), [padded.batch, padded.length]);
}

const VALUES: Readonly<Record<string, (padded: Padded) => ArrayLike<number>>> = {
  input_ids: ({ ids }) => ids,
  attention_mask: ({ mask }) => mask,
  token_type_ids: ({ mask, length, second }) =>
    Int32Array.from(mask, (isText, index) => (index % length >= second ? isText : 0)),
  position_ids: ({ ids, length }) => Int32Array.from(ids, (_, index) => index % length),
};

function integers(type: Integers, values: ArrayLike<number>, dims: number[]): Tensor {
  if (type === 'int32') return new Tensor('int32', Int32Array.from(values), dims);
  const wide = new BigInt64Array(values.length);
  for (let i = 0; i < values.length; i++) wide[i] = BigInt(values[i]!);
  return new Tensor('int64', wide, dims);
}

/** Axis of a cache that its heads' components are along. */
const HEAD_AXIS = 3;

function lacksHeadWidth(input: InferenceSession.ValueMetadata): boolean {
  return PAST.test(input.name) && input.isTensor && typeof input.shape[HEAD_AXIS] === 'string';
}

/** batch × heads × 0 × width: fixed dimensions as declared, the first of the others is the batch. */
function emptyCache(input: InferenceSession.TensorValueMetadata): Feed {
  const { type, shape, name } = input;
  if (type !== 'float32' && type !== 'float16') throw unsupported(`its input "${name}" is ${type}`);
  return ({ batch, headWidth }) => {
    const open = (axis: number): number => (axis === 0 ? batch : axis === HEAD_AXIS ? headWidth : 0);
    const dims = shape.map((size, axis) => (typeof size === 'number' ? size : open(axis)));
    if (!dims.includes(0)) throw unsupported(`its input "${name}" has no axis of variable length`);
    return type === 'float32'
      ? new Tensor(type, new Float32Array(0), dims)
      : new Tensor(type, new Uint16Array(0), dims);
  };
}
