import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TowerError } from './errors.ts';
import { KNOWN_TOWERS, type KnownTower } from './known.ts';

/** Where a tower comes from. */
export type Location =
  | { scheme: 'file'; directory: string }
  | { scheme: 'npm'; package: string; version: string; path: string; model: string | undefined }
  | { scheme: 'hf'; repository: string; revision: string; model: string | undefined };

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
const HF = /^hf:(?<repository>[\w.-]+\/[\w.-]+)(?:@(?<revision>[^#\s]+))?(?:#(?<model>.+))?$/;

/**
 * Understands a reference: the short name of a known tower, `npm:PACKAGE@VERSION/PATH`, `hf:ORG/NAME@REVISION`,
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
        'npm:PACKAGE@VERSION/PATH, hf:ORG/NAME@REVISION, file:DIR or the path of a directory',
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
  if (text.startsWith('file://')) return { scheme: 'file', directory: fileURLToPath(text) };
  if (text.startsWith('file:'))
    return { scheme: 'file', directory: resolve(expandHome(text.slice('file:'.length))) };
  if (/^(npm|hf):/.test(text) || text === '') return undefined;
  const isPath = /^[.~/\\]|[/\\]|^[A-Za-z]:[/\\]/.test(text) || existsSync(text);
  return isPath ? { scheme: 'file', directory: resolve(expandHome(text)) } : undefined;
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
    case 'hf':
      return `hf:${location.repository}@${location.revision}${fragment(location.model)}`;
  }
}

function fragment(model: string | undefined): string {
  return model === undefined ? '' : `#${model}`;
}
