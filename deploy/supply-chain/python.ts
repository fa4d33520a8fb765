import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from './lock.ts';

/** Prints the licences of packages, and of what they need, as JSON. */
const SCRIPT = `
import importlib.metadata as m, json, re, sys
found = {}
def walk(name):
    if name in found: return
    try: known = m.metadata(name)
    except m.PackageNotFoundError: return
    found[name] = known['License-Expression'] or known['License']
    for need in m.requires(name) or []:
        if 'extra ==' not in need: walk(re.match(r'[\\w.-]+', need)[0])
walk('scalingnote')
print(json.dumps(found))
`;

/**
 * Licences of the Python client and of what it installs, where `npm run python-client` has installed it; `undefined` elsewhere.
 */
export function pythonLicences(): Record<string, string | null> | undefined {
  const interpreter = join(cacheFolder(), 'python-client', 'bin', 'python');
  if (!existsSync(interpreter)) return undefined;
  try {
    const found = execFileSync(interpreter, ['-c', SCRIPT], { encoding: 'utf8' });
    return JSON.parse(found) as Record<string, string | null>;
  } catch {
    return undefined;
  }
}
