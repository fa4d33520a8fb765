import { copyFile, readdir } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { nameFrom, type SourceContext, type TowerSource } from './source.ts';

/** A directory in hub layout on this machine. Its files are copied: a link would let a later change into the cache. */
export async function openFileSource(
  directory: string,
  { cache, parts }: SourceContext,
): Promise<TowerSource> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile() || entry.isSymbolicLink())
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)).split(sep).join('/'));
  return {
    origin: `file:${directory}`,
    name: nameFrom(directory.split(sep).join('/')),
    facts: {},
    paths,
    async fetch(wanted) {
      const hashes = new Map<string, string>();
      for (const [index, path] of wanted.entries()) {
        const copy = join(parts, String(index));
        await copyFile(join(directory, path), copy);
        hashes.set(path, await cache.adopt(copy));
      }
      return hashes;
    },
  };
}
