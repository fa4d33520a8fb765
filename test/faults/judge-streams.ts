import type { History } from './history.ts';
import type { Fault } from './judge.ts';

/**
 * Why a stream may end. Others end it well (no code), or with a status of the transport alone (no reason). Outages of the
 * store are waited out once a stream is ready.
 */
const REASONS: ReadonlySet<string> = new Set([
  '',
  'SHUTTING_DOWN',
  'STORE_FULL',
  'STORE_LOST',
  'CANCELLED',
  'TOO_MANY_STREAMS',
  'COLLECTION_REPLACED',
  'COLLECTION_NOT_FOUND',
]);
const REASONS_BEFORE_READY: ReadonlySet<string> = new Set([
  ...REASONS,
  'STORE_UNAVAILABLE',
  'STORE_NOT_FRESH',
]);

interface Stream {
  isReady: boolean;
  expected: number[];
  answered: number;
  watermark: number;
}

/** Judges each connection by itself: what comes over it, in which order, and how it ends. */
export function judgeStreams({ events }: History, report: (fault: Fault, what: string) => void): void {
  const streams = new Map<string, Stream>();
  for (const event of events) {
    if (!('connection' in event)) continue;
    const { client, connection } = event;
    const name = `${client}, connection ${connection}`;
    if (event.kind === 'opened') {
      streams.set(name, { isReady: false, expected: [], answered: 0, watermark: 0 });
      continue;
    }
    const stream = streams.get(name)!;
    switch (event.kind) {
      case 'ready':
        stream.isReady = true;
        break;
      case 'sent':
        stream.expected.push(event.sequence);
        break;
      case 'outcome': {
        const next = stream.expected.shift();
        if (next !== event.sequence) {
          report('protocol', `${name}: the outcome of ${event.sequence} came, and that of ${next} was next`);
        }
        stream.answered = event.sequence;
        break;
      }
      case 'watermark':
        if (event.sequence <= stream.watermark) {
          report('watermark', `${name}: watermark ${event.sequence} came after ${stream.watermark}`);
        }
        if (event.sequence !== stream.answered) {
          report(
            'watermark',
            `${name}: watermark ${event.sequence} came, and outcomes up to ${stream.answered}`,
          );
        }
        stream.watermark = event.sequence;
        break;
      default: {
        const reasons = stream.isReady ? REASONS : REASONS_BEFORE_READY;
        if (!reasons.has(event.reason)) {
          report('protocol', `${name} ended with ${event.code} ${event.reason}`);
        }
      }
    }
  }
}
