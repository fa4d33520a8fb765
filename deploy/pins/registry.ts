import { createHash } from 'node:crypto';

/** A registry that takes longer does not answer. */
const TIMEOUT_MS = 20_000;

/** A manifest is a few KB; an index of many platforms some 20. */
const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;

/** What an image with several platforms, and one with one, is described by. */
const MANIFESTS = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');

/** An image by its parts. */
interface Image {
  registry: string;
  name: string;
  tag: string;
}

/** `prom/prometheus:v3.2.1`, as Docker reads it. @throws {Error} where it has no tag, or a digest already */
export function parseImage(image: string): Image {
  if (image.includes('@')) throw new Error('it has a digest already');
  const [, path, tag] = /^(.+):([\w][\w.-]*)$/.exec(image) ?? [];
  if (path === undefined || tag === undefined || path.endsWith('/')) throw new Error('it has no tag');
  const [first = '', ...rest] = path.split('/');
  // A first part with a dot or a port is a registry. All else is Docker Hub's.
  if (rest.length > 0 && /[.:]|^localhost$/.test(first))
    return { registry: first, name: rest.join('/'), tag };
  return { registry: 'registry-1.docker.io', name: rest.length === 0 ? `library/${path}` : path, tag };
}

/**
 * The digest of an image, asked of its registry, and hashed here from what it sends.
 *
 * @throws {Error} where the registry does not answer, does not have it, or sends something else than it says
 */
export async function digestOf(image: string): Promise<string> {
  const { registry, name, tag } = parseImage(image);
  // As Docker has it: without TLS on this machine alone.
  const scheme = /^(?:localhost|127\.0\.0\.1)(?::|$)/.test(registry) ? 'http' : 'https';
  const url = `${scheme}://${registry}/v2/${name}/manifests/${tag}`;
  let response = await get(url);
  if (response.status === 401) {
    const token = await tokenFor(response.headers.get('www-authenticate') ?? '');
    response = await get(url, token);
  }
  if (!response.ok) throw new Error(`the registry says ${response.status}`);
  const body = await read(response);
  const digest = `sha256:${createHash('sha256').update(body).digest('hex')}`;
  const said = response.headers.get('docker-content-digest');
  if (said !== null && said !== digest)
    throw new Error(`the registry says ${said}, and what it sends is ${digest}`);
  return digest;
}

/** A token for reading, from where the registry sends us. */
async function tokenFor(challenge: string): Promise<string> {
  const parts = Object.fromEntries(
    [...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, value]) => [key, value]),
  );
  const { realm, service, scope } = parts as { realm?: string; service?: string; scope?: string };
  if (!/^bearer /i.test(challenge) || realm === undefined) throw new Error('the registry wants a password');
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set('service', service);
  if (scope !== undefined) url.searchParams.set('scope', scope);
  const response = await get(url.href);
  if (!response.ok) throw new Error(`the registry gives no token (${response.status})`);
  const { token, access_token: other } = JSON.parse((await read(response)).toString()) as {
    token?: string;
    access_token?: string;
  };
  const found = token ?? other;
  if (found === undefined) throw new Error('the registry gives no token');
  return found;
}

async function get(url: string, token?: string): Promise<Response> {
  try {
    return await fetch(url, {
      headers: { accept: MANIFESTS, ...(token !== undefined && { authorization: `Bearer ${token}` }) },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (error) {
    const { cause, message } = error as Error;
    throw new Error(`the registry does not answer: ${(cause as Error | undefined)?.message ?? message}`, {
      cause: error,
    });
  }
}

async function read(response: Response): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_MANIFEST_BYTES) throw new Error('the registry sends more than a manifest');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
