import { signal } from '@preact/signals';
import { duration, plural } from '../../shared/format.ts';
import type { TraceOrder, TraceSummary } from '../../../../clients/console-traces.ts';
import { type ApiError, get } from '../api.ts';
import { Choice } from '../parts/choice.tsx';
import { Empty, Problem } from '../parts/notice.tsx';
import { usePolling } from '../poll.ts';
import { href } from '../route.ts';

const LOOK_EVERY_MS = 1500;
const SHOWN = 50;

const ORDERS = (['latest', 'slowest', 'failed'] as const).map((each) => [each, each] as const);

/** Kinds of traces, by a part of their root's name. */
const KINDS = [
  ['', 'all'],
  ['Search', 'searches'],
  ['Ingest', 'ingests'],
  ['batch', 'batches'],
] as const;

const order = signal<TraceOrder>('latest');
const kind = signal<(typeof KINDS)[number][0]>('');
const traces = signal<readonly TraceSummary[] | undefined>(undefined);
const problem = signal<ApiError | undefined>(undefined);
/** The list stays while the pointer is on it: nobody can click a list that moves. */
const held = signal(false);

/** The traces that the console keeps. */
export function TraceList() {
  usePolling(lookAgain, LOOK_EVERY_MS, `${order.value} ${kind.value}`);
  const listed = traces.value ?? [];
  const longest = Math.max(0.001, ...listed.map(({ durationMs }) => durationMs));
  return (
    <div class="traces">
      <div class="controls">
        <Choice label="order" options={ORDERS} chosen={order} />
        <Choice label="kind" options={KINDS} chosen={kind} />
      </div>
      <Problem action={{ label: 'Look again', run: () => void lookAgain() }}>
        {problem.value?.message}
      </Problem>
      {traces.value?.length === 0 && <NoTraces />}
      {listed.length > 0 && (
        <ol
          class="trace-list"
          aria-label={`${order.value} traces`}
          onPointerEnter={() => (held.value = true)}
          onPointerLeave={() => (held.value = false)}
          onFocusIn={() => (held.value = true)}
          onFocusOut={() => (held.value = false)}
        >
          {listed.map((trace) => (
            <li key={trace.traceId}>
              <a
                href={href('traces', trace.traceId)}
                class={trace.status === 'error' ? 'trace trace-error' : 'trace'}
              >
                <span class="trace-name">{shortName(trace.name)}</span>
                <span class="trace-service muted">{trace.service}</span>
                <span class="trace-time muted">
                  <time dateTime={trace.startTime}>{clock(trace.startTime)}</time> ·{' '}
                  {plural(trace.spans, 'span')}
                  {trace.status === 'error' ? ' · failed' : ''}
                </span>
                <span class="trace-bar" aria-hidden="true">
                  <span style={{ width: `${Math.max(0.5, (trace.durationMs / longest) * 100)}%` }} />
                </span>
                <span class="trace-duration">{duration(trace.durationMs)}</span>
              </a>
            </li>
          ))}
        </ol>
      )}
      {held.value && listed.length > 0 && <p class="muted hold">the list waits while you are on it</p>}
    </div>
  );
}

function NoTraces() {
  if (order.value === 'failed') return <Empty title="None of the traces that are kept has failed." />;
  return (
    <Empty title="No trace yet.">
      <p>
        <a href={href('search')}>Search for something</a>, and its trace is here. Searches from elsewhere are
        sampled; slow and failed ones are always kept.
      </p>
    </Empty>
  );
}

async function lookAgain(): Promise<void> {
  const asked = { order: order.value, kind: kind.value };
  if (held.value && traces.value !== undefined && asked.order === shown.order && asked.kind === shown.kind) {
    return;
  }
  const parameters = new URLSearchParams({
    order: asked.order,
    limit: String(SHOWN),
    ...(asked.kind === '' ? {} : { name: asked.kind }),
  });
  try {
    const answer = await get<readonly TraceSummary[]>(`/api/traces?${parameters}`);
    if (order.value !== asked.order || kind.value !== asked.kind) return;
    traces.value = answer;
    shown = asked;
    problem.value = undefined;
  } catch (error) {
    problem.value = error as ApiError;
  }
}

/** What {@link traces} is the answer to. */
let shown: { order: string; kind: string } = { order: '', kind: '' };

/** `scalingnote.v1.QueryService/Search` as people say it. */
export function shortName(name: string): string {
  return name.replace(/^scalingnote\.v1\./, '');
}

function clock(time: string): string {
  const date = new Date(time);
  return `${date.toLocaleTimeString(undefined, { hour12: false })}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}
