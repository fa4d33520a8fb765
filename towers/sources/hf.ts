import { createHash } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { download } from '../download.ts';
import { TowerError } from '../errors.ts';
import type { Location } from '../reference.ts';
import { nameFrom, type SourceContext, type TowerSource } from './source.ts';

const PUBLIC_HUB = 'https://huggingface.co';

const ADVICE =
  'check the network and the proxy (HTTPS_PROXY), set HF_ENDPOINT to a mirror, or HF_TOKEN where access is restricted';

/** What we need of the hub's answer about a model, with `blobs=true`. */
const ModelInfo = z.object({
  sha: z.string(),
  siblings: z.array(
    z.object({
      rfilename: z.string(),
      /** Git's own hash, of files that are in the repository itself. */
      blobId: z.string().optional(),
      lfs: z.object({ sha256: z.string() }).nullish(),
    }),
  ),
  cardData: z.object({ license: z.string().optional().catch(undefined) }).nullish(),
});

/** A model repository of the Hugging Face hub, or of a mirror with the same addresses. */
export async function openHfSource(
  { repository, revision }: Extract<Location, { scheme: 'hf' }>,
  { cache, http, parts, onProgress }: SourceContext,
  env: NodeJS.ProcessEnv = process.env,
): Promise<TowerSource> {
  const endpoint = (env['HF_ENDPOINT'] || PUBLIC_HUB).replace(/\/+$/, '');
  const token = env['HF_TOKEN'];
  const headers: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {};
  const answer = ModelInfo.safeParse(
    await http.json({
      url: `${endpoint}/api/models/${repository}/revision/${encodeURIComponent(revision)}?blobs=true`,
      headers,
      advice: ADVICE,
    }),
  );
  if (!answer.success) {
    throw new TowerError(
      'TOWER_SOURCE_UNREACHABLE',
      `${endpoint} answers about ${repository} as no hub does:\n${z.prettifyError(answer.error)}`,
    );
  }
  const { sha, siblings, cardData } = answer.data;
  const byPath = new Map(siblings.map((sibling) => [sibling.rfilename, sibling]));
  return {
    origin: `hf:${repository}@${sha}`,
    name: nameFrom(repository),
    facts: cardData?.license === undefined ? {} : { license: cardData.license },
    paths: [...byPath.keys()],
    async fetch(wanted) {
      const hashes = new Map<string, string>();
      for (const path of wanted) {
        const { lfs, blobId } = byPath.get(path)!;
        const stored = lfs?.sha256;
        if (stored !== undefined && (await cache.hasBlob(stored))) {
          hashes.set(path, stored);
          continue;
        }
        const part = join(parts, `${sha}-${path.replaceAll('/', '-')}.part`);
        const url = `${endpoint}/${repository}/resolve/${sha}/${path.split('/').map(encodeURIComponent).join('/')}`;
        await download(http, {
          url,
          headers,
          advice: ADVICE,
          path: part,
          name: path,
          integrity: stored === undefined ? undefined : { algorithm: 'sha256', digest: stored },
          onProgress,
        });
        if (stored === undefined && blobId !== undefined) await requireGitHash(part, blobId, url);
        hashes.set(path, await cache.adopt(part));
      }
      return hashes;
    },
  };
}

/** Files that are in the repository itself are small; git's hash is sha1 over a header and the contents. */
async function requireGitHash(path: string, blobId: string, url: string): Promise<void> {
  const contents = await readFile(path);
  const found = createHash('sha1').update(`blob ${contents.length}\0`).update(contents).digest('hex');
  if (found === blobId) return;
  await rm(path);
  const message = `${url} is not the file that was expected: its git hash is ${found}`;
  throw new TowerError('TOWER_INTEGRITY', message, { metadata: { url } });
}
