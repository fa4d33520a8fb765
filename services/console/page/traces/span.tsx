import { useEffect, useState } from 'preact/hooks';
import { count, duration, plural } from '../../shared/format.ts';
import type { TraceSpan, TraceSummary } from '../../../../clients/console-traces.ts';
import { get } from '../api.ts';
import { Table } from '../parts/table.tsx';
import { href } from '../route.ts';
import { shortName } from './list.tsx';

/** An ingest has an event for each document, which are too many for a page. */
const EVENTS_SHOWN = 100;
/** A batch links to every request in it. */
const LINKS_SHOWN = 50;

/** Shows all of a span, and links to other traces. */
export function SpanDetails({ span, traceId }: { span: TraceSpan; traceId: string }) {
  const linked = useLinked(traceId, span.spanId);
  return (
    <section class="card span" aria-label={`span ${span.name}`}>
      <header class="card-head">
        <h3>{shortName(span.name)}</h3>
        <span class="muted">
          {span.service} · {span.kind} · {duration(span.durationMs)}, {duration(span.startMs)} after the start
        </span>
      </header>
      {span.statusMessage && <p class="bad">{span.statusMessage}</p>}
      <Links linked={linkedTraces(span, linked)} traceId={traceId} />
      <Attributes attributes={span.attributes} />
      {span.events.length > 0 && (
        <>
          <h4>{plural(span.events.length, 'event')}</h4>
          <Table
            head={['#', '', '']}
            rows={span.events
              .slice(0, EVENTS_SHOWN)
              .map(({ timeMs, name, attributes }) => [duration(timeMs), name, brief(attributes)])}
          />
          <More than={EVENTS_SHOWN} of={span.events.length} />
        </>
      )}
    </section>
  );
}

function More({ than, of }: { than: number; of: number }) {
  return of > than ? <p class="muted">and {count(of - than)} more</p> : null;
}

function brief(attributes: TraceSpan['attributes']): string {
  const parts = Object.entries(attributes).map(
    ([name, value]) => `${name.slice(name.lastIndexOf('.') + 1)} ${show(value)}`,
  );
  return parts.join(' · ');
}

/** Another trace, or another part of this one, that a span is linked to. */
interface Linked {
  traceId: string;
  /** The first of its spans that are linked; absent where it links here and is not linked from here. */
  spanId?: string;
  /** How many of its spans are linked. */
  spans: number;
  /** What it is, where it is still kept. */
  trace?: TraceSummary | undefined;
}

/** What a span links to and what links to it, by trace: mostly the same, for a batch and its requests name each other. */
function linkedTraces(span: TraceSpan, linkedHere: readonly TraceSummary[]): Linked[] {
  const found = new Map<string, Linked>();
  for (const { traceId, spanId } of span.links) {
    const known = found.get(traceId);
    if (known === undefined) found.set(traceId, { traceId, spanId, spans: 1 });
    else known.spans++;
  }
  for (const trace of linkedHere) {
    found.set(trace.traceId, { traceId: trace.traceId, spans: 0, ...found.get(trace.traceId), trace });
  }
  return [...found.values()];
}

function Links({ linked, traceId }: { linked: readonly Linked[]; traceId: string }) {
  if (linked.length === 0) return null;
  return (
    <>
      <h4>Linked</h4>
      <ul class="links">
        {linked.slice(0, LINKS_SHOWN).map((link) => (
          <li key={link.traceId}>
            <a href={href('traces', link.traceId, ...(link.spanId === undefined ? [] : [link.spanId]))}>
              {nameOfLinked(link, traceId)} →
            </a>{' '}
            <span class="muted">
              {link.spans > 1 ? `${count(link.spans)} of its spans` : ''}
              {link.trace === undefined
                ? ''
                : ` ${duration(link.trace.durationMs)}, ${plural(link.trace.spans, 'span')} in all`}
            </span>
          </li>
        ))}
      </ul>
      <More than={LINKS_SHOWN} of={linked.length} />
    </>
  );
}

function nameOfLinked(link: Linked, traceId: string): string {
  if (link.traceId === traceId) return 'this trace';
  return link.trace === undefined ? `trace ${link.traceId.slice(0, 8)}…` : shortName(link.trace.name);
}

function Attributes({ attributes }: { attributes: TraceSpan['attributes'] }) {
  const rows = Object.entries(attributes).sort(([a], [b]) => a.localeCompare(b));
  if (rows.length === 0) return null;
  return (
    <>
      <h4>Attributes</h4>
      <dl class="attributes">
        {rows.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{show(value)}</dd>
          </div>
        ))}
      </dl>
    </>
  );
}

/** Traces that link to a span from outside, besides those that it links to itself. */
function useLinked(traceId: string, spanId: string): readonly TraceSummary[] {
  const [linked, setLinked] = useState<readonly TraceSummary[]>([]);
  useEffect(() => {
    const found = get<readonly TraceSummary[]>(`/api/traces/linked/${traceId}/${spanId}`);
    // Without an answer, the page still shows the span's own links.
    void found.then(setLinked, () => {});
  }, [traceId, spanId]);
  return linked;
}

function show(value: unknown): string {
  if (Array.isArray(value)) return value.map(show).join(', ');
  return typeof value === 'number' && !Number.isInteger(value)
    ? String(Number(value.toPrecision(4)))
    : String(value);
}
