import { useState } from 'preact/hooks';
import { logIn, logInAtIssuer, session } from './state.ts';

/** Asks for the key or token with which everything is then done. It stays in the console, and not in the page. */
export function LoginView() {
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  const attempt = async (login: () => Promise<void>): Promise<void> => {
    setBusy(true);
    setProblem('');
    try {
      await login();
    } catch (error) {
      setProblem((error as Error).message);
    } finally {
      setBusy(false);
    }
  };
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const input = document.getElementById('credential') as HTMLInputElement;
    await attempt(() => logIn(input.value));
    input.value = '';
  };
  const issuer = session.value?.issuer;
  return (
    <form class="login" onSubmit={(event) => void submit(event)}>
      {issuer !== undefined && (
        <button type="button" disabled={busy} onClick={() => void attempt(logInAtIssuer)}>
          log in at {new URL(issuer).host}
        </button>
      )}
      <label for="credential">API key or token</label>
      <input id="credential" type="password" autocomplete="off" required autofocus />
      <button type="submit" disabled={busy}>
        {busy ? 'asking the services' : 'log in'}
      </button>
      <p role="alert">{problem}</p>
      <p>
        Searches, ingests and lists are made with what you enter, and show what it may see. Make a key with{' '}
        <code>scalingnote keys create</code>.
      </p>
    </form>
  );
}
