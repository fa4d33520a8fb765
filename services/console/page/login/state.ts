import { signal } from '@preact/signals';
import type { LoginBegun, SessionAnswer } from '../../shared/wire.ts';
import { get, loginNeeded, post, remove } from '../api.ts';

/** Whether somebody has to log in, and has; `undefined` until the console has said so. */
export const session = signal<SessionAnswer | undefined>(undefined);

/** Asks the console once, at the start. Where it is away, the views say so. */
export async function askSession(): Promise<void> {
  try {
    session.value = await get<SessionAnswer>('/api/session');
    loginNeeded.value = session.value.needed && !session.value.loggedIn;
  } catch {
    session.value = { needed: false, loggedIn: false };
  }
}

/** @throws {ApiError} where the services do not take the credential */
export async function logIn(credential: string): Promise<void> {
  session.value = await post<SessionAnswer>('/api/session', { credential });
  loginNeeded.value = false;
}

/** Leaves for the issuer, which sends the person back. @throws {ApiError} where it is away */
export async function logInAtIssuer(): Promise<void> {
  const { location } = await post<LoginBegun>('/api/session/issuer', {});
  window.location.assign(location);
}

/** Ends the session; nothing of what it has shown stays in the page. */
export async function logOut(): Promise<void> {
  const { logoutUrl } = await remove<SessionAnswer>('/api/session');
  if (logoutUrl === undefined) location.reload();
  else location.assign(logoutUrl);
}
