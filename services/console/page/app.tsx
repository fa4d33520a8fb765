import { useEffect } from 'preact/hooks';
import { plural } from '../shared/format.ts';
import { IngestView } from './ingest/view.tsx';
import { loginNeeded } from './api.ts';
import { logOut, session } from './login/state.ts';
import { LoginView } from './login/view.tsx';
import { usePolling } from './poll.ts';
import { go, href, route, type View, VIEWS } from './route.ts';
import { SearchView } from './search/view.tsx';
import { away, look, LOOK_EVERY_MS, system, systemProblem } from './system/state.ts';
import { SystemView } from './system/view.tsx';
import { TracesView } from './traces/view.tsx';

const PANELS = { search: SearchView, ingest: IngestView, traces: TracesView, system: SystemView };

/** The page, or the login before it. */
export function App() {
  if (session.value === undefined) return null;
  return loginNeeded.value ? <Login /> : <Views />;
}

function Login() {
  return (
    <>
      <header class="head">
        <span class="mark">
          <img src="/icon.svg" alt="" width="22" height="22" />
          <span>scalingnote</span>
        </span>
      </header>
      <main>
        <h1 class="unseen">scalingnote: log in</h1>
        <LoginView />
      </main>
    </>
  );
}

/** A head with tabs, and the chosen view. */
function Views() {
  usePolling(look, LOOK_EVERY_MS);
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.key !== '/' || event.ctrlKey || event.metaKey || isTyping(event.target)) return;
      event.preventDefault();
      go('search');
      // The view exists after the next paint.
      requestAnimationFrame(() => requestAnimationFrame(() => document.getElementById('query')?.focus()));
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, []);
  const { view } = route.value;
  useEffect(() => {
    document.title = `${view} · scalingnote`;
  }, [view]);
  const Panel = PANELS[view];
  return (
    <>
      <header class="head">
        <a class="mark" href={href('search')} aria-label="scalingnote">
          <img src="/icon.svg" alt="" width="22" height="22" />
          <span>scalingnote</span>
        </a>
        <Tabs view={view} />
        <Pulse />
        {session.value?.needed && (
          <button type="button" class="logout" onClick={() => void logOut()}>
            log out
          </button>
        )}
      </header>
      <main>
        <h1 class="unseen">scalingnote: {view}</h1>
        <div id="panel" role="tabpanel" aria-labelledby={`tab-${view}`}>
          <Panel />
        </div>
      </main>
    </>
  );
}

function Tabs({ view }: { view: View }) {
  const move = (event: KeyboardEvent): void => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const target =
      event.key === 'Home' ? 0 : event.key === 'End' ? VIEWS.length - 1 : step && VIEWS.indexOf(view) + step;
    if (target === undefined) return;
    event.preventDefault();
    const next = VIEWS[(target + VIEWS.length) % VIEWS.length]!;
    go(next);
    document.getElementById(`tab-${next}`)?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label="views" onKeyDown={move}>
      {VIEWS.map((each) => (
        <a
          key={each}
          id={`tab-${each}`}
          role="tab"
          href={href(each)}
          aria-selected={each === view}
          aria-controls="panel"
          tabIndex={each === view ? 0 : -1}
        >
          {each}
        </a>
      ))}
    </div>
  );
}

/** Shows in every view whether all services serve. */
function Pulse() {
  const problem = systemProblem.value !== undefined;
  const count = away.value.length;
  const text = problem
    ? 'console away'
    : system.value === undefined
      ? 'looking'
      : count === 0
        ? 'serving'
        : `${plural(count, 'service')} away`;
  return (
    <a class={problem || count > 0 ? 'pulse pulse-bad' : 'pulse'} href={href('system')}>
      <i aria-hidden="true" />
      <span role="status">{text}</span>
    </a>
  );
}

function isTyping(target: EventTarget | null): boolean {
  if (target instanceof HTMLInputElement) return !['radio', 'checkbox', 'button'].includes(target.type);
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
}
