import { useRef, useState } from 'preact/hooks';
import { bytes, count, duration, percent, plural } from '../../shared/format.ts';
import type { IngestState } from '../../shared/wire.ts';
import { Figures } from '../parts/figure.tsx';
import { Command, Empty, Problem } from '../parts/notice.tsx';
import { Spark } from '../parts/spark.tsx';
import { Table } from '../parts/table.tsx';
import { usePolling } from '../poll.ts';
import { go, href } from '../route.ts';
import { ask, chosenCollection } from '../search/state.ts';
import { aliases, look } from '../system/state.ts';
import { IngestService } from './service.tsx';
import { cancel, ingestProblem, ingests, lookAtIngests, upload } from './upload.ts';

/** Twice a second, so that people see the bar move. */
const LOOK_EVERY_MS = 500;

/** Names that a collection may have, by the contract. */
const COLLECTION = '(?!.*--)[A-Za-z0-9_\\-]{1,64}';

/** Shows files on their way in, and takes new ones. */
export function IngestView() {
  usePolling(lookAtIngests, LOOK_EVERY_MS);
  const known = ingests.value;
  return (
    <div class="ingest">
      <Drop />
      <Problem action={{ label: 'Dismiss', run: () => (ingestProblem.value = undefined) }}>
        {ingestProblem.value}
      </Problem>
      {known?.length === 0 && (
        <Empty title="No file has come in since the console started.">
          <p>
            A line is{' '}
            <code>{'{"id": "...", "title": "...", "text": "...", "metadata": {...}, "version": 1}'}</code>; a
            wrong line is rejected alone, with its number and the fix. From a terminal, and for CSV:
          </p>
          <Command>npx scalingnote ingest docs.jsonl --collection mine</Command>
        </Empty>
      )}
      {known?.map((state) => (
        <Ingest key={state.ingestId} state={state} />
      ))}
      <IngestService />
    </div>
  );
}

function Drop() {
  const [over, setOver] = useState(false);
  const [collection, setCollection] = useState('documents');
  const [omitText, setOmitText] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  const take = (files: FileList | null | undefined): void => {
    if (form.current?.reportValidity() !== true) return;
    for (const file of files ?? []) void upload(file, { collection, tenant: '', omitText });
    if (picker.current) picker.current.value = '';
  };
  return (
    <form ref={form} class="drop-form" onSubmit={(event) => event.preventDefault()}>
      <div class="controls">
        <label class="select">
          <span class="muted">into the collection</span>
          <input
            type="text"
            list="collections"
            required
            pattern={COLLECTION}
            title="1 to 64 letters, digits, _ and -, without --"
            spellcheck={false}
            value={collection}
            onInput={(event) => setCollection(event.currentTarget.value)}
          />
        </label>
        <datalist id="collections">
          {aliases.value.map(({ alias }) => (
            <option key={alias} value={alias} />
          ))}
        </datalist>
        <label class="check">
          <input
            type="checkbox"
            checked={omitText}
            onChange={(event) => setOmitText(event.currentTarget.checked)}
          />
          <span>keep vectors only, not the texts</span>
        </label>
      </div>
      <label
        class={over ? 'drop drop-over' : 'drop'}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          take(event.dataTransfer?.files);
        }}
      >
        <input
          ref={picker}
          type="file"
          class="unseen"
          multiple
          accept=".jsonl,.ndjson,.json,.gz"
          onChange={(event) => take(event.currentTarget.files)}
        />
        <strong>Drop a JSON Lines file here</strong>
        <span class="muted">or choose one; gzipped is fine, and its size does not matter</span>
      </label>
    </form>
  );
}

const STATES = {
  running: 'coming in',
  done: 'searchable',
  failed: 'failed',
  cancelled: 'cancelled',
} as const;

