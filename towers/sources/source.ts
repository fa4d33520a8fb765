import type { TowerCache } from '../cache.ts';
import type { Http } from '../http.ts';
import type { HubFacts } from '../hub/facts.ts';
import type { DownloadProgress } from '../options.ts';

/** What a source needs to fetch. */
export interface SourceContext {
  cache: TowerCache;
  http: Http;
  /** Folder for what is not complete yet. */
  parts: string;
  onProgress: ((progress: DownloadProgress) => void) | undefined;
}

/** A place that holds the files of one tower. */
export interface TowerSource {
  /** The reference, as exact as can be: a commit instead of a branch. */
  readonly origin: string;
  /** What to call the tower. */
  readonly name: string;
  /** What the source says of it. */
  readonly facts: HubFacts;
  /** Paths of its files, relative, with `/`. */
  readonly paths: readonly string[];
  /** Brings files into the cache. @returns path → sha256 */
  fetch(paths: readonly string[]): Promise<ReadonlyMap<string, string>>;
}

/** A name for a tower out of the last part of a path. */
export function nameFrom(path: string): string {
  const last = path.split('/').findLast((part) => part !== '') ?? '';
  return last.replaceAll(/[^\w.-]/g, '_').slice(0, 128) || 'tower';
}
