import { Ledger, type Operation } from './ledger.ts';
import type { Clocks, DocumentState, History, HistoryEvent } from './history.ts';
import { judgeStreams } from './judge-streams.ts';

/** What may be wrong with a history. */
export const FAULTS = [
  /** Acknowledged, and absent. */
  'lost',
  /** There twice. */
  'doubled',
  /** Deleted or expired, and there. */
  'resurrected',
  /** An older operation has won over a newer one. */
  'older',
  /** A watermark covers what has no outcome. */
  'watermark',
  /** A search with a freshness token found less than the token says. */
  'stale',
  /** A document that nobody sent. */
  'invented',
  /** An operation was rejected, and nothing that the clients did is a reason for it. */
  'refused',
  /** Outcomes or watermarks came in an order that the contract excludes, or a stream ended in a way that it does not name. */
  'protocol',
] as const;

/** The name of what is wrong. */
export type Fault = (typeof FAULTS)[number];

/** Something that is wrong with a history. */
export interface Violation {
  fault: Fault;
  what: string;
}

/** What the judge found. */
export interface Verdict {
  violations: Violation[];
  /** Operations that the clients had to send, and those that were acknowledged. */
  operations: number;
  acknowledged: number;
  /** Reads that were judged. */
  reads: number;
}

/**
 * Judges a history by the contract of ingest and search, and shares no code with the services:
 *
 * - outcomes come in order, once on each connection, and watermarks cover only operations with outcomes;
 * - an operation is rejected only where the clients did something that is a reason for it;
 * - each document is, in the end, what an operation made of it that no later or newer one has replaced, once;
 * - a search with a freshness token shows that too, of all that the token covers.
 *
 * An operation takes effect between the moment when it was first sent and the watermark that covers it. Of two operations
 * on a document the one with the higher version wins, or that one which was sent after the other was covered, or that which
 * comes later in the plan of one client. Where none of these holds, either may win.
 */
export function judge(history: History): Verdict {
  const violations: Violation[] = [];
  const report = (fault: Fault, what: string): void => void violations.push({ fault, what });
  const ledger = new Ledger(history, report);
  judgeStreams(history, report);
  judgeRejections(ledger, report);
  let reads = 0;
  for (const event of history.events) {
    if (event.kind === 'final') judgeFinal(ledger, event, report);
    if (event.kind === 'read') {
      judgeRead(ledger, event, report);
      reads++;
    }
  }
  return { violations, operations: ledger.planned, acknowledged: ledger.acknowledged, reads };
}

type Report = (fault: Fault, what: string) => void;
type Event<Kind extends HistoryEvent['kind']> = Extract<HistoryEvent, { kind: Kind }>;

/** The moment that a state is judged at. */
interface Moment {
  /** Operations that were sent later can't be seen. */
  until: number;
  clocks: Clocks;
  /** When an operation was covered, if it has to be seen. */
  covered(operation: Operation): number | undefined;
}

function judgeFinal(ledger: Ledger, event: Event<'final'>, report: Report): void {
  const { identity, tenant, documents, counted, clocks } = event;
  const found = unique(documents, report, tenant);
  const moment: Moment = { until: Infinity, clocks, covered: ({ ackedAt }) => ackedAt };
  for (const [id, operations] of ledger.documents(identity, tenant)) {
    judgeDocument({ id, operations, state: found.get(id), moment, report });
    found.delete(id);
  }
  for (const { id } of found.values()) report('invented', `nobody has sent document ${id} of "${tenant}"`);
  const passages = documents.reduce((sum, { passages: own }) => sum + own.length, 0);
  if (counted.documents !== documents.length || counted.passages !== passages) {
    const what = `${counted.documents} documents and ${counted.passages} passages`;
    report('doubled', `the store counts ${what}, and holds ${documents.length} and ${passages}`);
  }
}

