export {
  type CallOptions,
  type ClientOptions,
  type SearchByVectorRequest,
  type SearchRequest,
  type SearchResult,
  WebClient,
} from './client.ts';
export type { Credential } from './credential.ts';
export type { Hit } from './contract.ts';
export { type FieldViolation, WebError } from './errors.ts';
export { loadTower, type LoadTowerOptions, MAX_TOWER_BYTES, type TowerProgress } from './tower.ts';
export { type EncodedText, LookupTower } from '../../towers/lookup/tower.ts';
export { LookupError } from '../../towers/lookup/errors.ts';
