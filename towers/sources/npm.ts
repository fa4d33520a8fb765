import { createWriteStream, existsSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import * as tar from 'tar';
import * as z from 'zod';
import { download } from '../download.ts';
import { TowerError } from '../errors.ts';
import { parseIntegrity } from '../hash.ts';
import type { SourceRequest } from '../http.ts';
import type { Location } from '../reference.ts';
import { PUBLIC_REGISTRY, registryOf } from './npmrc.ts';
import { nameFrom, type SourceContext, type TowerSource } from './source.ts';

type NpmLocation = Extract<Location, { scheme: 'npm' }>;

const ADVICE =
  'check the network and the proxy (HTTPS_PROXY), or set npm_config_registry to a registry that can be reached';

/** What we need of a package's metadata, as registries answer to `application/vnd.npm.install-v1+json` or without. */
const Packument = z.object({
  versions: z.record(
    z.string(),
    z.object({
      dist: z.object({ tarball: z.string(), integrity: z.string().optional() }),
      license: z.string().optional().catch(undefined),
    }),
  ),
});

/**
 * A folder in the tarball of an npm package. The package is never installed, and nothing of it runs.
 *
 * @param pinned what the tarball must be, whatever the registry says; Subresource Integrity notation
 */
export async function openNpmSource(
  location: NpmLocation,
  pinned: string | undefined,
  { cache, http, parts, onProgress }: SourceContext,
): Promise<TowerSource> {
  const { package: packageName, version, path: folder } = location;
  const registry = await registryOf(packageName);
  const packument = await http.json({
    url: `${registry.url}${packageName.replace('/', '%2f')}`,
    headers: { ...registry.headers, accept: 'application/vnd.npm.install-v1+json, application/json' },
    advice: ADVICE,
  });
  const { dist, license } = findVersion(packument, location);
  const tarball = join(parts, 'package.tgz');
  if (!existsSync(tarball)) {
    const integrity = parseIntegrity(pinned ?? dist.integrity ?? '');
    if (integrity === undefined) {
      throw new TowerError(
        'TOWER_INTEGRITY',
        `the registry gives no sha512 integrity for ${packageName}@${version}, so that its tarball can't be checked`,
      );
    }
    const part = `${tarball}.part`;
    await download(http, {
      ...tarballRequest(dist.tarball, registry.url, registry.headers),
      path: part,
      name: `${packageName}@${version}`,
      integrity,
      onProgress,
    });
    await rename(part, tarball);
  }

  /** Path below the folder; undefined for what is outside. The first part of a tarball's paths is any name. */
  const pathOf = (entry: tar.ReadEntry): string | undefined => {
    if (entry.type !== 'File' && entry.type !== 'OldFile') return undefined;
    const path = entry.path.split('/').slice(1).join('/');
    if (folder === '') return path;
    return path.startsWith(`${folder}/`) ? path.slice(folder.length + 1) : undefined;
  };
  const each = (visit: (path: string, entry: tar.ReadEntry) => void): Promise<void> =>
    tar.list({
      file: tarball,
      onReadEntry: (entry) => {
        const path = pathOf(entry);
        if (path !== undefined) visit(path, entry);
      },
    });
  const paths: string[] = [];
  await each((path) => paths.push(path));
  if (paths.length === 0) {
    throw new TowerError('TOWER_NOT_FOUND', `${packageName}@${version} has no folder "${folder}"`);
  }
  return {
    origin: `npm:${packageName}@${version}${folder === '' ? '' : `/${folder}`}`,
    name: nameFrom(folder === '' ? packageName : folder),
    facts: license === undefined ? {} : { license },
    paths,
    async fetch(wanted) {
      const writes: Promise<[path: string, file: string]>[] = [];
      await each((path, entry) => {
        if (!wanted.includes(path)) return;
        const file = join(parts, String(writes.length));
        writes.push(pipeline(entry, createWriteStream(file)).then(() => [path, file]));
      });
      const hashes = new Map<string, string>();
      for (const [path, file] of await Promise.all(writes)) hashes.set(path, await cache.adopt(file));
      return hashes;
    },
  };
}

function findVersion(
  packument: unknown,
  { package: packageName, version }: NpmLocation,
): z.infer<typeof Packument>['versions'][string] {
  const parsed = Packument.safeParse(packument);
  if (!parsed.success) {
    throw new TowerError(
      'TOWER_SOURCE_UNREACHABLE',
      `the registry's answer about ${packageName} is not what a registry says:\n${z.prettifyError(parsed.error)}`,
    );
  }
  const found = parsed.data.versions[version];
  if (found !== undefined) return found;
  const newest = Object.keys(parsed.data.versions).slice(-3).join(', ');
  const message = `${packageName} has no version ${version}; the newest are ${newest}`;
  throw new TowerError('TOWER_NOT_FOUND', message);
}

/**
 * Mirrors may hand out addresses of the public registry, which need not be reachable from here: npm asks the mirror
 * instead, and so do we. Credentials go to the registry alone.
 */
function tarballRequest(
  tarball: string,
  registry: string,
  headers: Readonly<Record<string, string>>,
): SourceRequest {
  const url = tarball.startsWith(PUBLIC_REGISTRY)
    ? registry + tarball.slice(PUBLIC_REGISTRY.length)
    : tarball;
  return { url, headers: url.startsWith(registry) ? headers : {}, advice: ADVICE };
}