function judgeRead(ledger: Ledger, event: Event<'read'>, report: Report): void {
  const { token, tenant, documents, clocks, at } = event;
  const covers = ledger.coverage(token);
  if (!covers) {
    report('protocol', `nobody was given the token ${token}`);
    return;
  }
  const stale: Report = (_, what) => report('stale', `${what}, after the token ${token}`);
  const found = unique(documents, report, tenant);
  for (const [id, operations] of ledger.documents(covers.identity, tenant)) {
    const moment: Moment = { until: at, clocks, covered: covers.covered };
    judgeDocument({ id, operations, state: found.get(id), moment, report: stale });
  }
}

function unique(
  documents: readonly DocumentState[],
  report: Report,
  tenant: string,
): Map<string, DocumentState> {
  const found = new Map<string, DocumentState>();
  for (const document of documents) {
    const { id, passages } = document;
    if (found.has(id)) report('doubled', `document ${id} of "${tenant}" is there twice`);
    if (new Set(passages).size < passages.length) {
      report('doubled', `document ${id} of "${tenant}" has a passage twice: ${passages.join(' | ')}`);
    }
    found.set(id, document);
  }
  return found;
}

/** Judges one document by all operations on it. */
function judgeDocument(parts: {
  id: string;
  operations: readonly Operation[];
  state: DocumentState | undefined;
  moment: Moment;
  report: Report;
}): void {
  const { id, operations, state, moment, report } = parts;
  const { clocks } = moment;
  const sent = operations.filter((operation) => operation.firstSent < moment.until);
  const musts = sent.filter(
    (operation) => operation.took && !operation.isForeign && moment.covered(operation) !== undefined,
  );
  // The store forgets the version of a document that has expired, together with the document.
  const versionsHold = !sent.some(({ plan }) => plan.kind === 'put' && expired(plan.content, clocks.most));
  const beaten = (operation: Operation, by: readonly Operation[]): boolean =>
    by.some((other) => other !== operation && beats(other, operation, moment, versionsHold));
  const writers = sent.filter(({ plan }) => plan.kind !== 'patch');
  const mustWrite = musts.filter(({ plan }) => plan.kind !== 'patch');
  const candidates = writers.filter((operation) => !beaten(operation, mustWrite));
  const puts = candidates.filter(({ plan }) => plan.kind === 'put' && !expired(plan.content, clocks.least));
  if (!state) {
    const mayBeAbsent =
      mustWrite.length === 0 ||
      candidates.some(
        ({ plan }) => plan.kind === 'delete' || (plan.kind === 'put' && expired(plan.content, clocks.most)),
      );
    if (!mayBeAbsent) report('lost', `${id} is absent; it has to be ${names(puts)}`);
    return;
  }
  const is = `${id} is ${describe(state)}`;
  if (!puts.some((operation) => isBody(operation, state))) {
    const left = puts.find((operation) => hasMore(operation, state));
    if (left) {
      report('doubled', `${is}, which is more than ${names([left])} made it`);
      return;
    }
    const older = writers.filter((operation) => isBody(operation, state));
    if (puts.length === 0)
      report('resurrected', `${is}, made by ${names(older)}; it has to be ${names(candidates)}`);
    else if (older.length > 0) report('older', `${is}, made by ${names(older)}; it has to be ${names(puts)}`);
    else report('invented', `${is}, and no operation made that`);
    return;
  }
  for (const key of keysOf(sent, state)) {
    const allowed = sent
      .filter(
        (operation) =>
          writes(operation, key) &&
          !beaten(
            operation,
            musts.filter((other) => writes(other, key)),
          ),
      )
      .map((operation) => valueOf(operation, key));
    if (!allowed.includes(state.metadata[key] as string | undefined)) {
      report('older', `${is}; ${key} has to be one of ${JSON.stringify(allowed)}`);
    }
  }
  const least = versionsHold ? Math.max(0, ...musts.map(({ plan }) => plan.version)) : 0;
  if (state.version < least) report('older', `${is}, and version ${least} was acknowledged`);
  if (!sent.some(({ plan }) => plan.version === state.version)) {
    report('invented', `${is}, and nobody has sent that version`);
  }
}

