import type { Browser } from 'playwright-core';
import { chromium } from 'playwright-core';

/** Starts a browser without a window. @param executablePath of a Chromium */
export function launch(executablePath: string): Promise<Browser> {
  // It will not run as root within its sandbox, and tests in containers are root.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return chromium.launch({ executablePath, args });
}
