import type { RefObject } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { plural, duration } from '../../shared/format.ts';
import { Choice } from '../parts/choice.tsx';
import { Command, Empty, Problem } from '../parts/notice.tsx';
import { go, href } from '../route.ts';
import { aliases, nameOf, queryServices, system } from '../system/state.ts';
import { Compare } from './compare.tsx';
import { Notices } from './explanation.tsx';
import { Hits } from './hits.tsx';
import { Reading } from './reading.tsx';
import {
  addFilter,
  ask,
  asked,
  chosenCollection,
  collection,
  columns,
  comparing,
  explaining,
  filters,
  limit,
  missingId,
  mode,
  pending,
  query,
  removeFilter,
} from './state.ts';
import { Timings } from './timings.tsx';

const MODES = [
  ['dense', 'meaning', 'dense: cosine of vectors'],
  ['sparse', 'wording', 'sparse: BM25'],
  ['hybrid', 'both', 'hybrid: both, fused'],
] as const;

const LIMITS = [5, 10, 20, 50];

/** A screen reader hears what was found after a pause of this length. */
const SETTLED_MS = 700;

/** Search as you type. */
export function SearchView() {
  const box = useRef<HTMLInputElement>(null);
  const results = useRef<HTMLDivElement>(null);
  useEffect(() => {
    // The focus stays on the tabs for people who move along them by keyboard.
    if (document.activeElement === document.body) box.current?.focus({ preventScroll: true });
  }, []);
  useSearchKeys(box, results);
  return (
    <div class="search">
      <form role="search" onSubmit={(event) => event.preventDefault()}>
        <label class="unseen" for="query">
          Search
        </label>
        <div class="box">
          <input
            ref={box}
            id="query"
            type="search"
            autocomplete="off"
            spellcheck={false}
            placeholder="Say what you are looking for"
            value={query.value}
            onInput={(event) => (query.value = event.currentTarget.value)}
            aria-controls="results"
          />
          <kbd aria-hidden="true">/</kbd>
        </div>
        <Controls />
      </form>
      <div id="results" ref={results}>
        {comparing.value ? <Compare /> : <Single />}
      </div>
      <Announcer />
    </div>
  );
}

function Controls() {
  return (
    <div class="controls">
      <label class="select">
        <span class="muted">in</span>
        <select
          aria-label="collection"
          value={collection.value}
          onChange={(event) => (chosenCollection.value = event.currentTarget.value)}
        >
          {aliases.value.length === 0 && <option value="">no collection yet</option>}
          {aliases.value.map(({ alias }) => (
            <option key={alias} value={alias}>
              {alias}
            </option>
          ))}
        </select>
      </label>
      <Choice label="match by" options={MODES} chosen={mode} />
      <label class="select">
        <span class="muted">top</span>
        <select
          aria-label="number of hits"
          value={limit.value}
          onChange={(event) => (limit.value = Number(event.currentTarget.value))}
        >
          {LIMITS.map((value) => (
            <option key={value} value={value}>
              {value}
            </option>
          ))}
        </select>
      </label>
      <label class="check">
        <input
          type="checkbox"
          checked={comparing.value}
          onChange={(event) => (comparing.value = event.currentTarget.checked)}
        />
        <span>compare towers</span>
      </label>
      <Why />
      <Filters />
    </div>
  );
}

/** Asks for reasons, and why a document is not among the hits. */
function Why() {
  return (
    <>
      <label class="check">
        <input
          type="checkbox"
          checked={explaining.value}
          onChange={(event) => (explaining.value = event.currentTarget.checked)}
        />
        <span>explain</span>
      </label>
      {explaining.value ? (
        <input
          type="text"
          class="filter-draft"
          aria-label="id of a document to ask about"
          placeholder="why not: document id"
          spellcheck={false}
          autocapitalize="off"
          value={missingId.value}
          onChange={(event) => (missingId.value = event.currentTarget.value)}
        />
      ) : null}
    </>
  );
}

function Filters() {
  const [draft, setDraft] = useState('');
  const add = (): void => {
    if (draft.trim() !== '') addFilter(draft.trim());
    setDraft('');
  };
  return (
    <div class="filters">
      {filters.value.map((condition) => (
        <button
          key={condition}
          type="button"
          class="chip"
          title="remove this filter"
          aria-label={`remove filter ${condition}`}
          onClick={() => removeFilter(condition)}
        >
          {condition} <span aria-hidden="true">×</span>
        </button>
      ))}
      <input
        type="text"
        class="filter-draft"
        aria-label="add a filter"
        placeholder="filter: metadata.pos=noun"
        title="FIELD=VALUE, FIELD!=VALUE, FIELD=A|B, FIELD>N, or FIELD alone; Enter adds it"
        spellcheck={false}
        autocapitalize="off"
        value={draft}
        onInput={(event) => setDraft(event.currentTarget.value)}
        onBlur={add}
        onKeyDown={(event) => {
          if (event.key === 'Enter') add();
          else if (event.key === 'Backspace' && draft === '' && filters.value.length > 0) {
            removeFilter(filters.value.at(-1)!);
          }
        }}
      />
    </div>
  );
}