/** Whether an operation that has to be seen replaces another one, whenever the store took them. */
function beats(must: Operation, other: Operation, moment: Moment, versionsHold: boolean): boolean {
  if (must.plan.version < other.plan.version) return false;
  if (versionsHold && must.plan.version > other.plan.version) return true;
  const covered = moment.covered(must)!;
  const attempts = other.attempts.filter(({ sentAt }) => sentAt < moment.until);
  if (must.client === other.client) {
    // A program that begins again sends its plan again, in order: what it sent again later is not replaced yet.
    return other.plan.sequence < must.plan.sequence && attempts.every(({ sentAt }) => sentAt < covered);
  }
  const last = must.attempts.findLast(({ sentAt }) => sentAt < covered)!;
  return attempts.every(({ doneAt }) => doneAt < last.sentAt);
}

function judgeRejections(ledger: Ledger, report: Report): void {
  for (const operation of ledger.operations) {
    const { plan, attempts } = operation;
    for (const { outcome, reason = '', outcomeAt = 0, sentAt } of attempts) {
      if (outcome !== 'rejected') continue;
      const others = ledger
        .behind(operation, outcomeAt)
        .filter((other) => other !== operation && other.firstSent < outcomeAt);
      const what = `${names([operation])} was rejected with ${reason}`;
      if (reason === 'VERSION_STALE') {
        if (others.some((other) => other.plan.version > plan.version)) continue;
        report('refused', `${what}, and nobody had sent a higher version`);
      } else if (plan.kind === 'patch' && reason.endsWith('NOT_FOUND')) {
        const wasThere = others.some(
          (other) => other.plan.kind === 'put' && other.took && (other.ackedAt ?? Infinity) < sentAt,
        );
        const isElsewhere = ledger.isGone(operation.identity, outcomeAt);
        const mayBeGone = others.some(
          ({ plan: { kind, ...rest } }) =>
            kind === 'delete' || ('content' in rest && rest.content.expiresAt !== undefined),
        );
        if (wasThere && !mayBeGone && !isElsewhere) report('refused', `${what}, and the document was there`);
      } else report('refused', what);
    }
  }
}

function expired({ expiresAt = Infinity }: { expiresAt?: number }, now: number): boolean {
  return expiresAt <= now;
}

/** Whether a put made title and text, and the part of the metadata that names it. */
function isBody({ plan }: Operation, state: DocumentState): boolean {
  if (plan.kind !== 'put') return false;
  const { title, text, metadata } = plan.content;
  if (title !== state.title || metadata['tag'] !== state.metadata['tag']) return false;
  return state.text === undefined
    ? state.passages.every((passage) => text.includes(passage))
    : state.text === text;
}

/** Whether a document has what a put made of it, and passages besides. */
function hasMore({ plan }: Operation, { title, text = '', metadata }: DocumentState): boolean {
  if (plan.kind !== 'put' || plan.content.title !== title) return false;
  const { content } = plan;
  return (
    content.metadata['tag'] === metadata['tag'] && text !== content.text && text.startsWith(content.text)
  );
}

/** Keys of the metadata that operations write or the state has, but for the one that names the put. */
function keysOf(operations: readonly Operation[], state: DocumentState): Set<string> {
  const keys = new Set(Object.keys(state.metadata));
  for (const { plan } of operations) {
    if (plan.kind === 'put') for (const key of Object.keys(plan.content.metadata)) keys.add(key);
    if (plan.kind === 'patch') for (const key of [...Object.keys(plan.set), ...plan.remove]) keys.add(key);
  }
  keys.delete('tag');
  return keys;
}

function writes({ plan }: Operation, key: string): boolean {
  return plan.kind !== 'patch' || key in plan.set || plan.remove.includes(key);
}

function valueOf({ plan }: Operation, key: string): string | undefined {
  if (plan.kind === 'put') return plan.content.metadata[key];
  return plan.kind === 'patch' ? plan.set[key] : undefined;
}

function describe({ version, title, text, passages, metadata }: DocumentState): string {
  return JSON.stringify({ version, title, text: text ?? passages.join(' … '), metadata });
}

function names(operations: readonly Operation[]): string {
  const each = operations.map(
    ({ client, plan }) => `${plan.kind} ${client}/${plan.sequence} v${plan.version}`,
  );
  return each.length === 0 ? 'nothing' : each.join(' or ');
}
