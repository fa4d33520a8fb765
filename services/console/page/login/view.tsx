import { useState } from 'preact/hooks';
import { logIn } from './state.ts';

/** Asks for the key or token with which everything is then done. It stays in the console, and not in the page. */
export function LoginView() {
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const input = document.getElementById('credential') as HTMLInputElement;
    setBusy(true);
    setProblem('');
    try {
      await logIn(input.value);
    } catch (error) {
      setProblem((error as Error).message);
    } finally {
      input.value = '';
      setBusy(false);
    }
  };
  return (
    <form class="login" onSubmit={(event) => void submit(event)}>
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