function Ingest({ state }: { state: IngestState }) {
  const { ingestId, name, collection, elapsedMs, sent, indexed, unchanged, rejected } = state;
  const running = state.state === 'running';
  const settled = indexed + unchanged + rejected;
  const read = state.bytes === 0 ? 0 : Math.min(1, state.receivedBytes / state.bytes);
  const durable = sent === 0 ? 0 : (read * (sent - state.waiting)) / sent;
  return (
    <article class={`card ingest-${state.state}`} aria-label={`ingest of ${name}`}>
      <header class="card-head">
        <h2 class="minor">{name}</h2>
        <span class="muted">
          {state.bytes > 0 ? `${bytes(state.bytes)} ` : ''}into <code>{collection}</code>
        </span>
        {running ? null : <a href={href('traces', state.traceId)}>Trace →</a>}
        <span class={`badge badge-${state.state}`} role="status">
          {STATES[state.state]}
        </span>
        {running ? (
          <button type="button" onClick={() => void cancel(ingestId)}>
            Cancel
          </button>
        ) : indexed + unchanged > 0 ? (
          <button type="button" class="primary" onClick={() => void searchIn(collection)}>
            Search it
          </button>
        ) : null}
      </header>
      <Problem>{state.problem}</Problem>
      <Progress read={running ? read : 1} durable={running ? durable : 1} />
      <div class="ingest-numbers">
        <Figures
          of={[
            ['documents', count(sent)],
            ['indexed', count(indexed)],
            ['unchanged', count(unchanged)],
            ['rejected', count(rejected), undefined, rejected > 0],
            ['passages', count(state.passages)],
            [running ? 'for' : 'took', duration(elapsedMs)],
            ['waiting', count(state.waiting), 'sent, and not durable yet'],
            [
              'watermark lag',
              duration(state.oldestMs),
              `everything up to line ${state.watermark} is durable; the oldest document after it has waited this long`,
            ],
          ]}
        />
        <figure class="rate">
          <Spark values={state.rate} slots={60} label="documents a second, over the last minute" />
          <figcaption class="muted">
            {running
              ? `${count(recent(state.rate))} documents/s`
              : `${count(elapsedMs > 0 ? (settled / elapsedMs) * 1000 : 0)} documents/s on average`}
            {state.reconnects > 0 ? ` · ${plural(state.reconnects, 'reconnect')}` : ''}
          </figcaption>
        </figure>
      </div>
      {state.rejections.length > 0 && <Rejections state={state} />}
    </article>
  );
}

/** Shows how much of a file has been read, and how much of that is searchable. */
function Progress({ read, durable }: { read: number; durable: number }) {
  return (
    <div
      class="progress"
      role="progressbar"
      aria-label="durable and searchable"
      aria-valuenow={Math.round(durable * 100)}
      aria-valuemin={0}
      aria-valuemax={100}
    >
      <span class="progress-read" style={{ width: `${read * 100}%` }} />
      <span style={{ width: `${durable * 100}%` }} />
    </div>
  );
}

function Rejections({ state: { rejections, rejected, sent } }: { state: IngestState }) {
  return (
    <details class="rejections">
      <summary>
        {plural(rejected, 'line')} rejected ({percent(rejected / Math.max(1, sent))}), with the reason
      </summary>
      <Table
        head={['#line', 'id', 'reason', 'what to change']}
        rows={rejections.map((each) => [each.line, each.id ?? '–', <code>{each.reason}</code>, each.message])}
      />
      {rejected > rejections.length ? (
        <p class="muted">and {count(rejected - rejections.length)} more, which are counted but not listed</p>
      ) : null}
    </details>
  );
}

async function searchIn(collection: string): Promise<void> {
  chosenCollection.value = collection;
  await look();
  go('search');
  ask();
}

/** Mean of the last three seconds: that of a single one would flicker. */
function recent(rate: readonly number[]): number {
  const last = rate.slice(-3);
  return last.length === 0 ? 0 : last.reduce((sum, each) => sum + each, 0) / last.length;
}
