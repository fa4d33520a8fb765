import { TowerError } from '../errors.ts';

/** What an answer that can't be right has got wrong. */
export type AnswerFault =
  /** No JSON of the expected form: a login page, a proxy's excuse. */
  | 'form'
  /** More or fewer vectors than texts. */
  | 'count'
  /** Indices that are no permutation of the texts'. */
  | 'order'
  /** Vectors of another length. */
  | 'dimensions'
  /** Another model answered. */
  | 'model'
  /** Fewer tokens were read than sent. */
  | 'truncated'
  /** Components that are no finite numbers. */
  | 'not_finite'
  /** A vector without direction. */
  | 'zero';

/** Vectors that a server answered with, and what it says of them. */
export interface Answer {
  /** In the order of the texts. */
  vectors: Float32Array[];
  /** Tokens that it read, where it says so. */
  tokens: number | undefined;
  /** The model that answered, where it says so. */
  model: string | undefined;
}

/** Longest piece of a strange answer that an error repeats. */
const MOST_QUOTED = 120;

/** An answer that breaks a rule. @param where the server */
export function faulty(fault: AnswerFault, where: string, message: string): TowerError {
  return new TowerError('ENDPOINT_ANSWER_INVALID', `${where} ${message}`, { metadata: { fault } });
}

/**
 * Reads the answer of `/v1/embeddings`: base64 or numbers, in any order with indices.
 *
 * @throws {TowerError} `ENDPOINT_ANSWER_INVALID`
 */
export function readOpenAiAnswer(text: string, count: number, where: string): Answer {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    const quoted = text.slice(0, MOST_QUOTED).replaceAll(/\s+/g, ' ');
    throw faulty('form', where, `does not answer with JSON, but with "${quoted}"`);
  }
  if (!isObject(value) || !Array.isArray(value['data'])) {
    throw faulty('form', where, 'answers with JSON that has no list "data"; is it an embeddings endpoint?');
  }
  const data = value['data'] as unknown[];
  if (data.length !== count) {
    throw faulty('count', where, `answers with ${data.length} vectors for ${count} texts`);
  }
  const vectors: (Float32Array | undefined)[] = Array.from({ length: count });
  data.forEach((entry, place) => {
    if (!isObject(entry)) throw faulty('form', where, `answers with a "data[${place}]" that is no object`);
    // Some servers leave the index out, and keep the order.
    const index = entry['index'] ?? place;
    if (typeof index !== 'number' || !Number.isInteger(index) || index < 0 || index >= count) {
      throw faulty('order', where, `gives a vector the index ${JSON.stringify(index)} among ${count} texts`);
    }
    if (vectors[index]) throw faulty('order', where, `gives two vectors the index ${index}`);
    vectors[index] = readVector(entry['embedding'], `data[${place}].embedding`, where);
  });
  const usage = isObject(value['usage']) ? value['usage'] : {};
  const tokens = usage['prompt_tokens'] ?? usage['total_tokens'];
  const { model } = value;
  return {
    vectors: vectors as Float32Array[],
    tokens: typeof tokens === 'number' && tokens >= 0 ? tokens : undefined,
    model: typeof model === 'string' && model !== '' ? model : undefined,
  };
}

/** Numbers that are none are NaN in the vector, and found by who looks for these. */
function readVector(embedding: unknown, field: string, where: string): Float32Array {
  if (typeof embedding === 'string') {
    const bytes = Buffer.from(embedding, 'base64');
    if (bytes.length === 0 || bytes.length % Float32Array.BYTES_PER_ELEMENT !== 0) {
      throw faulty('form', where, `answers with a ${field} of ${bytes.length} bytes, which are no floats`);
    }
    const vector = new Float32Array(bytes.length / Float32Array.BYTES_PER_ELEMENT);
    new Uint8Array(vector.buffer).set(bytes);
    return vector;
  }
  if (!Array.isArray(embedding) || embedding.length === 0) {
    throw faulty('form', where, `answers with a ${field} that is neither base64 nor a list of numbers`);
  }
  return Float32Array.from(embedding as unknown[], (each) => (typeof each === 'number' ? each : Number.NaN));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
