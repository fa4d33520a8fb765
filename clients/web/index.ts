export { type CallOptions, type Hit, type SearchRequest, WebClient, WebError } from './client.ts';
export { loadTower } from './tower.ts';
export { type EncodedText, LookupTower } from '../../towers/lookup/tower.ts';
export { LookupError } from '../../towers/lookup/errors.ts';
