import { readFileSync } from 'node:fs';
import type { ServiceInfo } from '../../proto/generated/scalingnote/v1/ServiceInfo.ts';
import type { Tower as TowerMessage } from '../../proto/generated/scalingnote/v1/Tower.ts';
import type { Store } from '../../store/store.ts';
import type { Tower } from '../../towers/tower.ts';

/** Version of the package that this is part of. */
export const { version: packageVersion } = JSON.parse(
  readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'),
) as { version: string };

/** A tower as the wire has it. */
export function towerMessage({ manifest, device }: Pick<Tower, 'manifest' | 'device'>): TowerMessage {
  const retention = manifest.distillation?.retention?.ndcg10;
  return {
    name: manifest.name,
    role: manifest.role === 'document' ? 'TOWER_ROLE_DOCUMENT' : 'TOWER_ROLE_QUERY',
    space: { fingerprint: manifest.space.fingerprint, dimensions: manifest.dimensions },
    device,
    maxTokens: manifest.maxTokens,
    ...(retention === undefined ? {} : { retention }),
  };
}

/** What the `Describe` methods answer. @param notServingReason in words; empty while the service serves */
export function serviceInfo(
  tower: Pick<Tower, 'manifest' | 'device'>,
  store: Pick<Store, 'kind'>,
  notServingReason = '',
): ServiceInfo {
  return {
    version: packageVersion,
    pid: process.pid,
    uptimeSeconds: process.uptime(),
    tower: towerMessage(tower),
    store: store.kind,
    notServingReason,
  };
}
