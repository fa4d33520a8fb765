import { useEffect, useState } from 'preact/hooks';
import { duration, plural } from '../../shared/format.ts';
import { ticks, waterfall, type WaterfallRow } from '../../shared/waterfall.ts';
import type { Trace } from '../../../../clients/console-traces.ts';
import { type ApiError, get } from '../api.ts';
import { Empty, Problem } from '../parts/notice.tsx';
import { go, href } from '../route.ts';
import { shortName } from './list.tsx';
import { SpanDetails } from './span.tsx';

/** Services send their spans now and then: a new trace is whole after this. */
const PATIENCE_MS = 15_000;
const LOOK_EVERY_MS = 500;
/** A trace that has not grown for this long counts as whole. */
const QUIET_MS = 6_000;

/** One trace as a waterfall. */
export function TracePage({ traceId, spanId }: { traceId: string; spanId: string | undefined }) {
  const { trace, problem, waiting } = useTrace(traceId);
  return (
    <div class="trace-page">
      <p class="crumbs">
        <a href={href('traces')}>← all traces</a>
      </p>
      <Problem>{problem}</Problem>
      {trace === undefined && waiting && (
        <Empty title="Waiting for the spans of this trace.">
          <p>The services send them every second or so.</p>
        </Empty>
      )}
      {trace && <Whole trace={trace} spanId={spanId} />}
    </div>
  );
}

function Whole({ trace, spanId }: { trace: Trace; spanId: string | undefined }) {
  const { rows, startMs, endMs } = waterfall(trace.spans);
  const services = [...new Set(trace.spans.map(({ service }) => service))];
  const chosen = rows.find(({ span }) => span.spanId === spanId);
  const failed = trace.spans.filter(({ status }) => status === 'error').length;
  const root = rows[0]!.span;
  const move = (event: KeyboardEvent): void => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const links = [...(event.currentTarget as HTMLElement).querySelectorAll<HTMLElement>('.row')];
    links[Math.max(0, links.indexOf(document.activeElement as HTMLElement) + step)]?.focus();
  };
  return (
    <>
      <header class="trace-head">
        <h2>{shortName(root.name)}</h2>
        <p class="muted">
          {duration(endMs - startMs)} · {plural(trace.spans.length, 'span')} in{' '}
          {plural(services.length, 'process', 'processes')}
          {failed > 0 ? ` · ${failed} failed` : ''} · {new Date(trace.startTime).toLocaleString()}
        </p>
        <p class="muted">
          <code>{trace.traceId}</code>
        </p>
      </header>
      <ul class="legend" aria-label="services">
        {services.map((service, index) => (
          <li key={service}>
            <i class={`stage-${colourOf(index)}`} /> {service}
          </li>
        ))}
      </ul>
      <div class="waterfall" onKeyDown={move}>
        <div class="axis" aria-hidden="true">
          {ticks(startMs, endMs).map((mark) => (
            <span key={mark} style={{ left: `${((mark - startMs) / (endMs - startMs)) * 100}%` }}>
              {duration(mark - startMs).replace(/^0\.00 ms$/, '0')}
            </span>
          ))}
        </div>
        <ol>
          {rows.map((row) => (
            <Row
              key={row.span.spanId}
              row={row}
              traceId={trace.traceId}
              colour={colourOf(services.indexOf(row.span.service))}
              window={{ startMs, endMs }}
              chosen={row === chosen}
            />
          ))}
        </ol>
      </div>
      {chosen === undefined ? (
        <p class="muted hold">Choose a span to see its attributes, events and linked batches.</p>
      ) : (
        <SpanDetails key={chosen.span.spanId} span={chosen.span} traceId={trace.traceId} />
      )}
    </>
  );
}

/** Colours of services, the strongest first. */
const COLOURS = [2, 3, 0, 1, 4];

function colourOf(service: number): number {
  return COLOURS[service % COLOURS.length]!;
}

type RowProps = {
  row: WaterfallRow;
  traceId: string;
  colour: number;
  window: { startMs: number; endMs: number };
  chosen: boolean;
};

function Row({ row: { span, depth }, traceId, colour, window, chosen }: RowProps) {
  const length = Math.max(window.endMs - window.startMs, Number.MIN_VALUE);
  const left = ((span.startMs - window.startMs) / length) * 100;
  const width = (span.durationMs / length) * 100;
  return (
    <li>
      <a
        class={`row${chosen ? ' row-chosen' : ''}${span.status === 'error' ? ' row-error' : ''}`}
        href={chosen ? href('traces', traceId) : href('traces', traceId, span.spanId)}
        aria-current={chosen}
        onClick={(event) => {
          // A plain link would scroll the page.
          event.preventDefault();
          go('traces', traceId, ...(chosen ? [] : [span.spanId]));
        }}
      >
        <span class="row-name" style={{ paddingLeft: `${depth * 0.9}rem` }}>
          {shortName(span.name)}
          {span.links.length > 0 && (
            <span class="row-links" title={plural(span.links.length, 'link')}>
              ⇄<span class="unseen"> {plural(span.links.length, 'link')}</span>
            </span>
          )}
        </span>
        <span class="row-time">
          <span
            class={`row-bar stage-${colour}`}
            style={{ left: `${Math.min(left, 99.5)}%`, width: `${Math.min(width, 100 - left)}%` }}
          />
        </span>
        <span class="row-duration">{duration(span.durationMs)}</span>
      </a>
    </li>
  );
}

type TraceState = { trace?: Trace; problem?: string; waiting: boolean };

function useTrace(traceId: string): TraceState {
  const [state, setState] = useState<TraceState>({ waiting: true });
  useEffect(() => {
    let timer: number | undefined;
    let stopped = false;
    let known = 0;
    let grew = performance.now();
    const look = async (): Promise<void> => {
      try {
        const trace = await get<Trace>(`/api/traces/${encodeURIComponent(traceId)}`);
        if (stopped) return;
        if (trace.spans.length > known) {
          known = trace.spans.length;
          grew = performance.now();
          setState({ trace, waiting: false });
        }
        if (performance.now() - grew < QUIET_MS) timer = setTimeout(() => void look(), LOOK_EVERY_MS);
      } catch (error) {
        if (stopped) return;
        const { status, message } = error as ApiError;
        if (status === 404 && performance.now() - grew < PATIENCE_MS) {
          timer = setTimeout(() => void look(), LOOK_EVERY_MS);
        } else setState((before) => ({ ...before, problem: message, waiting: false }));
      }
    };
    void look();
    return () => {
      stopped = true;
      clearTimeout(timer);
    };
  }, [traceId]);
  return state;
}
