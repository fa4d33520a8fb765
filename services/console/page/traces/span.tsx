import { useEffect, useState } from 'preact/hooks';
import { duration, plural } from '../../shared/format.ts';
import type { TraceSpan, TraceSummary } from '../../shared/wire.ts';
import { get } from '../api.ts';
import { href } from '../route.ts';
import { shortName } from './list.tsx';

/** Events of an ingest are one a document: more than a page can bear. */
const EVENTS_SHOWN = 100;

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
      {span.links.length + linked.length === 0 ? null : (
        <>
          <h4>Linked</h4>
          <ul class="links">
            {span.links.map((link) => (
              <li key={link.spanId}>
                <a href={href('traces', link.traceId, link.spanId)}>
                  {link.traceId === traceId ? 'a span of this trace' : 'a span of another trace'} →
                </a>{' '}
                <code class="muted">
                  {link.traceId.slice(0, 8)}…/{link.spanId}
                </code>
              </li>
            ))}
            {linked.map((trace) => (
              <li key={trace.traceId}>
                <a href={href('traces', trace.traceId)}>{shortName(trace.name)} →</a>{' '}
                <span class="muted">
                  links here · {duration(trace.durationMs)}, {plural(trace.spans, 'span')}
                </span>
              </li>
            ))}
          </ul>
        </>
      )}
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