function Single() {
  const [service] = queryServices.value;
  const column = columns.value.get(asked.value[0] ?? '');
  const found = column?.found;
  return (
    <>
      {query.value.trim() === '' ? null : (
        <Timings found={found} label={service === undefined ? '' : nameOf(service)} />
      )}
      <Problem action={{ label: 'Ask again', run: ask }}>
        {column?.problem?.reason === 'COLLECTION_NOT_FOUND' ? (
          <>
            {column.problem.message} <a href={href('ingest')}>Put documents in</a>.
          </>
        ) : (
          column?.problem?.message
        )}
      </Problem>
      {found === undefined ? null : <Reading found={found} />}
      {found === undefined ? null : <Notices found={found} />}
      {found === undefined ? (
        <Idle />
      ) : found.hits.length === 0 ? (
        <Empty title="Nothing found.">
          <p>
            Try other words
            {filters.value.length > 0 ? ', or fewer filters' : ''}
            {mode.value === 'sparse' ? ', or match by meaning' : ''}.
          </p>
        </Empty>
      ) : (
        <Hits hits={found.hits} label="hits" highest={found.hits[0]?.score ?? 0} />
      )}
    </>
  );
}

/** Says what to do before anything was typed. */
function Idle() {
  if (system.value === undefined || query.value.trim() !== '') return null;
  if (aliases.value.length === 0) {
    return (
      <Empty title="There is nothing to search yet.">
        <p>
          <a href={href('ingest')}>Drop a file of documents</a> here in the browser, or put one in from a
          terminal:
        </p>
        <Command>npx scalingnote ingest docs.jsonl --collection mine</Command>
      </Empty>
    );
  }
  const examples = collection.value === 'wordnet' ? EXAMPLES : [];
  return (
    <Empty title="Each letter that you type is a query and replaces the one before.">
      {examples.length === 0 ? null : (
        <ul class="examples">
          {examples.map((example) => (
            <li key={example}>
              <button type="button" onClick={() => (query.value = example)}>
                {example}
              </button>
            </li>
          ))}
        </ul>
      )}
      <p class="muted keys">
        <kbd>/</kbd> to the box · <kbd>↓</kbd> <kbd>↑</kbd> through the hits · <kbd>Enter</kbd> unfolds one ·{' '}
        <kbd>t</kbd> opens the trace · <kbd>Esc</kbd> back to the box
      </p>
    </Empty>
  );
}

/** Queries for the reverse dictionary that comes with the package. */
const EXAMPLES = [
  'a person who studies stars',
  'a child whose parents have died',
  'to walk slowly without any purpose',
  'a long time without any rain',
];

/** Tells screen readers what was found, once typing has paused. */
function Announcer() {
  const [text, setText] = useState('');
  const found = columns.value.get(asked.value[0] ?? '')?.found;
  const waiting = pending.value > 0;
  useEffect(() => {
    if (waiting || found === undefined) return;
    const timer = setTimeout(
      () => setText(`${plural(found.hits.length, 'hit')} for ${found.query}, in ${duration(found.wallMs)}`),
      SETTLED_MS,
    );
    return () => clearTimeout(timer);
  }, [found, waiting]);
  return (
    <p class="unseen" role="status" aria-live="polite">
      {text}
    </p>
  );
}

/** Arrow keys between the box and the hits, `t` to the trace, Escape back. */
function useSearchKeys(box: RefObject<HTMLInputElement>, results: RefObject<HTMLElement>): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      const heads = [...(results.current?.querySelectorAll<HTMLElement>('.hit-head') ?? [])];
      const at = heads.indexOf(document.activeElement as HTMLElement);
      const inBox = document.activeElement === box.current;
      if (event.key === 'ArrowDown' && (inBox || at >= 0)) {
        heads[Math.min(at + 1, heads.length - 1)]?.focus();
      } else if (event.key === 'ArrowUp' && at >= 0) {
        (at === 0 ? box.current : heads[at - 1])?.focus();
      } else if (event.key === 'Escape' && (at >= 0 || inBox)) {
        if (inBox) query.value = '';
        box.current?.focus();
      } else if (event.key === 't' && !(event.target instanceof HTMLInputElement)) {
        const traceId = columns.value.get(asked.value[0] ?? '')?.found?.traceId;
        if (traceId !== undefined) go('traces', traceId);
      } else {
        return;
      }
      event.preventDefault();
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, [box, results]);
}
