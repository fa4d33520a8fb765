import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { defaultCacheDir, TowerCache } from './cache.ts';
import { MANIFEST_FILE, parseManifest, readManifest, requireFiles } from './directory.ts';
import { TowerError } from './errors.ts';
import { Http } from './http.ts';
import type { HubFacts } from './hub/facts.ts';
import type { HubReport } from './hub/import.ts';
import type { TowerManifest } from './manifest.ts';
import type { CacheOptions } from './options.ts';
import {
  type Location,
  parseReference,
  type Reference,
  type RemoteLocation,
  referenceTo,
} from './reference.ts';
import { type MakeContext, makeRemoteTower, type RemoteFacts, type RemoteReport } from './remote/make.ts';
import { describeRemote } from './remote/report.ts';
import { openFileSource } from './sources/file.ts';
import { openHfSource } from './sources/hf.ts';
import { openNpmSource } from './sources/npm.ts';
import type { SourceContext, TowerSource } from './sources/source.ts';

/** A tower on this machine, checked. */
export interface LocalTower {
  directory: string;
  manifest: TowerManifest;
}

/** How a tower is fetched. */
export interface PullOptions extends CacheOptions {
  /** Asks the source even if the tower is here: a branch may have moved. @default false */
  refresh?: boolean;
  /** How to read a folder in hub layout; of a `file:` alone, because what is cached does not know how it was asked for. */
  hub?: HubOptions;
  /** What a remote tower is, where it is made now: what is cached does not know how it was asked for. */
  remoteFacts?: RemoteFacts;
  /** Hears what was found at the endpoint of a remote tower that is made now. */
  onRemote?: (report: RemoteReport) => void;
}

/** What somebody says about a folder in hub layout. */
export interface HubOptions {
  facts?: HubFacts;
  /** The ONNX file, where there are several. */
  model?: string | undefined;
  /** File with vectors of the original model, to compare with. */
  reference?: string | undefined;
  /** The smallest cosine to these that is taken. */
  referenceCosine?: number | undefined;
  /** Hears what was found. */
  onReport?: (report: HubReport) => void;
}

/**
 * Brings a tower to this machine, if it is not here yet, and checks it: no network is asked for what is here. A
 * directory with a `tower.json` is used where it is.
 *
 * @param reference see {@link parseReference}
 * @throws {TowerError} `TOWER_REFERENCE_INVALID`, `TOWER_NOT_FOUND`, `TOWER_SOURCE_UNREACHABLE`, `TOWER_INTEGRITY`,
 *   `TOWER_MANIFEST_INVALID`, `TOWER_MODEL_UNSUPPORTED`, `DISK_FULL`
 */
export async function pullTower(reference: string, options: PullOptions = {}): Promise<LocalTower> {
  const parsed = parseReference(reference);
  const cache = new TowerCache(options.cacheDir ?? defaultCacheDir());
  const { location, canonical } = parsed;
  if (location.scheme === 'file') {
    const { directory } = location;
    if (existsSync(join(directory, MANIFEST_FILE))) return checked(directory, cache);
    if (!existsSync(directory)) {
      const message = `no tower in ${directory}: there is no such directory`;
      throw new TowerError('TOWER_NOT_FOUND', message, { metadata: { directory } });
    }
  }
  const find = async (): Promise<LocalTower | undefined> =>
    location.scheme === 'file' || options.refresh === true ? undefined : cached(canonical, cache);
  const known = await find();
  if (known !== undefined) return known;
  return cache.fetching(
    canonical,
    async (parts) => {
      const here = await find();
      if (here !== undefined) return here;
      if (location.scheme === 'remote') {
        const manifest = await makeRemote(location, canonical, options, { cache, parts });
        return checked(await cache.assemble(canonical, manifest), cache);
      }
      const http = new Http();
      try {
        const { onProgress } = options;
        const source = await openSource({ ...parsed, location }, { cache, http, parts, onProgress });
        const manifest = await importTower(source, parsed, { cache, parts, hub: options.hub });
        return await checked(await cache.assemble(canonical, manifest), cache);
      } finally {
        await http.close();
      }
    },
    () => options.log?.(`waiting for another process that fetches ${canonical}`),
  );
}

