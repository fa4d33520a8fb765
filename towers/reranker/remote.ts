import type { TlsFiles } from '../../calls/outgoing-tls.ts';
import { TowerError } from '../errors.ts';
import { remoteIdentity } from '../remote/key.ts';
import { redactKey, type RemoteIdentity, Transport } from '../remote/transport.ts';
import type { Reranker } from './reranker.ts';

/** Longest piece of a server's own words in our errors. */
const MOST_QUOTED = 300;

/** Answers that another attempt may get past. */
const AWAY: ReadonlySet<number> = new Set([408, 424, 429, 500, 502, 503, 504]);

/** A reranker on a server: `POST /rerank` with `query` and `texts`, answered with an `index` and a `score` for each. */
export class RemoteReranker implements Reranker {
  readonly name: string;
  readonly #url: string;
  readonly #identity: RemoteIdentity;
  readonly #transport: Transport;

  constructor(url: string, tls?: TlsFiles) {
    this.name = url;
    this.#url = `${url}/rerank`;
    this.#identity = remoteIdentity(undefined, tls);
    this.#transport = new Transport(this.#url, this.#identity);
  }

  async score(query: string, texts: readonly string[], signal: AbortSignal): Promise<number[]> {
    let answer: Awaited<ReturnType<Transport['send']>>;
    try {
      // What is too long is cut by the server: a reranker reads the beginning of a passage, as a tower does.
      answer = await this.#transport.send({ url: this.#url, body: { query, texts, truncate: true }, signal });
    } catch (error) {
      signal.throwIfAborted();
      throw new TowerError(
        'ENDPOINT_UNAVAILABLE',
        `${this.name} can't be reached: ${(error as Error).message}`,
        {
          cause: error,
        },
      );
    }
    const { status, text } = answer;
    if (status !== 200) {
      const said = redactKey(text, this.#identity.key?.()).slice(0, MOST_QUOTED);
      const reason = AWAY.has(status) ? 'ENDPOINT_UNAVAILABLE' : 'ENDPOINT_REFUSED';
      throw new TowerError(reason, `${this.name} answers with ${status}: ${said}`);
    }
    return scoresOf(text, texts.length, this.name);
  }

  close(): Promise<void> {
    return this.#transport.close();
  }
}

/** The scores in the order of the texts. @throws {TowerError} `ENDPOINT_ANSWER_INVALID` */
function scoresOf(text: string, count: number, where: string): number[] {
  const wrong = (what: string): TowerError =>
    new TowerError('ENDPOINT_ANSWER_INVALID', `${where} answers with ${what}`);
  let ranks: unknown;
  try {
    ranks = JSON.parse(text);
  } catch {
    throw wrong('what is no JSON');
  }
  if (!Array.isArray(ranks)) throw wrong('what is no list of scores');
  const scores = new Map<number, number>();
  for (const rank of ranks as unknown[]) {
    const { index, score } = (rank ?? {}) as { index?: unknown; score?: unknown };
    if (typeof index !== 'number' || typeof score !== 'number' || !Number.isFinite(score)) {
      throw wrong('a rank without an index or a score');
    }
    if (scores.has(index)) throw wrong(`two scores for text ${index}`);
    scores.set(index, score);
  }
  const found = Array.from({ length: count }, (_, index) => scores.get(index));
  const missing = found.indexOf(undefined);
  if (missing >= 0 || scores.size > count) throw wrong(`${scores.size} scores for ${count} texts`);
  return found as number[];
}
