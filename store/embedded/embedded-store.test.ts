import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { storeContract } from '../contract.ts';
import { openStore } from '../open.ts';

const directory = mkdtempSync(join(tmpdir(), 'scalingnote-store-'));

storeContract('embedded', {
  open: () => openStore({ kind: 'embedded', directory }),
  positionAhead: (position) => String(Number(position) + 1),
  dispose: () => rmSync(directory, { recursive: true }),
});
