import { existsSync } from 'node:fs';
import type { Browser } from 'playwright-core';
import { chromium } from 'playwright-core';

/** Where Debian and its kin put it; `CHROMIUM` names another. */
const PLACES = [
  process.env['CHROMIUM'],
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
];

/** Why there is no browser to try the page in; `undefined` where there is one. */
export function noBrowser(): string | undefined {
  if (find() !== undefined) return undefined;
  return 'there is no Chromium: install it (apt-get install chromium), or name it with CHROMIUM';
}

/** Starts it, without a window. */
export function launch(): Promise<Browser> {
  // It will not run as root within its sandbox, and tests in containers are root.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return chromium.launch({ executablePath: find()!, args });
}

function find(): string | undefined {
  return PLACES.find((place) => place !== undefined && existsSync(place));
}
