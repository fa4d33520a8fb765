import type { History } from '../faults/history.ts';

/**
 * What has to happen now and then in a run of many histories, so that "nothing was found" means something: each of these
 * paths has been gone.
 */
export const SOMETIMES = [
  'store away',
  'store full',
  'answer of the store lost',
  'retry after a partial write',
  'tower overloaded',
  'connection cut',
  'connection cut while the server does not notice',
  'resume in mid-batch',
  'outcome heard, watermark lost',
  'client killed and resumed',
  'client killed before its first watermark',
  'server drained',
  'server killed',
  'connection refused',
  'collection dropped in mid-stream',
  'collection restored to an older state',
  'clock jumped',
  'stale version inside a batch',
  'older delete refused',
  'remembered delete refuses an older document',
  'confirm of content that has changed',
  'content unchanged',
  'metadata changed without encoding',
  'change retried because the content had changed',
  'patch of a document that is not there',
  'document expired',
  'search that was fresh',
  'fresh search that had to wait',
  'fresh search refused: the replica is behind',
  'fresh search refused: the collection is another one',
  'checkpoint refused: the collection is another one',
] as const;

/** One of them. */
export type Sometimes = (typeof SOMETIMES)[number];

/** How often each has happened. */
export type Counts = Record<string, number>;

/** Adds what the history shows to what was counted while it was made. */
export function pathsOf({ events }: History, counted: Counts): Counts {
  const counts = { ...counted };
  const happened = (what: Sometimes): void => void (counts[what] = (counts[what] ?? 0) + 1);
  const clients = new Map<string, { after: number; durable: number; reported: number; sent: number }>();
  for (const event of events) {
    if (!('client' in event)) continue;
    const state = clients.get(event.client) ?? { after: 0, durable: 0, reported: 0, sent: 0 };
    clients.set(event.client, state);
    switch (event.kind) {
      case 'run':
        Object.assign(state, { after: event.after, durable: event.after, reported: 0, sent: 0 });
        break;
      case 'opened':
        if (state.durable > state.after && state.sent > state.durable) happened('resume in mid-batch');
        break;
      case 'sent':
        state.sent = Math.max(state.sent, event.sequence);
        break;
      case 'reported':
        state.reported = event.sequence;
        break;
      case 'durable':
        state.durable = event.sequence;
        break;
      case 'outcome':
        if (event.outcome === 'unchanged') happened('content unchanged');
        if (event.reason.endsWith('NOT_FOUND')) happened('patch of a document that is not there');
        break;
      case 'replaced':
        happened('checkpoint refused: the collection is another one');
        break;
      case 'ended':
        if (event.code !== '' && state.reported > state.durable) happened('outcome heard, watermark lost');
        break;
      default:
    }
  }
  return counts;
}
