import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { parse, stringify } from 'yaml';
import { digestOf, parseImage } from './registry.ts';

/**
 * `deploy/pin-digests [--out FOLDER] [--compose FILE] [--dockerfile FILE] [--document IMAGE] [--query IMAGE]`: asks the
 * registries for the digests of the images that we name by version, and writes
 *
 * - `docker-compose.pinned.yml`: `docker compose -f docker-compose.yml -f docker-compose.pinned.yml up`;
 * - `values.pinned.yaml`, where images of ours are named: `helm install ... -f values.pinned.yaml`.
 *
 * What a registry does not answer is said in a line and left out: exit 1.
 */

interface Compose {
  services: Record<string, { image: string; build?: object }>;
}

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: '.' },
    compose: { type: 'string', default: 'docker-compose.yml' },
    dockerfile: { type: 'string', default: 'deploy/Dockerfile' },
    document: { type: 'string' },
    query: { type: 'string' },
    console: { type: 'string' },
  },
});

const known = new Map<string, string | undefined>();

const compose = parse(readFileSync(values.compose, 'utf8'), { merge: true }) as Compose;
const node = /^ARG NODE=(\S+)$/m.exec(readFileSync(values.dockerfile, 'utf8'))?.[1];
if (node === undefined) throw new Error(`${values.dockerfile} does not say "ARG NODE=IMAGE"`);

const services: Record<string, object> = {};
for (const [name, { image, build }] of Object.entries(compose.services)) {
  // What is built here has no digest before; what it is built from has.
  const pinned = await pin(build === undefined ? image : node);
  if (pinned !== undefined)
    services[name] = build === undefined ? { image: pinned } : { build: { args: { NODE: pinned } } };
}
write('docker-compose.pinned.yml', { services }, Object.keys(services).length);

const images: Record<string, object> = {};
for (const service of ['document', 'query', 'console'] as const) {
  const image = values[service];
  const pinned = image === undefined ? undefined : await pin(image);
  if (pinned === undefined) continue;
  const digest = pinned.slice(pinned.indexOf('@') + 1);
  images[service] = { repository: image!.slice(0, image!.lastIndexOf(':')), digest };
}
write('values.pinned.yaml', { images }, Object.keys(images).length);

/** The image with its digest. */
async function pin(image: string): Promise<string | undefined> {
  if (!known.has(image)) known.set(image, await look(image));
  return known.get(image);
}

async function look(image: string): Promise<string | undefined> {
  try {
    parseImage(image);
    const digest = await digestOf(image);
    console.log(`${image} ${digest}`);
    return `${image}@${digest}`;
  } catch (error) {
    console.log(`not pinned: ${image} (${(error as Error).message})`);
    process.exitCode = 1;
    return undefined;
  }
}

function write(name: string, value: object, entries: number): void {
  if (entries === 0) return;
  const head = '# Written by deploy/pin-digests: what the registries answered.\n';
  writeFileSync(`${values.out}/${name}`, head + stringify(value));
}
