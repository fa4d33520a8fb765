import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { TowerError } from '../errors.ts';
import type { TlsFiles } from '../../calls/outgoing-tls.ts';

/**
 * Rerankers: models that read a query and a text together and say how well they fit. They see what two vectors can't, and
 * take a run of the model for each text, so that they read only the best documents of a search.
 */
export interface Reranker {
  readonly name: string;
  /**
   * How well each text answers the query: higher is better, on the model's own scale.
   *
   * @throws {TowerError} `ENDPOINT_UNAVAILABLE`, `ENCODER_FAILED`, ...
   */
  score(query: string, texts: readonly string[], signal: AbortSignal): Promise<number[]>;
  close(): Promise<void>;
}

/** Longest text that is read, in UTF-16 units: more than any model takes. */
const MAX_CHARACTERS = 16_384;

/** What a reranker reads of a document: its title, and its best passage. */
export function rerankedText(title: string, passage = ''): string {
  return `${title}\n${passage}`.trim().slice(0, MAX_CHARACTERS);
}

/** How a reranker is opened. */
export interface RerankerOptions {
  log: (message: string) => void;
  /** @default one per physical core */
  threads?: number;
  tls?: TlsFiles;
}

const REMOTE = /^rerank:(?<url>https?:\/\/[^\s#?]+?)\/*$/;

/**
 * Opens `rerank:http://HOST:PORT`, a server that answers `POST /rerank` as text-embeddings-inference does, or the folder of a
 * cross-encoder: `model.onnx` (or `onnx/model.onnx`) and `tokenizer.json`.
 *
 * @throws {TowerError} `TOWER_REFERENCE_INVALID`, `TOWER_MODEL_UNSUPPORTED`
 */
export async function openReranker(reference: string, options: RerankerOptions): Promise<Reranker> {
  const { url } = REMOTE.exec(reference)?.groups ?? {};
  if (url !== undefined) {
    const { RemoteReranker } = await import('./remote.ts');
    return new RemoteReranker(url, options.tls);
  }
  const directory = resolve(reference.replace(/^file:/, ''));
  if (existsSync(join(directory, 'tokenizer.json'))) {
    const { CrossEncoder } = await import('./cross-encoder.ts');
    return CrossEncoder.open(directory, options);
  }
  throw new TowerError(
    'TOWER_REFERENCE_INVALID',
    `"${reference}" is no reranker: give rerank:http://HOST:PORT, or a folder with model.onnx and tokenizer.json`,
    { metadata: { reference } },
  );
}
