import { TowerError } from '../errors.ts';
import { normalizeRows } from '../session/pooling.ts';
import { type Session, SomeFailed, type TokenBatch } from '../session/protocol.ts';
import { type Answer, type AnswerFault, faulty } from './answer.ts';
import type { Endpoint } from './endpoint.ts';
import type { RemoteRuntime } from './runtime.ts';

/** Texts and tokens of a request where the tower does not say: every server that we know takes them. */
export const DEFAULT_BATCH_INPUTS = 32;
export const DEFAULT_BATCH_TOKENS = 16_384;

/** Tokens for each text by which a server's count may be smaller than ours: special tokens that it does not count. */
const UNCOUNTED_TOKENS = 4;

/** How long requests under way may take when a tower is closed. */
const CLOSE_PATIENCE_MS = 5_000;

/** What vectors of a remote tower are. */
export interface RemoteVectors {
  runtime: Pick<RemoteRuntime, 'maxBatchInputs' | 'maxBatchTokens' | 'answersAs' | 'countsAgree' | 'cutFrom'>;
  dimensions: number;
  normalize: boolean;
}

interface Row {
  readonly index: number;
  readonly text: string;
  readonly tokens: number;
}

/** A model behind an endpoint, as an encoder uses it. What a server refuses as too large is asked for in smaller pieces. */
export class RemoteSession implements Session {
  readonly device = 'remote';
  readonly waitsToFill = true;
  readonly #endpoint: Endpoint;
  readonly #vectors: RemoteVectors;
  #maxInputs: number;
  #maxTokens: number;

  constructor(endpoint: Endpoint, vectors: RemoteVectors) {
    this.#endpoint = endpoint;
    this.#vectors = vectors;
    this.#maxInputs = vectors.runtime.maxBatchInputs ?? DEFAULT_BATCH_INPUTS;
    this.#maxTokens = vectors.runtime.maxBatchTokens ?? DEFAULT_BATCH_TOKENS;
  }

  get slots(): number {
    return this.#endpoint.limit.limit;
  }

  get maxInputs(): number {
    return this.#maxInputs;
  }

  get maxTokens(): number {
    return this.#maxTokens;
  }

  async run({ lengths, texts }: TokenBatch): Promise<Float32Array<ArrayBuffer>> {
    const { dimensions, normalize } = this.#vectors;
    if (texts === undefined) {
      throw new TowerError(
        'ENCODER_FAILED',
        'a remote tower encodes texts; make the tokens with its own tokenize',
      );
    }
    const vectors = new Float32Array(lengths.length * dimensions);
    const failures = new Map<number, TowerError>();
    const rows = texts.map((text, index): Row => ({ index, text, tokens: lengths[index]! }));
    for (let rest = rows; rest.length > 0;) {
      const taken = this.#fitting(rest);
      await this.#encode(rest.slice(0, taken), vectors, failures);
      rest = rest.slice(taken);
    }
    blame(failures, rows.length);
    if (normalize) normalizeRows(vectors, dimensions);
    if (failures.size > 0) throw new SomeFailed(vectors, failures);
    return vectors;
  }

  /** Fails what still runs after a while, so that a server which hangs does not hold the process. */
  closing(): void {
    setTimeout(() => this.#endpoint.stop(), CLOSE_PATIENCE_MS).unref();
  }

  close(): Promise<void> {
    return this.#endpoint.close();
  }

  /** How many of the first rows make a request. */
  #fitting(rows: readonly Row[]): number {
    let tokens = 0;
    let count = 0;
    while (count < rows.length && count < this.#maxInputs) {
      tokens += rows[count]!.tokens;
      if (count > 0 && tokens > this.#maxTokens) break;
      count++;
    }
    return count;
  }

  /**
   * Encodes rows in one request, or in halves where the server refuses it: a batch that is too large succeeds in parts,
   * and is remembered; a bad text fails alone.
   *
   * @returns whether all rows have vectors
   */
  async #encode(
    rows: readonly Row[],
    vectors: Float32Array,
    failures: Map<number, TowerError>,
    isPart = false,
  ): Promise<boolean> {
    const tokens = rows.reduce((sum, row) => sum + row.tokens, 0);
    try {
      const texts = rows.map(({ text }) => text);
      const answer = await this.#endpoint.embed(texts, tokens, { once: isPart });
      this.#check(answer, rows, tokens);
      return this.#keep(answer, rows, vectors, failures);
    } catch (error) {
      if (!(error instanceof TowerError) || !mayConcernOne(error)) throw error;
      if (rows.length === 1) {
        failures.set(rows[0]!.index, error);
        return false;
      }
      const middle = rows.length >>> 1;
      const first = await this.#encode(rows.slice(0, middle), vectors, failures, true);
      const second = await this.#encode(rows.slice(middle), vectors, failures, true);
      if (first && second && error.reason === 'ENDPOINT_INPUT_REFUSED')
        this.#shrink(rows.length, tokens, error);
      return first && second;
    }
  }