async function checked(directory: string, cache: TowerCache): Promise<LocalTower> {
  const manifest = await readManifest(directory);
  await requireFiles(directory, manifest, cache.stamps);
  return { directory, manifest };
}

/** A tower in the cache; one that is damaged counts as none, because it can be fetched again. */
async function cached(canonical: string, cache: TowerCache): Promise<LocalTower | undefined> {
  const directory = await cache.find(canonical);
  if (directory === undefined) return undefined;
  try {
    return await checked(directory, cache);
  } catch (error) {
    if (error instanceof TowerError) return undefined;
    throw error;
  }
}

/** Makes a remote tower, and says what was assumed of it. */
async function makeRemote(
  location: RemoteLocation,
  canonical: string,
  { remoteFacts = {}, onRemote, log }: PullOptions,
  context: MakeContext,
): Promise<TowerManifest> {
  const { manifest, report } = await makeRemoteTower(location, canonical, remoteFacts, context);
  if (onRemote) onRemote(report);
  else for (const line of describeRemote(report)) log?.(line);
  return manifest;
}

/** A reference to files. */
type FilesReference = Pick<Reference, 'known'> & { location: Exclude<Location, RemoteLocation> };

function openSource({ location, known }: FilesReference, context: SourceContext): Promise<TowerSource> {
  switch (location.scheme) {
    case 'npm':
      return openNpmSource(location, known?.integrity, context);
    case 'hf':
      return openHfSource(location, context);
    case 'file':
      return openFileSource(location.directory, context);
  }
}

/** Brings a tower's files into the cache. */
async function importTower(
  source: TowerSource,
  { location, known }: Reference,
  { cache, parts, hub = {} }: { cache: TowerCache; parts: string; hub: HubOptions | undefined },
): Promise<TowerManifest> {
  if (source.paths.includes(MANIFEST_FILE)) return importDirectory(source, cache);
  const stated = location.scheme === 'npm' || location.scheme === 'hf' ? location.model : undefined;
  const model = hub.model ?? stated;
  // With it comes ONNX Runtime, which a service of a cached lookup does without.
  const { importHub } = await import('./hub/import.ts');
  const { manifest, report } = await importHub(
    source,
    {
      name: known?.name ?? source.name,
      model,
      facts: { ...source.facts, ...known?.facts, ...hub.facts },
      reference: hub.reference,
      referenceCosine: hub.referenceCosine,
    },
    cache,
    parts,
  );
  hub.onReport?.(report);
  return manifest;
}

/** A source whose files are those of a tower's directory, manifest and all. */
async function importDirectory(source: TowerSource, cache: TowerCache): Promise<TowerManifest> {
  const where = `${source.origin}/${MANIFEST_FILE}`;
  const sha256 = (await source.fetch([MANIFEST_FILE])).get(MANIFEST_FILE)!;
  const manifest = parseManifest(await readFile(cache.blob(sha256), 'utf8'), where);
  if (manifest.runtime !== undefined) {
    throw new TowerError(
      'TOWER_MODEL_UNSUPPORTED',
      `${where} sends all texts, and a key, to ${manifest.runtime.url}; whoever fetches a tower must say that: ` +
        `npx scalingnote towers import ${referenceTo(manifest.runtime)} --out DIR`,
    );
  }
  const wanted = Object.keys(manifest.files);
  const missing = wanted.filter((path) => !source.paths.includes(path));
  if (missing.length > 0) {
    throw new TowerError('TOWER_NOT_FOUND', `${where} names files that are not there: ${missing.join(', ')}`);
  }
  const hashes = await source.fetch(wanted);
  const wrong = wanted.filter((path) => hashes.get(path) !== manifest.files[path]);
  if (wrong.length > 0) {
    const message = `${source.origin}: ${wrong.join(', ')} differ from ${MANIFEST_FILE}`;
    throw new TowerError('TOWER_INTEGRITY', message);
  }
  return manifest;
}
