import { useEffect, useState } from 'preact/hooks';
import { duration, plural } from '../../shared/format.ts';
import type { TraceSpan, TraceSummary } from '../../shared/wire.ts';
import { get } from '../api.ts';
import { href } from '../route.ts';
import { shortName } from './list.tsx';

/** Events of an ingest are one a document: more than a page can bear. */
const EVENTS_SHOWN = 100;
/** A batch links to every request in it. */
const LINKS_SHOWN = 50;

/** All that a span knows, and the traces that are one click away. */
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
      {span.statusMessage === undefined ? null : <p class="bad">{span.statusMessage}</p>}
      <Links links={linksOf(span, linked)} traceId={traceId} />
      <Attributes attributes={span.attributes} />
      {span.events.length === 0 ? null : (
        <>
          <h4>{plural(span.events.length, 'event')}</h4>
          <div class="scroll">
            <table>
              <tbody>
                {span.events.slice(0, EVENTS_SHOWN).map((event, index) => (
                  <tr key={index}>
                    <td class="number">{duration(event.timeMs)}</td>
                    <td>{event.name}</td>
                    <td>
                      {Object.entries(event.attributes)
                        .map(([name, value]) => `${name.slice(name.lastIndexOf('.') + 1)} ${show(value)}`)
                        .join(' · ')}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
          {span.events.length > EVENTS_SHOWN ? (
            <p class="muted">and {plural(span.events.length - EVENTS_SHOWN, 'more', 'more')}</p>
          ) : null}
        </>
      )}
    </section>
  );
}

interface Link {
  traceId: string;
  /** Absent where the other trace links here, and this one not there. */
  spanId?: string;
  /** What the other trace is, where it is still kept. */
  trace?: TraceSummary;
}

/** What a span links to, and what links to it: mostly the same, for a batch and its requests name each other. */
function linksOf(span: TraceSpan, linked: readonly TraceSummary[]): Link[] {
  const summaries = new Map(linked.map((trace) => [trace.traceId, trace]));
  const own = span.links.map(({ traceId, spanId }) => {
    const trace = summaries.get(traceId);
    return { traceId, spanId, ...(trace === undefined ? {} : { trace }) };
  });
  const named = new Set(own.map(({ traceId }) => traceId));
  const others = linked.filter(({ traceId }) => !named.has(traceId));
  return [...own, ...others.map((trace) => ({ traceId: trace.traceId, trace }))];
}

function Links({ links, traceId }: { links: readonly Link[]; traceId: string }) {
  if (links.length === 0) return null;
  return (
    <>
      <h4>{plural(links.length, 'link')}</h4>
      <ul class="links">
        {links.slice(0, LINKS_SHOWN).map((link) => (
          <li key={`${link.traceId}/${link.spanId}`}>
            <a href={href('traces', link.traceId, ...(link.spanId === undefined ? [] : [link.spanId]))}>
              {link.traceId === traceId
                ? 'a span of this trace'
                : link.trace === undefined
                  ? `trace ${link.traceId.slice(0, 8)}…`
                  : shortName(link.trace.name)}{' '}
              →
            </a>{' '}
            {link.trace === undefined ? null : (
              <span class="muted">
                {duration(link.trace.durationMs)}, {plural(link.trace.spans, 'span')}
              </span>
            )}
          </li>
        ))}
      </ul>
      {links.length > LINKS_SHOWN ? (
        <p class="muted">and {plural(links.length - LINKS_SHOWN, 'more', 'more')}</p>
      ) : null}
    </>
  );
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
    let stopped = false;
    get<readonly TraceSummary[]>(`/api/traces/linked/${traceId}/${spanId}`)
      .then((traces) => {
        if (!stopped) setLinked(traces);
      })
      // The links that the span has itself are there all the same.
      .catch(() => {});
    return () => {
      stopped = true;
    };
  }, [traceId, spanId]);
  return linked;
}

function show(value: unknown): string {
  return Array.isArray(value) ? value.map(show).join(', ') : String(value);
}