  /** A batch was too large: its halves were not. */
  #shrink(inputs: number, tokens: number, { metadata }: TowerError): void {
    const said = metadata['said'] ?? '';
    // "batch size 64 > maximum allowed batch size 32" says inputs; "maximum context length", "body too large" do not.
    const byTokens =
      /token|context|length|byte|body|payload/i.test(said) && !/batch.?size|inputs|items/i.test(said);
    if (byTokens) this.#maxTokens = Math.max(1, Math.min(this.#maxTokens, tokens >>> 1));
    else this.#maxInputs = Math.max(1, Math.min(this.#maxInputs, inputs >>> 1));
  }

  #check({ vectors, model, tokens: read }: Answer, rows: readonly Row[], tokens: number): void {
    const { runtime, dimensions } = this.#vectors;
    const { where } = this.#endpoint.wire;
    const { answersAs } = runtime;
    if (answersAs !== undefined && model !== undefined && model !== answersAs) {
      throw faulty('model', where, `answers as "${model}"; this space was made with "${answersAs}"`);
    }
    const expected = runtime.cutFrom ?? dimensions;
    const odd = vectors.find(({ length }) => length !== expected);
    if (odd) {
      throw faulty(
        'dimensions',
        where,
        `answers with vectors of ${odd.length} components; this space has ${expected}`,
      );
    }
    if (runtime.countsAgree && read !== undefined && read < tokens - UNCOUNTED_TOKENS * rows.length) {
      throw inputRefused(
        'truncated',
        `${where} has read ${read} of ${tokens} tokens: it cuts texts; lower maxTokens`,
      );
    }
  }

  #keep(
    answer: Answer,
    rows: readonly Row[],
    vectors: Float32Array,
    failures: Map<number, TowerError>,
  ): boolean {
    const { dimensions } = this.#vectors;
    rows.forEach(({ index }, place) => {
      const vector = answer.vectors[place]!.subarray(0, dimensions);
      const problem = problemOf(vector);
      if (problem === undefined) vectors.set(vector, index * dimensions);
      else failures.set(index, inputRefused(problem, `${this.#endpoint.wire.where} ${PROBLEMS[problem]}`));
    });
    return rows.every(({ index }) => !failures.has(index));
  }
}

/** Whether an error may be about one text of a batch: it is then looked for. */
function mayConcernOne({ reason, metadata }: TowerError): boolean {
  return reason === 'ENDPOINT_INPUT_REFUSED' || isBreak(reason, metadata);
}

/** What servers say that break: in HTTP and in gRPC. */
const BREAKS = new Set(['500', 'INTERNAL', 'UNKNOWN']);

/** Some servers break on a text that they can't take. */
function isBreak(reason: TowerError['reason'], metadata: TowerError['metadata']): boolean {
  return reason === 'ENDPOINT_UNAVAILABLE' && BREAKS.has(metadata['status'] ?? '');
}

/** A server that breaks on every text is broken; where it takes others, the text is to blame. @throws {TowerError} */
function blame(failures: Map<number, TowerError>, rows: number): void {
  for (const [row, error] of failures) {
    const { reason, message, metadata } = error;
    if (!isBreak(reason, metadata)) continue;
    if (failures.size === rows) throw error;
    failures.set(row, new TowerError('ENDPOINT_INPUT_REFUSED', message, { metadata, cause: error }));
  }
}

function problemOf(vector: Float32Array): 'not_finite' | 'zero' | undefined {
  let squares = 0;
  for (let index = 0; index < vector.length; index++) squares += vector[index]! * vector[index]!;
  if (!Number.isFinite(squares)) return 'not_finite';
  return squares > 0 ? undefined : 'zero';
}

const PROBLEMS = {
  not_finite: 'answers a text with a vector whose components are no finite numbers',
  zero: 'answers a text with a vector of zeros',
} as const;

function inputRefused(fault: AnswerFault, message: string): TowerError {
  return new TowerError('ENDPOINT_INPUT_REFUSED', message, { metadata: { fault } });
}
